"""Distributions of many values in little memory: counts in fine bins, shown in fewer ones."""

from __future__ import annotations

import math

from flawsmith.contract.reports import ReportDistribution

SHOWN_BINS = 20
"""Bins of a histogram, about."""


class Tally:
    """Values counted in bins of one width, on a linear or on a logarithmic scale.

    Args:
        least: lower edge of the first bin; what is below is counted there.
        width: of a bin; on a logarithmic scale the logarithm to base 2 of the edges' ratio.
        bins: how many there are; what is above is counted in the last.
    """

    def __init__(self, least: float, width: float, bins: int, *, logarithmic: bool = False) -> None:
        self._least = least
        self._width = width
        self._logarithmic = logarithmic
        self._exported = [0] * bins
        self._rejected = [0] * bins
        self._lowest = math.inf
        self._highest = -math.inf

    def add(self, value: float, *, exported: bool) -> None:
        """Count a value, of an item that is part of the exports, or else is below the least quality."""
        self._lowest, self._highest = min(self._lowest, value), max(self._highest, value)
        counts = self._exported if exported else self._rejected
        counts[self._bin(value)] += 1

    def distribution(self) -> ReportDistribution | None:
        """What was counted; None if that is nothing."""
        all_counts = [one + other for one, other in zip(self._exported, self._rejected, strict=True)]
        if not any(all_counts):
            return None
        first, last = self._shown(all_counts)
        together = max(1, math.ceil((last - first) / SHOWN_BINS))
        last = first + together * math.ceil((last - first) / together)
        steps = range(first, last, together)
        return ReportDistribution(
            count=sum(all_counts),
            least=_rounded(self._lowest),
            median=_rounded(min(max(self._median(all_counts), self._lowest), self._highest)),
            greatest=_rounded(self._highest),
            edges=[_rounded(self._edge(step)) for step in range(first, last + 1, together)],
            exported=[sum(self._exported[step : step + together]) for step in steps],
            rejected=[sum(self._rejected[step : step + together]) for step in steps],
        )

    def _shown(self, counts: list[int]) -> tuple[int, int]:
        """The bins that are shown: on a logarithmic scale those with something in them, else all."""
        if not self._logarithmic:
            return 0, len(counts)
        filled = [number for number, count in enumerate(counts) if count]
        first, last = filled[0], filled[-1] + 1
        spare = max(0, SHOWN_BINS - (last - first)) // 2  # a few values near each other are not spread over all
        return max(0, first - spare), last + spare

    def _bin(self, value: float) -> int:
        if self._logarithmic:
            if value <= self._least:
                return 0
            place = math.log2(value / self._least) / self._width
        else:
            place = (value - self._least) / self._width
        return min(max(math.floor(place + 1e-9), 0), len(self._exported) - 1)

    def _edge(self, number: float) -> float:
        """Lower edge of a bin."""
        if self._logarithmic:
            return self._least * math.exp2(number * self._width)
        return self._least + number * self._width

    def _median(self, counts: list[int]) -> float:
        half, before = sum(counts) / 2, 0
        for number, count in enumerate(counts):
            if before + count >= half:
                return self._edge(number + (half - before) / count)
            before += count
        raise AssertionError("nothing was counted")


def score_tally() -> Tally:
    """For values of 0 to 1."""
    return Tally(0.0, 0.005, 200)


def size_tally() -> Tally:
    """For lengths and areas, of a hundredth to 10¹² of their unit."""
    return Tally(0.01, 1 / 16, 16 * 47, logarithmic=True)


def _rounded(value: float) -> float:
    """To four figures: the rest says nothing, and differs from one machine to another."""
    return float(f"{value:.4g}")
