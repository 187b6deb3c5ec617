"""Plans of data sets: a row an item, some hundred in a file, so that one costs the same however many there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from flawsmith.contract.datasets import PlannedItem
from flawsmith.contract.files import PLAN_ROWS, plan_file


def plan_files(rows: Iterable[PlannedItem]) -> dict[str, bytes]:
    """The files of a plan by name in the folder of its job, for `service.store.jobs.Jobs.accept`.

    Raises:
        ValueError: rows are not in order, from index 0 on.
    """
    return dict(_files(rows))


def write_plan(rows: Iterable[PlannedItem], folder: Path) -> dict[str, Path]:
    """The same in files below ``folder``: no more than some hundred rows are in memory at a time.

    Raises:
        ValueError: rows are not in order, from index 0 on.
        OSError: they cannot be written.
    """
    written = {}
    for name, data in _files(rows):
        path = written[name] = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return written


def _files(rows: Iterable[PlannedItem]) -> Iterator[tuple[str, bytes]]:
    left, first = iter(rows), 0
    while batch := list(islice(left, PLAN_ROWS)):
        for index, row in enumerate(batch, first):
            if row.index != index:
                raise ValueError(f"rows of a plan are in order: {row.index} came where {index} belongs")
        yield plan_file(first), b"".join(row.model_dump_json().encode() + b"\n" for row in batch)
        first += PLAN_ROWS
