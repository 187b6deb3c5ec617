"""What a report shows of an item and says of how it looks, taken from its pixels while they are at hand."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from flawsmith.contract.base import FORMAT_VERSION
from flawsmith.contract.looks import CELLS, ItemLook, Thumbnail, ThumbnailOutline
from service.images.canonical import Pixels
from worker.outlines import Outline
from worker.patterns import colour, means, pattern
from worker.preview import reduced, shown, shown_range
from worker.subjects import Mask

SIDE = 192
"""Of a thumbnail's longer side, at most."""
_LEAST = 96
"""Pixels a side that are shown at least, so that a tiny defect is seen on something."""
_AROUND = 2
"""Sides of the defects that are shown."""
_MOST_OUTLINES = 48
"""Regions of a label that are outlined, the largest: nobody sees more in a thumbnail."""
_QUALITY = 82
_EIGHT = np.ones((3, 3), dtype=np.bool_)

_Place = tuple[slice, slice]


def look(image: Pixels, labels: Sequence[Mask], source_pattern: str) -> ItemLook:
    """What an item looks like.

    Args:
        image: (H, W) or (H, W, C).
        labels: (H, W) of each of its defects; none, or empty ones, of an item without a defect.
        source_pattern: `pattern` of its normal image.
    """
    return ItemLook(
        pattern=pattern(image[_around(image, labels)]),
        source_pattern=source_pattern,
        places=[_cells(label) for label in labels],
    )


def thumbnail(image: Pixels, labels: Sequence[Mask]) -> Thumbnail:
    """A small picture of what is around the defects of an item, or of all of it; arguments as `look`."""
    place = _around(image, labels)
    cut = image[place]
    height, width = cut.shape[:2]
    share = min(1.0, SIDE / max(height, width))
    size = (max(1, round(width * share)), max(1, round(height * share)))
    file = io.BytesIO()
    low, high = shown_range(cut[:: max(1, height // SIDE), :: max(1, width // SIDE)])
    small = means(colour(cut), (size[1], size[0]))
    shown(small, low, high, size).save(file, "JPEG", quality=_QUALITY)
    return Thumbnail(
        format_version=FORMAT_VERSION,
        width=size[0],
        height=size[1],
        jpeg=base64.b64encode(file.getvalue()).decode(),
        outlines=[
            outline for defect, label in enumerate(labels) for outline in _outlines(defect, label[place], size)
        ],
    )


def _around(image: Pixels, labels: Sequence[Mask]) -> _Place:
    """The part of an image to look at: a square around all labels, within the image; everything without any."""
    height, width = image.shape[:2]
    whole = np.logical_or.reduce(labels) if labels else np.zeros((height, width), dtype=np.bool_)
    rows, columns = np.flatnonzero(whole.any(axis=1)), np.flatnonzero(whole.any(axis=0))
    if not len(rows):
        return slice(0, height), slice(0, width)
    side = max(_LEAST, _AROUND * max(int(rows[-1] - rows[0]), int(columns[-1] - columns[0])) + _AROUND)
    return _within(rows, side, height), _within(columns, side, width)


def _within(filled: np.ndarray[tuple[int], np.dtype[np.intp]], side: int, length: int) -> slice:
    side = min(side, length)
    start = (int(filled[0]) + int(filled[-1]) + 1 - side) // 2
    start = min(max(start, 0), length - side)
    return slice(start, start + side)


def _cells(label: Mask) -> str:
    """The cells of a grid over the image in which the label lies, as bits in hex."""
    grid = np.zeros((CELLS, CELLS), dtype=np.bool_)
    rows, columns = np.nonzero(label)
    grid[rows * CELLS // label.shape[0], columns * CELLS // label.shape[1]] = True
    return np.packbits(grid).tobytes().hex()


def _outlines(defect: int, label: Mask, size: tuple[int, int]) -> list[ThumbnailOutline]:
    """Outlines of a label's regions at the size of the thumbnail (width, height), the largest ones."""
    small = np.asarray(reduced(label, size)) > 0
    numbered, _ = ndimage.label(small, _EIGHT)
    regions = sorted(
        (
            (np.asarray(numbered[box] == number), box)
            for number, box in enumerate(ndimage.find_objects(numbered), 1)
        ),
        key=lambda one: -int(one[0].sum()),
    )
    return [
        ThumbnailOutline(
            defect=defect, points=[round(at) for at in Outline(region).polygon((box[0].start, box[1].start))]
        )
        for region, box in regions[:_MOST_OUTLINES]
    ]
