"""Previews: input with the requested outline, result, refined mask on the result, side by side."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from service.images.canonical import Pixels
from service.images.encoding import encode_picture_png
from worker.patterns import colour

MAX_WIDTH = 1536
"""Of the whole preview in pixels."""
_GAP = 4
_OUTLINE = (0, 190, 255)
_LABELS = (
    (255, 40, 40),
    (60, 220, 60),
    (255, 170, 0),
    (230, 60, 230),
    (255, 240, 60),
    (60, 120, 255),
    (0, 220, 190),
    (150, 75, 0),
)
"""Of the first defect, the second, …"""
_ANY = 1e-6
"""Share of a pixel from which on any of it is set: less is rounding."""
_LABEL_SHARE = 0.55  # how much of a label's colour covers the picture beneath


def preview_png(
    source: Pixels, requested: NDArray[np.bool_], result: Pixels, labels: Sequence[NDArray[np.bool_]]
) -> bytes:
    """An 8-bit RGB PNG of three panels, at most `MAX_WIDTH` wide.

    Args:
        source, result: the canonical input and the item, same shape and dtype.
        requested: (H, W), where the defects may appear.
        labels: (H, W) refined mask of each defect.
    """
    low, high = shown_range(source)
    height, width = requested.shape
    side = min(width, (MAX_WIDTH - 2 * _GAP) // 3)
    size = (side, max(1, round(height * side / width)))
    drawn = shown(result, low, high, size)
    panels = [
        _coloured(shown(source, low, high, size), _outline(reduced(requested, size)), _OUTLINE, 1.0),
        drawn,
        _labelled(drawn, labels),
    ]
    sheet = Image.new("RGB", (3 * size[0] + 2 * _GAP, size[1]), "white")
    for place, panel in enumerate(panels):
        sheet.paste(panel, (place * (size[0] + _GAP), 0))
    return encode_picture_png(np.asarray(sheet))


def shown_range(pixels: Pixels) -> tuple[float, float]:
    """What is shown as black and as white: all of 8 bits; of 16, which are seldom used up, what occurs."""
    if pixels.dtype == np.uint8:
        return 0.0, 255.0
    low, high = (float(value) for value in np.percentile(colour(pixels), (0.1, 99.9)))
    return low, max(high, low + 1.0)


def shown(pixels: NDArray[Any], low: float, high: float, size: tuple[int, int]) -> Image.Image:
    """The pixels as an 8-bit RGB picture of ``size``, width and height; ``low`` is black and ``high`` white."""
    grey_or_rgb = colour(pixels)
    if pixels.dtype != np.uint8 or (low, high) != (0.0, 255.0):
        unit = (grey_or_rgb.astype(np.float32) - low) / (high - low)
        grey_or_rgb = np.rint(unit.clip(0, 1) * 255).astype(np.uint8)
    return Image.fromarray(grey_or_rgb).convert("RGB").resize(size, Image.Resampling.BOX)


def reduced(mask: NDArray[np.bool_], size: tuple[int, int]) -> Image.Image:
    """The mask at ``size``, width and height; a pixel is set where any of what it covers is, so that thin lines
    stay."""
    share = Image.fromarray(mask.astype(np.float32)).resize(size, Image.Resampling.BOX)
    return Image.fromarray((np.asarray(share) > _ANY) * np.uint8(255))


def _outline(mask: Image.Image) -> Image.Image:
    inside = np.asarray(mask.filter(ImageFilter.MinFilter(3)), dtype=np.bool_)
    return Image.fromarray(np.where(inside, 0, np.asarray(mask)).astype(np.uint8))


def _labelled(panel: Image.Image, labels: Sequence[NDArray[np.bool_]]) -> Image.Image:
    """The panel under the label of each defect, in a colour of its own."""
    for mask, ink in zip(labels, itertools.cycle(_LABELS), strict=False):
        panel = _coloured(panel, reduced(mask, panel.size), ink, _LABEL_SHARE)
    return panel


def _coloured(panel: Image.Image, mask: Image.Image, ink: tuple[int, int, int], share: float) -> Image.Image:
    """The panel under a colour where the mask, 0 or 255, is set."""
    opacity = Image.fromarray((np.asarray(mask) > 0) * np.uint8(round(255 * share)))
    return Image.composite(Image.new("RGB", panel.size, ink), panel, opacity)
