"""Whether two lots of photos can be told apart by their light alone, without a look at defects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage, stats

from models.evaluation.segmenter import Pair
from models.levels import colour

FEWEST = 12
"""Photos of either lot without which nothing is told."""
_HALO = 8  # pixels around a defect that are left out
_APART = 0.98  # area under the ROC
_SMOOTH = 1.5


def apart(one: Sequence[Pair], other: Sequence[Pair]) -> str | None:
    """What tells the first lot from the second, in a word; None where nothing does, or too few are there.

    Photos are compared outside their defects, by the level and the grain of the whole picture; so both lots must
    show the same, parts of photos with parts of photos.
    """
    if min(len(one), len(other)) < FEWEST:
        return None
    ours, theirs = (np.array([_light(pair) for pair in lot]) for lot in (one, other))
    for column, (more, less) in enumerate((("brighter", "darker"), ("grainier", "smoother"))):
        rank = stats.mannwhitneyu(ours[:, column], theirs[:, column]).statistic / (len(one) * len(other))
        if rank >= _APART:
            return more
        if rank <= 1 - _APART:
            return less
    return None


def _light(pair: Pair) -> tuple[float, float]:
    grey = colour(pair.image).astype(np.float32).mean(axis=2) / np.float32(np.iinfo(pair.image.dtype).max)
    outside = ~ndimage.binary_dilation(pair.mask, iterations=_HALO)
    if not outside.any():
        outside = np.ones_like(pair.mask)
    fine = grey - ndimage.gaussian_filter(grey, _SMOOTH)
    return float(grey[outside].mean()), float(np.abs(fine[outside]).mean())
