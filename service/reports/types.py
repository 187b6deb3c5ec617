"""What a report says of one type, gathered defect by defect."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from flawsmith.contract.jobs import DrawnRegion, RegionMeasures, Scores
from flawsmith.contract.looks import CELLS
from flawsmith.contract.reports import ReportCounts, ReportDistribution, ReportItem, ReportPlaces, TypeReport
from flawsmith.contract.specs import SPLITS, Split
from service.exports.rows import Outcome
from service.reports.sheets import Sheet
from service.reports.tallies import Tally, score_tally, size_tally

SCORES = ("quality", "presence", "seam", "grain", "coverage", "realism", "novelty")
_IN_PIXELS = ("area", "length", "width")
_IN_UM = ("area_um2", "length_um", "width_um")


class Outcomes:
    """Counts of items by what became of them, and of those of the exports by side."""

    def __init__(self) -> None:
        self._counts = ReportCounts()
        self._sides = Counter[str]()

    def add(self, found: Outcome) -> None:
        """Count an item."""
        counts, item = self._counts, found.item
        counts.planned += 1
        if found.exported:
            counts.exported += 1
            self._sides[found.planned.source.split] += 1
        elif found.rejected:
            counts.rejected += 1
        elif item is not None and item.error is not None:
            counts.failed += 1
        else:
            counts.canceled += 1

    @property
    def counts(self) -> ReportCounts:
        return self._counts

    @property
    def sides(self) -> dict[Split, int]:
        return {name: self._sides[name] for name in SPLITS}


class TypeTally:
    """Of one type: its items are counted, their defects of the type looked at.

    Args:
        reference: ``name@version``.
        number: of its class.
    """

    def __init__(self, reference: str, number: int) -> None:
        self.reference = reference
        self.number = number
        self.outcomes = Outcomes()
        self.sheet = Sheet()
        self._scores = {name: score_tally() for name in SCORES}
        self._pixels = {name: size_tally() for name in _IN_PIXELS}
        self._um = {name: size_tally() for name in _IN_UM}
        self._contrast = score_tally()
        self._relative = size_tally()
        self._cells = [[0] * CELLS for _ in range(CELLS)]
        self._placed = 0

    def add_scores(self, scores: Scores, *, exported: bool) -> None:
        """Those of one defect."""
        for name, tally in self._scores.items():
            value = getattr(scores, name)
            if value is not None:
                tally.add(value, exported=exported)

    def add_sizes(
        self, regions: Sequence[RegionMeasures], drawn: Sequence[DrawnRegion], *, exported: bool
    ) -> None:
        """Those of one defect: regions of its label, and of the mask that was drawn for it."""
        for region in regions:
            for tallies in (self._pixels, self._um):
                for name, tally in tallies.items():
                    value = getattr(region, name)
                    if value is not None:
                        tally.add(value, exported=exported)
            self._contrast.add(region.contrast, exported=exported)
        asked, made = sum(one.area for one in drawn), sum(one.area for one in regions)
        if exported and asked and made:
            scale = sum(one.scale for one in drawn) / len(drawn)
            self._relative.add(scale * math.sqrt(made / asked), exported=True)

    def add_place(self, cells: str) -> None:
        """The cells that the label of one defect reaches into, of an item that is part of the exports."""
        bits = int(cells, 16)
        self._placed += 1
        while bits:
            last = bits & -bits
            row, column = divmod(CELLS * CELLS - last.bit_length(), CELLS)
            self._cells[row][column] += 1
            bits ^= last

    def report(self, count: int) -> TypeReport:
        """What there is; ``count`` items are shown."""
        relative = self._relative.distribution()
        return TypeReport(
            defect_type=self.reference,
            number=self.number,
            counts=self.outcomes.counts,
            sides=self.outcomes.sides,
            scores=_found(self._scores),
            sizes=self._sizes(),
            relative_size=relative.median if relative else None,
            places=ReportPlaces(items=self._placed, cells=self._cells),
            sheet=self.sheet.chosen(count),
        )

    def _sizes(self) -> dict[str, ReportDistribution]:
        pixels, um = _found(self._pixels), _found(self._um)
        known = [one.count for one in um.values()] == [one.count for one in pixels.values()]
        return (um if known else pixels) | _found({"contrast": self._contrast})


def item_of(
    found: Outcome, scores: Scores | None = None, types: Sequence[str] = (), min_quality: float | None = None
) -> ReportItem:
    """An item as a report shows it."""
    planned = found.planned
    weakest = None
    if scores is not None:
        values = {name: getattr(scores, name) for name in SCORES[1:]}
        known = {name: value for name, value in values.items() if value is not None}
        weakest = min(known, key=lambda name: known[name])
    return ReportItem(
        index=planned.index,
        name=planned.name,
        split=planned.source.split,
        source=planned.source.name,
        defect_types=list(types),
        quality=round(scores.quality, 4) if scores else None,
        weakest=weakest,
        min_quality=min_quality,
    )


def _found(tallies: dict[str, Tally]) -> dict[str, ReportDistribution]:
    found = {name: tally.distribution() for name, tally in tallies.items()}
    return {name: one for name, one in found.items() if one is not None}
