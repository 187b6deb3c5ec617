"""Masks: which pixels are meant."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flawsmith.contract.uploads import ImageInfo
from service.images.canonical import CanonicalImage, channels
from service.images.errors import EmptyMaskError, ImageError


def binarise_mask(image: CanonicalImage) -> tuple[NDArray[np.bool_], list[str]]:
    """Which pixels of an uploaded mask are set: (H, W), and warnings.

    Alpha is ignored, and a pixel counts by its brightest colour channel. A file of one value is set everywhere; of
    two values the upper one is set; of more, those at or above half of the range. A file that was compressed with
    loss has no exact values, so half of the range decides there too, with a warning.

    Raises:
        EmptyMaskError: every pixel is black.
        ImageError: nothing is set for another reason: what is not black is too dark.
    """
    level = _brightest(image)
    lowest, highest = level.min(), level.max()
    half = np.iinfo(level.dtype).max // 2 + 1
    warnings: list[str] = []
    if highest == 0:
        alpha = " (its alpha channel is not looked at)" if image.info.mode.endswith("a") else ""
        raise EmptyMaskError(
            f"The mask is empty: every pixel is black{alpha}. Paint the region where a defect may appear in white."
        )
    if image.info.lossy:
        mask = level >= half
        warnings.append(
            f"compressed with loss ({image.info.source_format}): values at or above {half} are taken as set; "
            "send PNG for exact edges"
        )
    elif np.all((level == lowest) | (level == highest)):
        mask = level == highest
    else:
        mask = level >= half
    if not mask.any():
        raise ImageError(
            f"The mask is too dark: its brightest value is {highest}, and in a mask of more than two values "
            f"only those at or above {half} are set. Save it as black and white."
        )
    return mask, warnings


def _brightest(image: CanonicalImage) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """The largest colour channel of each pixel: (H, W)."""
    pixels = image.pixels
    if pixels.ndim == 2:
        return pixels
    colours = channels(pixels) - (channels(pixels) % 2 == 0)
    level = pixels[..., 0]
    for channel in range(1, colours):
        level = np.maximum(level, pixels[..., channel])
    return level


def check_mask(mask: NDArray[np.bool_], image: ImageInfo) -> None:
    """Raise `ImageError` unless the mask (H, W) is as large as the image, both upright."""
    height, width = mask.shape
    if (width, height) != (image.width, image.height):
        raise ImageError(
            f"The mask is {width}×{height} and the image {image.width}×{image.height}, both with their EXIF "
            "orientation applied. Send a mask of exactly the image's size."
        )
