"""Grafts: real defects laid on a photo, as strong and as sharp as they are."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from models.grafts import grafted
from models.samples import Exemplar

SITE = np.zeros((160, 160), np.bool_)
SITE[50:110, 50:110] = True


def exemplar(softness: float) -> Exemplar:
    """A dark square on grey, whose label is tighter than its soft edge."""
    label = np.zeros((72, 72), np.bool_)
    label[20:52, 20:52] = True
    dark = ndimage.gaussian_filter(label.astype(np.float32), softness)
    return Exemplar(np.rint(160 - 80 * dark).astype(np.uint8)[:, :, None], label, 0)


def test_a_graft_is_as_dark_as_the_real_defect_however_soft_its_edge() -> None:
    frame = np.full((160, 160, 1), 160 / 255, np.float32)
    for softness in (0.5, 2.0, 4.0):
        one = exemplar(softness)
        drawn, lies = grafted(frame, SITE, [one], np.random.default_rng(1))
        real = 160 / 255 - one.image[one.mask].mean() / 255
        assert (frame - drawn)[lies].mean() > 0.85 * real
        assert np.array_equal(drawn[:40], frame[:40])


def test_a_graft_is_fainter_on_a_darker_photo() -> None:
    bright, dark = (np.full((160, 160, 1), level / 255, np.float32) for level in (160, 80))
    contrasts = []
    for frame in (bright, dark):
        drawn, lies = grafted(frame, SITE, [exemplar(1.0)], np.random.default_rng(1))
        contrasts.append((frame - drawn)[lies].mean() / frame.mean())
    assert np.isclose(*contrasts, rtol=0.1)


def test_a_control_lays_the_photos_own_surface_in_the_defects_shape_and_leaves_out_the_defect() -> None:
    rng = np.random.default_rng(3)
    waves = 0.5 + 0.2 * np.sin(np.arange(160) / 8)[:, None] + rng.normal(0, 0.01, (160, 160))
    frame = waves.astype(np.float32)[:, :, None]
    for site in (SITE, ndimage.binary_dilation(SITE, iterations=40)):  # at its scale, and enlarged
        real, lies = grafted(frame, site, [exemplar(1.0)], np.random.default_rng(1))
        laid, same = grafted(frame, site, [exemplar(1.0)], np.random.default_rng(1), control=True)
        assert np.array_equal(same, lies)
        assert np.abs(real - frame)[lies].mean() > 0.1
        assert 0 < np.abs(laid - frame)[lies].mean() < 0.02
        assert np.array_equal(laid[:5], frame[:5])
