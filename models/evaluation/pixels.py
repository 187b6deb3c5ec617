"""What a detector said about pixels of test images, counted at fixed scores, so that each can be asked alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.evaluation.images import Array, ImageOutcomes
from models.masks import Mask

BINS = 512
"""Log odds between which pixels are not told apart: as even ones, of .05; as sure ones, of .5."""
_REACH, _FINE = 40.0, 4.0  # of log odds: where the last bins begin, and up to where they are about as narrow
_EDGES = _FINE * np.sinh(np.linspace(-1, 1, BINS - 1) * np.arcsinh(_REACH / _FINE))


@dataclass(frozen=True, eq=False, kw_only=True)
class PixelOutcomes(ImageOutcomes):
    """What a detector said about N test images and their pixels.

    Attributes:
        hits, alarms: (N, BINS), how many pixels of each bin are defective, and how many are not; scores rise.
    """

    hits: Array
    alarms: Array


def counted(odds: NDArray[np.float32], mask: Mask) -> NDArray[np.int32]:
    """(2, BINS): defective pixels of an image in each bin, and the others.

    Args:
        odds: (H, W), log odds of a defect.
        mask: (H, W), the true one.
    """
    bins = np.searchsorted(_EDGES, odds, side="right")
    return np.stack([np.bincount(bins[where], minlength=BINS) for where in (mask, ~mask)]).astype(np.int32)
