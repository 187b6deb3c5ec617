"""Items of data sets: rows of a plan, drawn unless they were made before, by this data set or another one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from flawsmith.contract.datasets import PlannedItem
from flawsmith.contract.jobs import Item, ItemStatus
from flawsmith.contract.manifests import DatasetManifest
from models.items import ItemResult
from service.images.canonical import pixels_sha256
from service.store import keys
from service.store.plans import Plans
from service.store.storage import Storage
from worker.drawing import Ready
from worker.items import addressed, encoded, media_type, note_look, store_item
from worker.made import MadeItems
from worker.material import Material, Order, Types
from worker.subjects import Mask, Subject, Subjects
from worker.views import Views


class ItemsOfDataset:
    """The items of a data set: each has a row of its own."""

    def __init__(self, manifest: DatasetManifest, storage: Storage, types: Types, subjects: Subjects) -> None:
        self._manifest = manifest
        self._storage = storage
        self._types = types
        self._subjects = subjects
        self._made = MadeItems(storage, manifest.tenant)
        self._views = Views(storage, manifest.tenant, self._made, types)
        self._plans = Plans(storage)
        self._rows: dict[int, PlannedItem] = {}

    def arranged(self, indices: Iterable[int]) -> list[int]:
        """In the order of the plan, which is by source; what is made in another way apart, to fill batches."""
        wanted = list(indices)
        unknown = [index for index in wanted if index not in self._rows]
        if unknown:
            self._rows |= dict(zip(unknown, self._plans.rows(self._manifest, unknown), strict=True))

        def method(index: int) -> str:
            augmentation = self._rows[index].augmentation
            return augmentation.method if augmentation else ""

        return sorted(wanted, key=lambda index: (method(index), index))

    def seed(self, index: int) -> int:
        row = self._rows.get(index)
        return row.augmentation.seed if row and row.augmentation else self._manifest.seed

    def begin(self, index: int) -> Order | Ready:
        row = self._rows[index]
        found = self._made.find(row.made)
        if found is not None:
            self._made.complete(found, _size(row), self._described(row), labelled=row.kind == "defect")
            self._view(row, found)
            return Ready(self._of_job(found, index), reused=True)
        if row.augmentation is None:
            return Ready(self._of_job(self._normal(row), index), reused=False)
        return Material(self._subject(row), row.augmentation, self._types).order(index, of_noise=0)

    def store(self, order: Order, results: Sequence[ItemResult], fingerprint: str) -> Item:
        row = self._rows[order.index]
        if row.kind == "control":
            results = [_unlabelled(result) for result in results]
        tenant, job_id = self._manifest.tenant, self._manifest.job_id
        item = store_item(self._storage, tenant, job_id, order, results, fingerprint, row.made)
        labels = [] if row.kind == "control" else [result.refined_mask for result in results]
        return self._of_job(self._keep(row, item, labels), order.index)

    def _normal(self, row: PlannedItem) -> Item:
        """The normal image, by the encoder by which items leave."""
        subject = self._subject(row)
        image = encoded(subject.image, subject.info, synthetic=False)
        item = Item(
            index=row.index,
            status=ItemStatus.SUCCEEDED,
            accepted=True,
            seed=0,
            image_sha256=hashlib.sha256(image).hexdigest(),
            pixels_sha256=pixels_sha256(subject.image.pixels),
            made=row.made,
        )
        note_look(self._storage, self._manifest.tenant, item, subject, subject.image.pixels, [])
        key = keys.item_image(self._manifest.tenant, self._manifest.job_id, item, subject.info)
        self._storage.put(key, image, media_type(subject.info))
        return self._keep(row, item, [])

    def _keep(self, row: PlannedItem, item: Item, labels: Sequence[Mask]) -> Item:
        """Keep an item whose files are written, and how it is exported; the record that holds."""
        record = self._made.keep(item, labels, _size(row), self._described(row))
        self._view(row, record)
        return record

    def _view(self, row: PlannedItem, record: Item) -> None:
        """Make what is exported in place of an item that is kept, if anything is."""
        if row.view is not None and record.accepted is not False:  # else it is no part of the exports
            subject = partial(self._subject, row)
            self._views.complete(row, record, self._manifest.dataset, subject, self._classes(row))

    def _subject(self, row: PlannedItem) -> Subject:
        """What a row is drawn on."""
        return self._subjects.of_source(self._manifest.tenant, self._manifest.job_id, row.source)

    def _of_job(self, record: Item, index: int) -> Item:
        """An item that was made, in its place in this job."""
        return addressed(record, self._manifest.job_id, index)

    def _classes(self, row: PlannedItem) -> list[int] | None:
        """Numbers of the classes in the row's label image; None if no format has such images."""
        wanted = self._manifest.dataset
        return row.classes(wanted.lock) if "classes" in wanted.formats else None

    def _described(self, row: PlannedItem) -> list[int] | None:
        """The same of the label image beside the item itself, where its view has none."""
        return self._classes(row) if row.view is None else None


def _size(row: PlannedItem) -> tuple[int, int]:
    return row.source.image.height, row.source.image.width


def _unlabelled(result: ItemResult) -> ItemResult:
    """A control, in which nothing is a defect: where it was drawn anew is no part of a label."""
    return replace(result, refined_mask=np.zeros_like(result.refined_mask), regions=())
