"""Defective images by what they show and by how large it is: which of them a detector lets escape."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from models.evaluation.images import ImageOutcomes

_SIZES = ("small", "middle", "large")

Among = NDArray[np.bool_]


def by_type(of: ImageOutcomes) -> Mapping[str, Among]:
    """(N,) of each type, in the order of their names."""
    return {
        type_: np.array([one == type_ for one in of.types]) for type_ in sorted({one for one in of.types if one})
    }


def by_size(of: ImageOutcomes) -> Mapping[str, Among]:
    """(N,) of each third of the defective images whose area is known; one may be empty where areas are equal."""
    known = of.defective & ~np.isnan(of.areas)
    if not known.any():
        return {}
    third = np.searchsorted(np.quantile(of.areas[known], (1 / 3, 2 / 3)), of.areas)
    return {size: known & (third == number) for number, size in enumerate(_SIZES)}
