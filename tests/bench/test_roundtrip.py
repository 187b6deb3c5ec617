from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bench import roundtrip

SIDE = 32


def backbone(decode: object = None) -> SimpleNamespace:
    """A stand-in whose VAE gives back what it takes, or what `decode` makes of it."""
    return SimpleNamespace(
        window_px=SIDE,
        device=torch.device("cpu"),
        dtype=torch.float32,
        encode=lambda x: x,
        decode=decode or (lambda z: z),
    )


def photo(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, shape, dtype=np.uint8)


def test_a_vae_that_loses_nothing_is_capped_at_60_db() -> None:
    rng = np.random.default_rng(0)
    window = roundtrip.native_window(photo((80, 90, 3)), rng, backbone())
    row = roundtrip.summary([roundtrip.squared_error(backbone(), window)] * 4, goal=32)
    assert (row["mean dB"], row["pooled dB"], row["5 % dB"]) == (60, 60, 60)
    assert row["met"]


def test_a_known_error_has_its_psnr() -> None:
    window = roundtrip.native_window(photo((80, 90)), np.random.default_rng(0), backbone())
    error = roundtrip.squared_error(backbone(lambda z: z + 0.1), window)
    assert roundtrip.psnr(error) == pytest.approx(20, abs=1e-3)


def test_the_mean_of_windows_is_not_the_psnr_of_the_pooled_error() -> None:
    row = roundtrip.summary([1e-2, 1e-4], goal=30)
    assert row["mean dB"] == pytest.approx(30)
    assert row["pooled dB"] == pytest.approx(22.967, abs=1e-3)


@pytest.mark.parametrize("shape", [(80, 90), (80, 90, 3), (20, 90, 3), (9, 7)])
def test_windows_show_the_photos_own_pixels_mirrored_beyond_its_borders(shape: tuple[int, ...]) -> None:
    image = photo(shape)
    window = roundtrip.native_window(image, np.random.default_rng(3), backbone())
    assert window.shape == (SIDE, SIDE, shape[2] if len(shape) == 3 else 1)
    if shape[0] < SIDE:
        assert np.array_equal(window[shape[0] :][0], window[shape[0] - 2])
