"""Plans of data sets: a row an item, some hundred in a file, so that one costs the same however many there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from flawsmith.contract.datasets import PlannedItem
from flawsmith.contract.files import PLAN_ROWS, plan_file
from flawsmith.contract.manifests import DatasetManifest
from service.store import keys
from service.store.storage import Storage, StorageError


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


class Plans:
    """Reads rows, and keeps the last file that it read; for one thread at a time.

    Raises storage errors, and `pydantic.ValidationError` for a row that another version wrote.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._read: tuple[str, list[bytes]] = ("", [])

    def row(self, manifest: DatasetManifest, index: int) -> PlannedItem:
        """The row of an item.

        Raises:
            IndexError: there is no such item.
            ObjectNotFoundError: the plan is gone, and with it the job.
            StorageError: the plan is cut off.
        """
        if not 0 <= index < manifest.count:
            raise IndexError(f"{manifest.job_id} has {manifest.count} items; {index} is none of them")
        lines = self._lines(manifest, index)
        place = index % PLAN_ROWS
        if place >= len(lines):
            raise StorageError(f"the plan of {manifest.job_id} ends before item {index}")
        return PlannedItem.model_validate_json(lines[place])

    def rows(self, manifest: DatasetManifest, indices: Iterable[int] | None = None) -> Iterator[PlannedItem]:
        """Rows one by one, of ``indices`` or of all items in order; raises as `row` does."""
        for index in range(manifest.count) if indices is None else indices:
            yield self.row(manifest, index)

    def _lines(self, manifest: DatasetManifest, index: int) -> list[bytes]:
        key = keys.job_file(manifest.tenant, manifest.job_id, plan_file(index))
        if self._read[0] != key:
            self._read = key, self._storage.get(key).splitlines()
        return self._read[1]
