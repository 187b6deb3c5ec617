"""Aims: how long and how strong a defect is to be, and by how much one misses that.

Both are measured on the largest region of the refined mask, as they are reported (`models.measures`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from models.measures import RegionMeasures
from models.placement.drawn import DrawnMask

Range: TypeAlias = tuple[float, float]
"""Least and greatest, both included."""
Aimed = Literal["size", "contrast"]
Again: TypeAlias = Callable[[int, float], DrawnMask]
"""The requested mask of another attempt, whose region is to be so many pixels long; raises `PlacementError`."""

_FAINTEST = 1e-3  # contrast, below which one is as far off as another


@dataclass(frozen=True, eq=False)
class Aim:
    """What the largest region of a refined mask is to be.

    Attributes:
        size: its length in pixels.
        contrast: its contrast, 0–1.
        length: pixels, of the region of the request's own mask as it was asked for.
        again: makes another mask; without it all attempts have the request's.
    """

    size: Range | None = None
    contrast: Range | None = None
    length: float | None = None
    again: Again | None = None

    def missed(self, regions: Sequence[RegionMeasures]) -> tuple[Aimed, ...]:
        """What an item with these regions, the largest first, misses."""
        return tuple(name for name, off in self._off(regions).items() if off)

    def miss(self, regions: Sequence[RegionMeasures]) -> float:
        """By how much in all, in powers of e; 0 is not at all, infinite where there is no region."""
        return sum(self._off(regions).values())

    def _off(self, regions: Sequence[RegionMeasures]) -> dict[Aimed, float]:
        found: dict[Aimed, float] = {}
        if self.size is not None:
            found["size"] = _beyond(self.size, regions[0].length) if regions else math.inf
        if self.contrast is not None:
            found["contrast"] = _beyond(self.contrast, regions[0].contrast) if regions else math.inf
        return found


def middle(wanted: Range) -> float:
    """What to aim at after a miss: as many times the least as the greatest is of it."""
    low, high = wanted
    return math.sqrt(max(low, high / 16) * high)


def spread(wanted: Range, share: float) -> float:
    """A length in a range, evenly spread over its logarithm by a share in [0, 1).

    It is not at the very ends, and less near the least: what is seen of a defect is seldom longer than its mask.
    """
    low, high = wanted
    return float(low * (high / low) ** (0.2 + 0.75 * share))


def _beyond(wanted: Range, value: float) -> float:
    low, high = (max(bound, _FAINTEST) for bound in wanted)
    if wanted[0] <= value <= wanted[1]:
        return 0.0
    at = max(value, _FAINTEST)
    return max(math.log(low / at), math.log(at / high), 1e-9)
