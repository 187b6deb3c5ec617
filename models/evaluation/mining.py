"""Spots of good images that a detector takes for defects while it learns: it is shown them again.

What is no defect but looks like one (dirt, a chip, a reflection) is a small share of good images, and squares
drawn anywhere seldom show it; yet it is what rejects good parts. This is hard example mining (Shrivastava, Gupta
and Girshick, Training Region-based Object Detectors with Online Hard Example Mining, CVPR 2016, arXiv 1604.03540),
over the whole of a training instead of one batch, so that it costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass

import numpy as np

_KEPT = 16
_APART = 32  # pixels; nearer sightings are of the same spot


@dataclass(frozen=True, order=True)
class Spot:
    """Where a detector was most wrong in a square of a good image.

    Attributes:
        odds: log odds of a defect that it gave.
        image: the image's number.
        row, column: of the image.
    """

    odds: float
    image: int
    row: int
    column: int

    def is_of(self, other: Spot) -> bool:
        """Whether both are sightings of the same."""
        near = max(abs(self.row - other.row), abs(self.column - other.column)) < _APART
        return near and self.image == other.image


class Missed:
    """The worst spots so far, as the detector saw each the last time."""

    def __init__(self) -> None:
        self._spots: list[Spot] = []  # the worst first

    def take(self, rng: np.random.Generator) -> Spot | None:
        """One of them, sooner a worse one, which is forgotten until it is put back; None if there are none."""
        return self._spots.pop(int(len(self._spots) * rng.random() ** 2)) if self._spots else None

    def put(self, spots: Iterable[Spot]) -> None:
        """Remember spots as long as they are among the worst; the last sighting of one counts."""
        for spot in spots:
            self._spots = [other for other in self._spots if not other.is_of(spot)] + [spot]
        self._spots = sorted(self._spots, reverse=True)[:_KEPT]

    def state(self) -> list[tuple[float, int, int, int]]:
        """Numbers from which `of` makes them again."""
        return [astuple(spot) for spot in self._spots]

    @classmethod
    def of(cls, state: Iterable[tuple[float, int, int, int]]) -> Missed:
        """What had this state."""
        missed = cls()
        missed.put(Spot(*numbers) for numbers in state)
        return missed
