"""The plan of a data set as files of its job: rows, one JSON a line, some hundred in each."""

from __future__ import annotations

from collections.abc import Iterable

from flawsmith.contract.datasets import PlannedItem
from flawsmith.contract.files import plan_file


def plan_files(rows: Iterable[PlannedItem]) -> dict[str, bytes]:
    """The files that hold ``rows``, by name in the folder of the job; each row lies in the file of its index."""
    files: dict[str, list[bytes]] = {}
    for row in rows:
        files.setdefault(plan_file(row.index), []).append(row.model_dump_json().encode() + b"\n")
    return {name: b"".join(lines) for name, lines in files.items()}
