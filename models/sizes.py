"""Sizes of real defects: which of them are likely in a region of some size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.extents import extent
from models.masks import Mask
from models.samples import Exemplar

Sizes = NDArray[np.float64]
"""(n, 2) logarithms of length and width."""

_FIT = 0.7  # in powers of e, by how much an exemplar may miss a site's size and still be likely
_UNLIKELY = 0.02


def sizes_of(exemplars: Sequence[Exemplar]) -> Sizes:
    """Of exemplars, in their order."""
    return np.log([one.extent for one in exemplars])


def chances(sizes: Sizes, site: Mask) -> NDArray[np.float64]:
    """(n,) of each exemplar to be taken for a site, in all 1; the greater the less its size misses the site's."""
    missed = np.square(sizes - np.log(extent(site))).sum(axis=1)
    weights = np.exp(-0.5 * (missed - missed.min()) / _FIT**2) + _UNLIKELY
    return np.asarray(weights / weights.sum())
