"""Which items a report shows of those that have something in common."""

from __future__ import annotations

from flawsmith.contract.reports import ReportItem, ReportSheet
from service.reports.choices import Choice

MOST = 24
"""Items of a sheet."""
LEAST = 6
MOST_OF_ALL = 240
"""Items on the sheets of all types together, so that the page stays small however many types there are."""


class Sheet:
    """Chooses the worst, the best, and some by lot."""

    def __init__(self) -> None:
        third = MOST // 3
        self._offered = 0
        self._worst = Choice[float, ReportItem](third)
        self._best = Choice[float, ReportItem](third)
        self._by_lot = Choice[str, ReportItem](MOST)

    def offer(self, item: ReportItem, lot: str) -> None:
        """Look at one more item; one without a quality is chosen by lot alone.

        Args:
            lot: a digest of what shapes it.
        """
        self._offered += 1
        self._by_lot.offer(lot, item)
        if item.quality is not None:
            self._worst.offer(item.quality, item)
            self._best.offer(-item.quality, item)

    def chosen(self, count: int = MOST) -> ReportSheet:
        """About ``count`` of them, none twice."""
        taken: set[int] = set()

        def some(items: list[ReportItem], most: int) -> list[ReportItem]:
            found = [item for item in items if item.index not in taken][:most]
            taken.update(item.index for item in found)
            return found

        third = min(count, self._offered) // 3
        worst = some(self._worst.chosen(), third)
        best = some(self._best.chosen(), third)
        return ReportSheet(worst=worst, best=best, by_lot=some(self._by_lot.chosen(), count - len(taken)))


def each_of(sheets: int) -> int:
    """How many items each of so many sheets shows."""
    return min(MOST, max(LEAST, MOST_OF_ALL // max(1, sheets)))
