"""Run lengths as COCO packs them: alternating runs of 0 and 1 down the columns, as text."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from worker.subjects import Mask

_BITS = 5
_MOST_CHUNKS = 14  # of a 64-bit number


def packed_runs(region: Mask, place: tuple[int, int], size: tuple[int, int]) -> str:
    """The run lengths of a mask, most of which is empty.

    Args:
        region: (h, w), the part of the mask with all its pixels; not empty.
        place: row and column of its first pixel.
        size: H and W of the whole mask.

    Returns:
        ``counts`` of COCO's compressed form, the text that ``pycocotools.mask.encode`` gives (`rleToString` in its
        ``maskApi.c``).
    """
    height, width = size
    top, left = place
    columns = np.zeros((region.shape[1], region.shape[0] + 2), dtype=np.int8)
    columns[:, 1:-1] = region.T
    column, row = np.nonzero(np.diff(columns, axis=1))
    ends = ((column + left) * height + row + top).astype(np.int64)  # begin, end, begin, …
    joined = np.flatnonzero(ends[1:-1:2] == ends[2::2]) * 2 + 1  # on from one column to the next
    ends = np.delete(ends, np.concatenate([joined, joined + 1]))
    counts = np.diff(ends, prepend=0, append=height * width)
    return _packed(counts[:-1] if counts[-1] == 0 else counts)


def _packed(counts: NDArray[np.int64]) -> str:
    """From the fourth on each as its difference to the one before the last, in groups of 5 bits, least first."""
    values = counts.copy()
    values[3:] -= counts[1:-2]
    characters = np.zeros((len(values), _MOST_CHUNKS), dtype=np.uint8)
    open_ = np.ones(len(values), dtype=np.bool_)
    for chunk in range(_MOST_CHUNKS):
        bits = values & 0x1F
        values = values >> _BITS
        more = np.where(bits & 0x10, values != -1, values != 0)
        characters[open_, chunk] = (bits + np.where(more, 0x20, 0) + 48)[open_]
        open_ &= more
        if not open_.any():
            break
    return bytes(characters[characters > 0]).decode("ascii")
