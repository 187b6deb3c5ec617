"""What came of a data set, in numbers: for people and for programs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, Field
from rich.table import Table

from flawsmith.cli.ranges import bin_words
from flawsmith.cli.terminal import say, show, tell
from flawsmith.contract.datasets import DatasetState, LeftOut
from flawsmith.contract.jobs import Job
from flawsmith.contract.rows import DatasetRow
from flawsmith.contract.specs import SPLITS, DatasetLock, Split
from flawsmith.contract.wishes import ContrastRange, SizeRange

NORMAL, CONTROL = "normal image", "control"
_TOLD = 20
"""Images that were left out, or items that failed, which are told one by one."""


class BinSummary(BaseModel):
    """A bin of an entry in numbers."""

    entry: int
    """Places in the request."""
    bin: int
    defect_types: list[str]
    size: SizeRange | None
    contrast: ContrastRange | None
    items: int
    """That are for it."""
    met: int = 0
    """That were accepted: of its size and contrast, and not below quality."""


class Summary(BaseModel):
    """A data set in numbers. Items are of all kinds; those that are not accepted are no part of exports."""

    job: str
    status: str
    made: int
    """Items that this job made anew."""
    reused: int
    """Items that were there already."""
    below_quality: int
    """Items that are not accepted: below quality, or of another size or contrast than their bin."""
    failed: int
    canceled: int
    left_out: list[LeftOut]
    """Normal images that are no part of it; the first of them."""
    left_out_count: int
    splits: dict[Split, dict[str, int]] = Field(default_factory=dict)
    """Items in exports, by split and by types, ``normal image`` or ``control``."""
    errors: dict[str, str] = Field(default_factory=dict)
    """Of failed items, by name."""
    bins: list[BinSummary] = Field(default_factory=list)
    """Of the entries that have some."""


def summarise(job: Job, rows: Iterable[DatasetRow]) -> Summary:
    """Count the rows of a job; they are read one by one."""
    reused = job.dataset.reused if job.dataset else 0
    found = Summary(
        job=job.id,
        status=str(job.status),
        made=max(0, job.counts.succeeded - reused),
        reused=reused,
        below_quality=job.counts.rejected,
        failed=job.counts.failed,
        canceled=job.counts.canceled,
        left_out=job.dataset.left_out if job.dataset else [],
        left_out_count=job.dataset.left_out_count if job.dataset else 0,
        bins=_bins(job),
    )
    bins = {(one.entry, one.bin): one for one in found.bins}
    for row in rows:
        if row.status == "failed":
            found.errors[row.name] = row.error or "no reason was recorded"
        if row.status == "succeeded" and row.accepted is not False:
            kinds = found.splits.setdefault(row.split, {})
            kind = _kind(row)
            kinds[kind] = kinds.get(kind, 0) + 1
            if row.entry is not None and row.bin is not None and (row.entry, row.bin) in bins:
                bins[row.entry, row.bin].met += 1
    return found


def _bins(job: Job) -> list[BinSummary]:
    return [
        BinSummary(
            entry=number,
            bin=place,
            defect_types=entry.defect_types,
            size=one.size,
            contrast=one.contrast,
            items=one.items,
        )
        for number, entry in enumerate(job.dataset.entries if job.dataset else ())
        for place, one in enumerate(entry.bins or ())
    ]


def show_summary(found: Summary) -> None:
    """A table of types by splits, one of bins if there are some, and a line of numbers."""
    splits = [split for split in SPLITS if split in found.splits]
    table = Table("Items", *splits, box=None, pad_edge=False)
    kinds = {kind for of_split in found.splits.values() for kind in of_split}
    for kind in sorted(kinds, key=lambda one: (one in (NORMAL, CONTROL), one)):
        table.add_row(kind, *(str(found.splits[split].get(kind, 0)) for split in splits))
    if kinds:
        show(table)
    if found.bins:
        bins = Table("Bin", "Items", "Met", box=None, pad_edge=False)
        for one in found.bins:
            name = f"{' + '.join(one.defect_types)} {bin_words(one.size, one.contrast)}"
            bins.add_row(name, str(one.items), str(one.met))
        show(bins)
    say(
        f"{found.job} {found.status}: {found.made} made, {found.reused} reused, "
        f"{found.below_quality} not accepted, {found.failed} failed, {found.canceled} canceled, "
        f"{found.left_out_count} normal images left out"
    )


def show_alignment(state: DatasetState) -> None:
    """How normal images lie to the reference, if they were laid on one."""
    if (found := state.alignment) is not None:
        say(
            f"{found.images} normal images registered on the reference, within {found.median_residual_px:.2f} "
            f"pixels (median), {found.greatest_residual_px:.2f} at most; {found.limit_px:.2f} is the limit"
        )


def show_left_out(found: Summary) -> None:
    """Which images were left out and which items failed, and why."""
    for left in found.left_out[:_TOLD]:
        tell(f"left out: {left.name}: {left.reason}")
    for name, error in list(found.errors.items())[:_TOLD]:
        tell(f"failed: {name}: {error}")
    more = max(0, found.left_out_count - _TOLD) + max(0, len(found.errors) - _TOLD)
    if more:
        tell(f"and {more} more; --json tells more of them")


def show_lock_change(path: Path, before: DatasetLock | None, after: DatasetLock) -> None:
    """Tell that the lock is another one, and what of it."""
    if before is None:
        tell(f"{path} is written; keep it beside the spec, under version control")
        return
    changed = [
        f"{name}@{version}"
        for name, version in after.defect_types.items()
        if before.defect_types.get(name) != version
    ]
    tell(f"{path} has changed" + (f": {', '.join(changed)}" if changed else ""))


def _kind(row: DatasetRow) -> str:
    if row.kind == "normal":
        return NORMAL
    return CONTROL if row.kind == "control" else " + ".join(row.defect_types)
