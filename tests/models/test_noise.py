import numpy as np
import pytest
import torch

from models.noise import Spectrum, noise_key, seeded_noise

REDDISH = Spectrum(white=0.3, corner=1 / 32)


def many(spectrum: Spectrum, side: int = 32) -> torch.Tensor:
    """Fields (1000, side, side)."""
    return spectrum.draw((1000, side, side), torch.Generator().manual_seed(0))


def test_keys_depend_on_all_their_parts() -> None:
    keys = {
        noise_key(*parts)
        for parts in [(0, 0, "r", 1), (1, 0, "r", 1), (0, 1, "r", 1), (0, 0, "s", 1), (0, 0, "r", 2)]
    }
    assert len(keys) == 5
    assert all(0 <= key < 2**63 for key in keys)


@pytest.mark.parametrize("spectrum", [Spectrum(), REDDISH])
def test_noise_depends_on_its_key_alone(spectrum: Spectrum) -> None:
    first = seeded_noise(7, (3, 8, 9), spectrum)
    torch.manual_seed(1)
    assert torch.equal(first, seeded_noise(7, (3, 8, 9), spectrum))
    assert not torch.equal(first, seeded_noise(8, (3, 8, 9), spectrum))
    assert first.dtype == torch.float32


def test_white_noise_is_the_plain_normal() -> None:
    plain = torch.randn((2, 4, 5), generator=torch.Generator().manual_seed(3))
    assert torch.equal(seeded_noise(3, (2, 4, 5), Spectrum()), plain)


@pytest.mark.parametrize("side", [16, 32, 48])
def test_every_cell_has_unit_variance_whatever_the_plane(side: int) -> None:
    fields = many(REDDISH, side)
    variance = fields.var(0)
    assert variance.mean().item() == pytest.approx(1, abs=0.03)
    assert variance.min().item() > 0.75
    assert variance.max().item() < 1.3
    assert abs(fields.mean().item()) < 0.05


def test_red_noise_has_the_stated_power_by_frequency() -> None:
    """Measured on whole tori, where the discrete Fourier transform is exact."""
    torus = (64, 64)
    generator = torch.Generator().manual_seed(0)
    n = torch.randn((600, *torus), generator=generator).numpy()
    coloured = np.fft.irfft2(np.fft.rfft2(n) * np.sqrt(REDDISH.power(torus)), s=torus)
    measured = (np.abs(np.fft.rfft2(coloured)) ** 2).mean(0) / (64 * 64)
    inner = (slice(None), slice(1, 32))
    np.testing.assert_allclose(measured[inner], REDDISH.power(torus)[inner], rtol=0.3)
    f = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.rfftfreq(64)[None])
    red = REDDISH.power(torus) - REDDISH.white
    np.testing.assert_allclose(red * (REDDISH.corner**2 + f**2), red[0, 0] * REDDISH.corner**2)


def test_red_noise_hides_a_regions_mean_and_white_noise_does_not() -> None:
    white, red = (many(spectrum)[:, 8:16, 8:16].mean((1, 2)).std().item() for spectrum in (Spectrum(), REDDISH))
    assert white == pytest.approx(1 / 8, rel=0.1)
    assert red > 3 * white


def test_opposite_borders_are_no_neighbours() -> None:
    fields = many(REDDISH)
    near = (fields[:, :, 0] * fields[:, :, 1]).mean().item()
    far = (fields[:, :, 0] * fields[:, :, -1]).mean().item()
    assert far < near / 2


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({"white": 0.0}, "white"),
        ({"white": 1.5}, "white"),
        ({"white": float("nan")}, "white"),
        ({"white": 0.5, "corner": 0.0}, "corner"),
        ({"white": 0.5, "corner": 2.0}, "corner"),
    ],
)
def test_impossible_spectra_are_refused(attributes: dict[str, float], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Spectrum(**attributes)
