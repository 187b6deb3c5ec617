"""What to know before training on a data set, in plain words, with what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from flawsmith.contract.looks import CELLS
from flawsmith.contract.reports import DatasetReport, ReportNote, ReportNoteCode, ReportPairs, TypeReport
from flawsmith.contract.specs import SPLITS, DatasetSplit

FEW = 20
"""Items of a type below which a detector hardly learns it."""
_MOSTLY = 0.5
_LARGER = 2.0
_NAMED = 5
"""Names that a note lists."""
_ONE_PLACE = 0.1
"""Share of the image's cells to which all labels of a type keep."""


def notes(report: DatasetReport, split: DatasetSplit) -> list[ReportNote]:
    """What there is to know, warnings before hints.

    Args:
        report: all of it but its notes.
        split: the shares that were asked for.
    """
    found = [*_of_all(report), *_of_types(report.types, split), *_hints(report)]
    return sorted(found, key=lambda note: note.level != "warning")


def _note(
    code: ReportNoteCode,
    detail: str,
    level: Literal["warning", "hint"] = "warning",
    of: Sequence[TypeReport] = (),
) -> ReportNote:
    return ReportNote(level=level, code=code, defect_types=[one.defect_type for one in of], detail=detail)


def _of_all(report: DatasetReport) -> Iterator[ReportNote]:
    counts = report.counts
    if report.canceled:
        yield _note(
            "canceled",
            f"The build was canceled: {counts.canceled} of {counts.planned} items are missing. Build again: what "
            "is there is not made again.",
        )
    if counts.failed:
        yield _note("failed", f"{_items(counts.failed)} failed. The same build again tries them anew.")
    for verdict in report.verdicts:
        if verdict.result.verdict == "do not use":
            yield _note(
                "do-not-use",
                f"By a hold-out of real parts {verdict.defect_type} makes a detector worse: do not train on it as "
                "it is.",
                of=[one for one in report.types if one.defect_type == verdict.defect_type],
            )
    yield from _of_pairs(report.alike_normals, "normal images")
    yield from _of_pairs(report.alike_items, "items")
    if len(report.images) > 1:
        kinds = _listed(f"{one.normals:,} of {one.width} × {one.height} {one.mode}" for one in report.images)
        yield _note(
            "mixed-images",
            f"Normal images are of {len(report.images)} sizes or kinds "
            f"({kinds}). Trainers scale them to one size, and with them "
            "the defects; a data set of each camera does not mix them.",
        )


def _of_pairs(pairs: ReportPairs, what: str) -> Iterator[ReportNote]:
    if pairs.across_sides:
        yield _note(
            "near-duplicates-across-sides",
            f"{_pairs(pairs.across_sides, what)} the same and lie on different sides of the split: what "
            "is tested was trained on. Group the photos of a part (split.group_by), or leave one of each pair "
            "out.",
        )
    elif pairs.pairs:
        yield _note(
            "near-duplicates",
            f"{_pairs(pairs.pairs, what)} the same: two of them count twice and teach once.",
            "hint",
        )


def _of_types(types: Sequence[TypeReport], split: DatasetSplit) -> Iterator[ReportNote]:
    for one in types:
        made = one.counts.exported + one.counts.rejected
        if one.counts.rejected > _MOSTLY * made:
            yield _note(
                "mostly-rejected",
                f"{one.counts.rejected} of {made} items of {one.defect_type} are not accepted. See "
                "under rejections what holds them back: other photos, masks or severities may help, or a "
                "version taught from more samples.",
                of=[one],
            )
    few = [one for one in types if one.counts.exported < FEW]
    if few:
        yield _note(
            "few-items",
            f"Fewer than {FEW} items are too few to learn a type from: "
            f"{_listed(f'{one.counts.exported} of {one.defect_type}' for one in few)}. Ask for more.",
            of=few,
        )
    for side in SPLITS:
        lacking = [one for one in types if one.counts.exported and not one.sides[side]]
        if getattr(split, side) > 0 and lacking:
            yield _note(
                "side-without-type",
                f"No item of {_listed(one.defect_type for one in lacking)} is on the side {side}. With more "
                "photos, or smaller groups of them, there will be some on each.",
                of=lacking,
            )
    for one in types:
        yield from _of_labels(one)


def _of_labels(one: TypeReport) -> Iterator[ReportNote]:
    name, relative = one.defect_type, one.relative_size
    if relative is not None and relative > _LARGER:
        yield _note(
            "larger-than-real",
            f"Labels of {name} are mostly {relative:.1f} times as long as on the real samples, measured by the "
            "part: a detector learns defects larger than it will meet.",
            of=[one],
        )
    if relative is not None and relative < 1 / _LARGER:
        yield _note(
            "smaller-than-real",
            f"Labels of {name} are mostly {relative:.2f} times as long as on the real samples, measured by the "
            "part: a detector learns defects smaller than it will meet.",
            of=[one],
        )
    reached = sum(count > 0 for row in one.places.cells for count in row)
    if one.places.items >= FEW and reached <= _ONE_PLACE * CELLS**2:
        yield _note(
            "one-place",
            f"All labels of {name} lie in {max(1, round(100 * reached / CELLS**2))} % of the image: a detector "
            "may learn the place instead of the defect. If real ones may lie elsewhere, widen the masks or "
            "regions.",
            of=[one],
        )


def _hints(report: DatasetReport) -> Iterator[ReportNote]:
    left_out = report.rejections.left_out_count
    if left_out:
        yield _note(
            "left-out",
            f"{left_out} normal image{'s are' if left_out > 1 else ' is'} no part of the data set; reasons are "
            "below.",
            "hint",
        )
    if report.types and not any(one.kind == "control" and one.counts.exported for one in report.good):
        yield _note(
            "no-controls",
            "There are no controls: whether a detector finds the generator's trace instead of defects cannot be "
            "told. Ask for some (controls).",
            "hint",
        )
    judged = {verdict.defect_type for verdict in report.verdicts}
    unjudged = [one for one in report.types if one.defect_type not in judged]
    if unjudged:
        yield _note(
            "not-evaluated",
            f"Whether a detector gets better by {_listed(one.defect_type for one in unjudged)} was not asked of "
            "real parts. Hold some out, evaluate, and name the evaluation in the data set (evaluations).",
            "hint",
            unjudged,
        )


def _items(count: int) -> str:
    return f"{count} item{'' if count == 1 else 's'}"


def _pairs(count: int, what: str) -> str:
    return f"{count:,} pair{'' if count == 1 else 's'} of {what} look{'s' if count == 1 else ''}"


def _listed(names: Iterable[str]) -> str:
    """Some of them."""
    found = list(names)
    return ", ".join(found[:_NAMED]) + (f" and {len(found) - _NAMED} more" if len(found) > _NAMED else "")
