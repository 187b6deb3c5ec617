"""Grey levels of a camera and the unit range that the model sees, an affine map there and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

_REACHED = 0.999


@dataclass(frozen=True)
class Levels:
    """The values that become 0 and 1."""

    black: int
    white: int

    @classmethod
    def of(cls, window: Pixels, black: int | None = None, white: int | None = None) -> Levels:
        """The range of a window: 0–255 for 8 bits; for 16 bits the given levels or fitted ones.

        Cameras deliver 10, 12 or 14 bits in 16. The white level is fitted as the least ``2ᵇ − 1`` (b ≥ 8) that
        99.9 % of the window's pixels do not exceed, so that a hot pixel does not darken the whole window.
        """
        if window.dtype == np.uint8:
            return cls(0, 255)
        if white is None:
            beyond = window.size - 1 - math.ceil(_REACHED * (window.size - 1))  # pixels that may exceed it
            bits = max(8, int(window.max()).bit_length())
            while bits > 8 and np.count_nonzero(window >= 1 << bits - 1) <= beyond:
                bits -= 1
            white = (1 << bits) - 1
        black = 0 if black is None else black
        return cls(black, max(white, black + 1))

    def to_unit(self, pixels: Pixels) -> NDArray[np.float32]:
        """Levels → unit range; values beyond black and white lie outside [0, 1]."""
        return ((pixels.astype(np.float32) - self.black) / (self.white - self.black)).astype(np.float32)

    def of_unit(self, unit: NDArray[np.float32], other: Levels) -> NDArray[np.float32]:
        """What is in unit range of other levels, in that of these."""
        if other == self:
            return unit
        span = self.white - self.black
        scale, offset = (other.white - other.black) / span, (other.black - self.black) / span
        return np.asarray(unit * np.float32(scale) + np.float32(offset), np.float32)

    def from_unit(self, unit: NDArray[np.float32], dtype: np.dtype[np.uint8 | np.uint16], top: int) -> Pixels:
        """Unit range → levels, rounded, cut to [0, ``top``]."""
        levels = unit * np.float32(self.white - self.black) + np.float32(self.black)
        return cast(Pixels, np.clip(np.rint(levels), 0, top).astype(dtype))

    def kept(self, change: NDArray[np.float32], x: NDArray[np.float32], top: int) -> NDArray[np.float32]:
        """Of a change of ``x``, both in unit range, what is left when the result is cut to levels 0 to ``top``."""
        low, high = ((level - self.black) / (self.white - self.black) for level in (0, top))
        return np.asarray(change.clip(np.minimum(low - x, 0), np.maximum(high - x, 0)), np.float32)


def in_eight_bits(image: Pixels, levels: Levels | None = None) -> NDArray[np.uint8]:
    """(H, W, 1 or 3) uint8 without alpha, of the range that the camera's levels span.

    Args:
        levels: of the whole photo, where this is a part of it or was drawn on.
    """
    levels = levels or Levels.of(colour(image))
    return np.asarray(np.rint(levels.to_unit(colour(image)).clip(0, 1) * 255), np.uint8)


def in_channels(picture: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """A picture (H, W, 1 or 3) as grey (1), its mean, or as colour (3), three times the same."""
    if picture.shape[2] == channels:
        return picture
    if channels == 1:
        return np.asarray(picture.mean(axis=2, keepdims=True), np.float32)
    return np.repeat(picture, channels, axis=2)


def saturation(image: Pixels, white: int | None = None) -> int:
    """The highest value the camera of this image can give: ``2ᵇ − 1`` just above its maximum (b ≥ 8).

    Of 16 bits it is the given white level if that is higher: a dark photo does not show how far its camera goes.
    """
    if image.dtype == np.uint8:
        return 255
    fitted = (1 << max(8, int(colour(image).max()).bit_length())) - 1
    return max(fitted, white or 0)


def has_alpha(image: Pixels) -> bool:
    return image.ndim == 3 and image.shape[2] in (2, 4)


def colour(image: Pixels) -> Pixels:
    """The channels that carry colour, (H, W, 1 or 3): without alpha, which nothing here ever touches."""
    if image.ndim == 2:
        return image[:, :, None]
    return image[:, :, :-1] if has_alpha(image) else image


def luminance(image: Pixels) -> NDArray[np.float32]:
    """(H, W) float32 in unit range: the mean over channels, as scores take it."""
    unit = colour(image).astype(np.float32).mean(axis=2) / np.iinfo(image.dtype).max
    return np.asarray(unit, dtype=np.float32)
