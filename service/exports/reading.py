"""What storage holds of an item that is part of the exports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flawsmith.contract.datasets import PlannedItem
from flawsmith.contract.manifests import DatasetManifest
from flawsmith.contract.rows import DatasetRow, ItemAnnotations
from flawsmith.contract.specs import DatasetFormat
from service.exports.layout import Example
from service.exports.members import Stored
from service.exports.rows import Outcome, class_names, outcome
from service.store import keys
from service.store.storage import ObjectNotFoundError, Storage

_ANNOTATED: frozenset[DatasetFormat] = frozenset({"coco", "yolo"})
_MASKED: frozenset[DatasetFormat] = frozenset({"mvtec", "jsonl"})


@dataclass(frozen=True)
class Files:
    """What formats ask for of an item's files."""

    image: Stored
    mask: Stored | None
    label: Stored | None
    annotations: ItemAnnotations | None


def read(
    storage: Storage, manifest: DatasetManifest, formats: Sequence[DatasetFormat], planned: PlannedItem
) -> tuple[Outcome, Files | None]:
    """What came of an item, and its files if it is part of the exports.

    Raises:
        ObjectNotFoundError: a file is gone.
        StorageError: storage cannot say.
    """
    found = outcome(storage, manifest, planned)
    return found, _files(storage, manifest, formats, found) if found.exported else None


def _files(storage: Storage, manifest: DatasetManifest, formats: Sequence[DatasetFormat], found: Outcome) -> Files:
    item, tenant, job_id = found.item, manifest.tenant, manifest.job_id
    assert item is not None
    item = item.model_copy(update={"made": item.made or found.planned.made})
    assert item.made is not None
    source, view = found.planned.source.image, found.view
    kept = view.view if view else item.made
    sizes = storage.sizes(keys.made_prefix(tenant, kept))

    def stored(key: str) -> Stored:
        if key not in sizes:
            raise ObjectNotFoundError(key)
        return Stored(key, sizes[key])

    def wanted(by: frozenset[DatasetFormat]) -> bool:
        return bool(found.types) and not by.isdisjoint(formats)

    numbers = [manifest.dataset.lock.classes[name] for name in found.types]
    annotations = None
    if wanted(_ANNOTATED):
        annotations = ItemAnnotations.model_validate_json(storage.get(keys.made_annotations(tenant, kept)))
    image = keys.view_image(tenant, view, source) if view else keys.item_image(tenant, job_id, item, source)
    mask = None
    if wanted(_MASKED):
        mask = stored(keys.view_mask(tenant, view) if view else keys.item_mask(tenant, job_id, item))
    return Files(
        image=stored(image),
        mask=mask,
        label=stored(keys.made_classes(tenant, kept, numbers)) if wanted(frozenset({"classes"})) else None,
        annotations=annotations,
    )


def example(manifest: DatasetManifest, found: Outcome, files: Files, row: DatasetRow, stem: str) -> Example:
    """The item as formats are told of it.

    Args:
        stem: of its files in the archive.
    """
    size = found.view or found.planned.source.image
    return Example(
        row=row,
        stem=stem,
        suffix=found.suffix,
        width=size.width,
        height=size.height,
        image=files.image,
        types=found.types,
        shown=class_names(found.types, manifest.dataset.lock.classes),
        mask=files.mask,
        label=files.label,
        annotations=files.annotations,
    )
