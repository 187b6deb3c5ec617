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

    What is drawn anew on a busy surface differs more from the photo than on a smooth one, so both thresholds grow
    with the surface's texture: ``floor + slope · texture``.

    Attributes:
        pixel_floor, pixel_slope: of |D(ẑ) − D(E(x))| in unit range, by the deviation of D(E(x)) around the mask.
        latent_floor, latent_slope: of the norm of ẑ_0 − z_0 over channels, by the deviation of z_0.
        presence: `scores.salience` that 95 % of controls stay below.
    """

    pixel_floor: float = 0.04
    pixel_slope: float = 0.5
    latent_floor: float = 0.5
    latent_slope: float = 0.5
    presence: float = 1.0

    @classmethod
    def of(cls, values: dict[str, Any] | None) -> Calibration:
        """From a backbone's ``calibration.json``; of a backbone that has none, the defaults."""
        if not values:
            return cls()
        return cls(**{name: float(values[name]) for name in asdict(cls())})

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Change:
    """What one plot's drawing changed, at the photo's resolution in one place of it.

    Attributes:
        pixels: (H, W, channels) D(ẑ) − D(E(x)), and the detail of a real defect that the VAE does not hold.
        reconstruction: (H, W, channels) D(E(x)); 0 where no window shows the place.
        texture: of the reconstruction, where windows show it.
        latents: (H, W) norm of ẑ_0 − z_0 over channels.
        latent_texture: norm over channels of the deviation of z_0 in the plot's windows.
        scale: pixels per model pixel.
        detail: (H, W, 1) in [0, 1.5], how strong that detail is.
    """

    pixels: NDArray[np.float32]
    reconstruction: NDArray[np.float32]
    texture: float
    latents: NDArray[np.float32]
    latent_texture: float
    scale: float
    detail: NDArray[np.float32]

    def size(self) -> NDArray[np.float32]:
        """Greatest change over channels, (H, W), without detail finer than the model's pixels or the photo's."""
        return change_size(self.pixels, self.scale)


def texture(picture: NDArray[np.float32], shown: Mask | None = None) -> float:
    """Deviation of a picture's (H, W, channels) luminance, where it is `shown` (H, W)."""
    luminance = picture.mean(axis=2)
    return float((luminance if shown is None else luminance[shown]).std())


def change_size(pixels: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """Greatest change over channels, (H, W), without detail finer than ``scale`` pixels or the photo's."""
    size = ndimage.gaussian_filter(np.abs(pixels).max(axis=2), sigma=0.6 * max(scale, 1.0))
    return np.asarray(size, dtype=np.float32)


def pixel_map(
    pixels: NDArray[np.float32], texture: float, scale: float, calibration: Calibration
) -> NDArray[np.float32]:
    """How much pixels changed against what controls change: (H, W), 1 at the calibrated threshold.

    Args:
        pixels: (H, W, channels), the change.
        texture: `texture` of what was there.
        scale: pixels below which no detail counts.
    """
    threshold = calibration.pixel_floor + calibration.pixel_slope * texture
    return np.asarray(change_size(pixels, scale) / threshold, np.float32)


def change_map(change: Change, calibration: Calibration) -> NDArray[np.float32]:
    """How much a place changed against what controls change: (H, W), 1 at the calibrated threshold.

    The geometric mean of pixels and features, so that neither VAE ringing nor a shift that no one sees suffices.
    """
    pixels = pixel_map(change.pixels, change.texture, change.scale, calibration)
    latents = change.latents / (calibration.latent_floor + calibration.latent_slope * change.latent_texture)
    return np.asarray(np.sqrt(pixels * latents), dtype=np.float32)


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
