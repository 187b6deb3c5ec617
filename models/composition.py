"""Putting the change into the photo at its own resolution, relative to the reconstruction (design §2, step 5)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.masks import Mask
from models.ramps import smoothstep

Field = NDArray[np.float32]
"""(H, W, channels) in unit range."""

KEPT_BELOW = 0.12
"""Change, as a share of the range, up to which the photo's own texture stays whole."""
GONE_ABOVE = 0.40
"""Change from which none of it is left: a hole shows no old texture."""

_NEAR = 2.0  # model pixels within which a drawing is held against what it began on
_FAINT = 0.01  # deviation, as a share of the range, of a pattern that says little
_FOLLOWS = (0.2, 0.6)  # correlation from which a drawing begins to follow a pattern, and from which it does
_STRONGEST = 1.5  # times as strong as the real one, at most, is what detail becomes
_NOISE = 4.4  # medians of its absolute values that normal noise keeps within, but for 3 in 1000


def kept_texture(change: Field, scale: float) -> Field:
    """κ (H, W, 1): 1 where the change is small, 0 where it is large.

    Args:
        change: D(ẑ) − D(E(x)).
        scale: pixels per model pixel; the change is judged without detail finer than the model's.
    """
    size = ndimage.gaussian_filter(np.abs(change).max(axis=2), sigma=scale)
    return 1 - smoothstep(KEPT_BELOW, GONE_ABOVE, np.asarray(size, np.float32))[:, :, None]


def detail_strength(change: Field, begun: Field, scale: float) -> Field:
    """a (H, W, 1) in [0, 1.5]: how strong the detail of a drawing is against that of what it began on.

    Where the drawing follows the same pattern it is all there: few steps of denoising blur a pattern, and make no
    other one of it. Where it is drawn stronger, detail is, too, by the slope of a guided filter (He, Sun and Tang,
    Guided Image Filtering, TPAMI 2013): near a pixel the drawing is ``a · begun + b``, however much lighter or
    darker (b) it was drawn. 0 where the drawing follows another pattern, or where nothing was laid.

    Args:
        change: D(ẑ) − D(E(x)).
        begun: D(E(g)) − D(E(x)), of the photo g with a real defect that it began on.
        scale: pixels per model pixel.
    """

    def near(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(ndimage.gaussian_filter(values, sigma=_NEAR * scale), np.float32)

    drawn, laid = change.mean(axis=2), begun.mean(axis=2)
    mean_drawn, mean_laid = near(drawn), near(laid)
    both = near(drawn * laid) - mean_drawn * mean_laid
    of_drawn, of_laid = (
        near(values * values) - mean**2 + _FAINT**2 for values, mean in ((drawn, mean_drawn), (laid, mean_laid))
    )
    follows = near(np.asarray(both / np.sqrt(of_drawn * of_laid), np.float32))
    strength: Field = np.maximum(near(both / of_laid), smoothstep(*_FOLLOWS, follows))
    return strength.clip(0, _STRONGEST)[:, :, None]


def surrounding_grain(x: Field, masked: Mask, key: int, noise_alone: bool = False) -> Field:
    """Fine noise for the inside, taken from just outside the mask and mirrored in over its edge.

    Where the mirrored place lies in the mask too, a place outside is drawn with ``key``; without any outside there
    is no grain to take.

    Args:
        noise_alone: cut what is stronger than noise would be: prints and edges that lie beside are no grain.
    """
    fine = x - ndimage.gaussian_filter(x, sigma=(1.5, 1.5, 0))
    if masked.all():
        return np.zeros_like(fine)
    if not masked.any():
        return fine
    if noise_alone:
        most = _NOISE * np.median(np.abs(fine[~masked]), axis=0)
        fine = fine.clip(-most, most)
    nearest = ndimage.distance_transform_edt(masked, return_distances=False, return_indices=True)
    rows, columns = np.nonzero(masked)
    mirror_rows = np.clip(2 * nearest[0][masked] - rows, 0, masked.shape[0] - 1)
    mirror_columns = np.clip(2 * nearest[1][masked] - columns, 0, masked.shape[1] - 1)
    blocked = masked[mirror_rows, mirror_columns]
    ring = np.flatnonzero(~masked)
    drawn = ring[np.random.default_rng(key).integers(0, len(ring), size=int(blocked.sum()))]
    mirror_rows[blocked], mirror_columns[blocked] = np.divmod(drawn, masked.shape[1])
    grain = fine.copy()
    grain[masked] = fine[mirror_rows, mirror_columns]
    return grain


def composed(x: Field, change: Field, reconstruction: Field, alpha: Field, kappa: Field, grain: Field) -> Field:
    """``y = (1−α) x + α [D(ẑ) + κ (x − D(E(x))) + (1−κ) grain]``, written as what is added to x.

    Args:
        change: D(ẑ) − D(E(x)).
        reconstruction: D(E(x)).
        alpha: (H, W, 1) in [0, 1].
        kappa: (H, W, 1) in [0, 1].
    """
    y: Field = x + alpha * (change - (1 - kappa) * (x - reconstruction - grain))
    return y
