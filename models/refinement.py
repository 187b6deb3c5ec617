"""What really became defect: the refined mask (design §2, step 6)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.masks import Mask


@dataclass(frozen=True)
class Calibration:
    """How much changes where no defect was asked for, measured on a backbone's controls.

    Attributes:
        pixel_change: |D(ẑ) − D(E(x))| in unit range that 95 % of a control's masked pixels stay below.
        latent_change: the same for the norm of ẑ_0 − z_0 over channels.
        presence: `scores.salience` that 95 % of controls stay below.
    """

    pixel_change: float = 0.08
    latent_change: float = 1.0
    presence: float = 1.0

    @classmethod
    def of(cls, values: dict[str, Any] | None) -> Calibration:
        """From a backbone's ``calibration.json``; of a backbone that has none, the defaults."""
        if not values:
            return cls()
        return cls(**{name: float(values[name]) for name in asdict(cls())})

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def change_map(
    pixel_change: NDArray[np.float32],
    latent_change: NDArray[np.float32],
    calibration: Calibration,
    scale: float,
) -> NDArray[np.float32]:
    """How much a place changed against what controls change: (H, W), 1 at the calibrated threshold.

    The geometric mean of pixels and features, so that neither VAE ringing nor a shift that no one sees suffices.

    Args:
        pixel_change: (H, W, channels) D(ẑ) − D(E(x)).
        latent_change: (H, W) norm of ẑ_0 − z_0, brought to the same frame.
        scale: pixels per model pixel.
    """
    size = smoothed_change(pixel_change, scale)
    product = (size / calibration.pixel_change) * (latent_change / calibration.latent_change)
    return np.asarray(np.sqrt(product), dtype=np.float32)


def smoothed_change(pixel_change: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """Greatest change over channels, (H, W), without detail finer than the model's pixels or the photo's."""
    size = ndimage.gaussian_filter(np.abs(pixel_change).max(axis=2), sigma=0.6 * max(scale, 1.0))
    return np.asarray(size, dtype=np.float32)


def refined_mask(change: NDArray[np.float32], requested: Mask, scale: float) -> Mask:
    """Pixels of the request that became defect: above the threshold, grown to half of it where connected.

    Specks smaller than a model pixel are dropped unless nothing else is left.

    Args:
        change: `change_map`, (H, W).
        requested: (H, W).
        scale: pixels per model pixel.
    """
    eight = np.ones((3, 3), dtype=np.int8)
    grown = np.asarray(
        ndimage.binary_propagation((change >= 1) & requested, eight, mask=(change >= 0.5) & requested),
        dtype=np.bool_,
    )
    labels, count = ndimage.label(grown, structure=eight)
    if count <= 1:
        return grown
    areas = np.bincount(labels.ravel())[1:]
    keep = areas >= min(scale**2, areas.max())
    refined: Mask = np.concatenate([[False], keep])[labels]
    return refined
