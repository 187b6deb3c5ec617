"""Plans of data sets as storage holds them: JSON lines, `PLAN_ROWS` a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from flawsmith.contract.datasets import PlannedItem
from flawsmith.contract.files import PLAN_ROWS, plan_file
from flawsmith.contract.manifests import DatasetManifest
from service.store import keys
from service.store.storage import Storage


class Plans:
    """Every method raises storage errors, `ObjectNotFoundError` where the data set is gone."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def row(self, manifest: DatasetManifest, index: int) -> PlannedItem:
        """The row of an item."""
        return next(iter(self.rows(manifest, [index])))

    def rows(self, manifest: DatasetManifest, indices: Iterable[int]) -> Iterator[PlannedItem]:
        """The rows of items, in the order of ``indices``; neighbours come out of one reading of their file."""
        name, lines = "", list[bytes]()
        for index in indices:
            if plan_file(index) != name:
                name = plan_file(index)
                key = keys.job_file(manifest.tenant, manifest.job_id, name)
                lines = self._storage.get(key).splitlines()
            yield PlannedItem.model_validate_json(lines[index % PLAN_ROWS])
