"""What came of a data set, in numbers: for people and for programs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, Field
from rich.table import Table

from flawsmith.cli.terminal import say, show, tell
from flawsmith.contract.datasets import SPLITS, DatasetLock, DatasetRow, DatasetState, LeftOut, Split
from flawsmith.contract.jobs import Job

NORMAL, CONTROL = "normal image", "control"
_TOLD = 20
"""Images that were left out, or items that failed, which are told one by one."""


class Summary(BaseModel):
    """A data set in numbers. Items are of all kinds; those below quality are no part of exports."""

    job: str
    status: str
    made: int
    """Items that this job made anew."""
    reused: int
    """Items that were there already."""
    below_quality: int
    failed: int
    canceled: int
    left_out: list[LeftOut]
    """Normal images that are no part of it."""
    splits: dict[Split, dict[str, int]] = Field(default_factory=dict)
    """Items in exports, by split and by types, ``normal image`` or ``control``."""
    errors: dict[str, str] = Field(default_factory=dict)
    """Of failed items, by name."""


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
    )
    for row in rows:
        if row.status == "failed":
            found.errors[row.name] = row.error or "no reason was recorded"
        if row.status == "succeeded" and row.accepted is not False:
            kinds = found.splits.setdefault(row.split, {})
            kind = _kind(row)
            kinds[kind] = kinds.get(kind, 0) + 1
    return found


def show_summary(found: Summary) -> None:
    """A table of types by splits, and a line of numbers."""
    splits = [split for split in SPLITS if split in found.splits]
    table = Table("Items", *splits, box=None, pad_edge=False)
    kinds = {kind for of_split in found.splits.values() for kind in of_split}
    for kind in sorted(kinds, key=lambda one: (one in (NORMAL, CONTROL), one)):
        table.add_row(kind, *(str(found.splits[split].get(kind, 0)) for split in splits))
    if kinds:
        show(table)
    say(
        f"{found.job} {found.status}: {found.made} made, {found.reused} reused, "
        f"{found.below_quality} below quality, {found.failed} failed, {found.canceled} canceled, "
        f"{len(found.left_out)} normal images left out"
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
    more = max(0, len(found.left_out) - _TOLD) + max(0, len(found.errors) - _TOLD)
    if more:
        tell(f"and {more} more; --json tells all")


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
