"""Attempts at one item: it is made again, a bounded number of times, until it is as it was asked for."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from models.aims import Aim, Range, middle
from models.items import MAX_AIMED_ATTEMPTS, MAX_ATTEMPTS, ItemRequest, ItemResult
from models.placement.drawn import DrawnMask, PlacementError

_REACHED = (0.35, 2.5)  # bounds of what a region's length is taken to be over that of its mask
_STEEPNESS = 0.8  # power of the severity that contrast grows by, until two attempts tell
_STEEP = (0.3, 2.0)
_STRONGER = 3.0  # times, at most, from one attempt to the next
_FAINTEST = 0.02


class Attempts:
    """What is asked for next, and the best that came.

    Of an item with an aim, one whose size is missed gets another mask, as much longer or shorter as what came of
    the others; one whose contrast is missed another severity, with the noise that it had, so that its shape stays.

    Args:
        request: the item.
        by_severity: whether how it is made depends on the severity.

    Attributes:
        asked: what to make next.
        noise: which attempt's noise it has; the first is 1.
    """

    def __init__(self, request: ItemRequest, *, by_severity: bool = True) -> None:
        self.asked = request
        self.noise = 1
        self._request = request
        self._by_severity = by_severity
        self._made = 0
        self._best: ItemResult | None = None
        self._requested: DrawnMask | None = None
        self._length = request.aim.length if request.aim else None
        self._reached: list[float] = []
        self._strengths: list[tuple[int, float, float]] = []

    @property
    def waiting(self) -> bool:
        """Whether another one is to be made."""
        most = MAX_ATTEMPTS if self._request.aim is None else MAX_AIMED_ATTEMPTS
        return self._best is None or (self._made < most and not self._best.accepted)

    @property
    def best(self) -> ItemResult:
        """What came of them.

        Raises:
            ValueError: nothing has been made yet.
        """
        if self._best is None:
            raise ValueError("nothing has been made yet")
        return replace(self._best, attempts=self._made)

    def take(self, result: ItemResult) -> None:
        """What came of ``asked``."""
        self._made += 1
        aim = self._request.aim
        if aim is not None:
            missed = aim.missed(result.regions)
            accepted = result.accepted and not missed
            result = replace(result, accepted=accepted, missed=missed, requested=self._requested)
        if self._best is None or self._worth(result) > self._worth(self._best):
            self._best = result
        if aim is None:
            self.noise = self._made + 1
        elif self.waiting:
            self._aim_again(aim, result)

    def _worth(self, result: ItemResult) -> tuple[bool, float, float]:
        """Accepted comes first, for of equal quality one may show a defect and another none."""
        aim = self._request.aim
        return (result.accepted, -aim.miss(result.regions) if aim else 0.0, result.scores.quality)

    def _aim_again(self, aim: Aim, result: ItemResult) -> None:
        severity = self._next_severity(aim, result) if "contrast" in result.missed else None
        faint = severity is not None and not result.regions  # of which nobody can say how long it is
        if "size" in result.missed and not faint:
            self._mask_again(aim, result)
        if severity is None or ("size" in result.missed and not faint):
            self.noise = self._made + 1
        if severity is not None:
            self.asked = replace(self.asked, severity=severity)

    def _mask_again(self, aim: Aim, result: ItemResult) -> None:
        if aim.again is None or aim.size is None or self._length is None:
            return
        if result.regions:
            self._reached.append(float(np.clip(result.regions[0].length / self._length, *_REACHED)))
        share = math.exp(np.mean(np.log(self._reached))) if self._reached else 1.0
        length = middle(aim.size) / share
        try:
            self._requested = aim.again(self._made + 1, length)
        except PlacementError:
            return  # as long as that none fits; the mask that there is may do with other noise
        self._length = length
        self.asked = replace(self.asked, mask=self._requested.mask)

    def _next_severity(self, aim: Aim, result: ItemResult) -> float | None:
        """A severity that meets the contrast if it goes on as it went; None if none would change anything."""
        if aim.contrast is None or not self._by_severity:
            return None
        severity = self.asked.severity
        contrast = result.regions[0].contrast if result.regions else 0.0
        self._strengths.append((self.noise, severity, contrast))
        wanted = middle(aim.contrast) / contrast if contrast > 0 else _STRONGER
        factor = float(np.clip(wanted ** (1 / self._steepness()), 1 / _STRONGER, _STRONGER))
        found = float(np.clip(self._between(severity * factor, aim.contrast), _FAINTEST, 1.0))
        return found if found != severity else None

    def _between(self, severity: float, wanted: Range) -> float:
        """The severity, if with this noise it lies between those too weak and those too strong; else amid them."""
        ours = [(one, contrast) for noise, one, contrast in self._strengths if noise == self.noise]
        weak = max((one for one, contrast in ours if contrast < wanted[0]), default=0.0)
        strong = min((one for one, contrast in ours if contrast > wanted[1]), default=math.inf)
        if weak < severity < strong or not 0 < weak < strong < math.inf:
            return severity
        return math.sqrt(weak * strong)

    def _steepness(self) -> float:
        """By which power of the severity contrast grew between the last two attempts of the same noise."""
        if len(self._strengths) >= 2:
            (first, weak, low), (second, strong, high) = self._strengths[-2:]
            if first == second and min(low, high) > 0 and weak != strong:
                return float(np.clip(math.log(high / low) / math.log(strong / weak), *_STEEP))
        return _STEEPNESS
