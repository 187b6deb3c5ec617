"""Rows of ``manifest.jsonl``: what was planned, joined with what came of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, TypeVar

from flawsmith.contract.datasets import PlannedItem
from flawsmith.contract.jobs import Item, ItemStatus
from flawsmith.contract.manifests import DatasetManifest
from flawsmith.contract.rows import DatasetRow, ItemView
from flawsmith.contract.specs import DatasetFormat
from service.exports.names import image_file, safe
from service.store import keys
from service.store.plans import Plans
from service.store.storage import ObjectNotFoundError, Storage

_READERS = 8
_AHEAD = 4 * _READERS

RowStatus: TypeAlias = Literal["pending", "succeeded", "failed", "canceled"]
Taken = TypeVar("Taken")
Read = TypeVar("Read")


@dataclass(frozen=True)
class Outcome:
    """An item of a data set: what was planned, and what came of it."""

    planned: PlannedItem
    item: Item | None
    """None of one without an outcome."""
    view: ItemView | None = None
    """How it is exported, if it is and is not exported as it was made."""

    @property
    def exported(self) -> bool:
        """Whether it is part of the exports: it was made, and has the least quality asked for."""
        item = self.item
        return item is not None and item.status is ItemStatus.SUCCEEDED and item.accepted is not False

    @property
    def rejected(self) -> bool:
        """Whether it was made, and is below the least quality asked for."""
        item = self.item
        return item is not None and item.status is ItemStatus.SUCCEEDED and item.accepted is False

    @property
    def types(self) -> list[str]:
        """Names of the types that it shows, one a defect; none of good parts."""
        if self.planned.augmentation is None or self.planned.kind != "defect":
            return []
        return [defect.defect_type for defect in self.planned.augmentation.defects]

    @property
    def suffix(self) -> str:
        """Of its image: that of TIFF where the normal image was one, else that of PNG."""
        return "tif" if self.planned.source.image.source_format == "tiff" else "png"


def outcome(storage: Storage, manifest: DatasetManifest, planned: PlannedItem) -> Outcome:
    """What came of an item.

    Raises:
        ObjectNotFoundError: it is there, and how it is exported is gone.
        StorageError: storage cannot say.
    """
    try:
        data = storage.get(keys.item_record(manifest.tenant, manifest.job_id, planned.index))
    except ObjectNotFoundError:
        return Outcome(planned, None)
    found = Outcome(planned, Item.model_validate_json(data))
    if planned.view is None or not found.exported:
        return found
    view = ItemView.model_validate_json(storage.get(keys.made_record(manifest.tenant, planned.view)))
    return replace(found, view=view)


def outcomes(storage: Storage, manifest: DatasetManifest, indices: Iterable[int]) -> Iterator[Outcome]:
    """What came of items, in the order of ``indices``, however many: a few are read ahead at once.

    Raises:
        StorageError: storage cannot say.
    """
    return ahead(lambda planned: outcome(storage, manifest, planned), Plans(storage).rows(manifest, indices))


def row(
    manifest: DatasetManifest, found: Outcome, formats: Sequence[DatasetFormat], *, final: bool, stem: str = ""
) -> DatasetRow:
    """The row of an item.

    Args:
        formats: of the archive that its image is looked for in.
        final: whether the data set has ended, so that an item without an outcome will have none.
        stem: of its files in the archive; its safe name if empty.
    """
    planned, item = found.planned, found.item
    source, augmentation = planned.source, planned.augmentation
    classes = manifest.dataset.lock.classes
    backbone = _backbone(manifest, planned)
    image = image_file(
        formats,
        category(manifest),
        planned.kind,
        source.split,
        class_names(found.types, classes),
        stem or safe(planned.name),
        found.suffix,
    )
    drawn = augmentation.defects if augmentation is not None and planned.kind == "defect" else []
    made = item if item is not None and item.status is ItemStatus.SUCCEEDED else None
    view = found.view
    shown = view or made
    return DatasetRow(
        index=planned.index,
        name=planned.name,
        kind=planned.kind,
        split=source.split,
        group=source.group,
        status=_status(item, final=final),
        accepted=made.accepted if made else None,
        rejection=made.rejection.detail if made and made.rejection else None,
        entry=planned.entry,
        bin=planned.bin,
        image=image if found.exported else None,
        image_sha256=shown.image_sha256 if shown else None,
        mask_sha256=shown.mask_sha256 if shown else None,
        pixels_sha256=made.pixels_sha256 if made else None,
        crop=view.crop if view else None,
        black_level=view.black_level if view else None,
        white_level=view.white_level if view else None,
        source=source.name,
        source_sha256=source.sha256,
        source_mask_sha256=source.mask_sha256,
        source_region_sha256=source.region_sha256,
        source_exclude_sha256=source.exclude_sha256,
        alignment=source.alignment,
        metadata=source.metadata,
        defect_types=[defect.reference for defect in drawn],
        classes=[classes[name] for name in found.types],
        backbone=backbone,
        backbone_digest=manifest.dataset.lock.backbones.get(backbone) if backbone else None,
        seed=augmentation.seed if augmentation else None,
        request=augmentation.shown() if augmentation else None,
        scores=made.scores.model_dump() if made and made.scores else None,
        measures=made.measures.model_dump(mode="json") if made and made.measures else None,
        drawn=[region.model_dump(mode="json") for region in made.drawn] if made and made.drawn else None,
        fingerprint=made.fingerprint if made else None,
        error=item.error.detail if item is not None and item.error else None,
    )


def class_names(types: Iterable[str], classes: dict[str, int]) -> list[str]:
    """Names of types, each once, in order of their class numbers."""
    return sorted(set(types), key=lambda name: classes[name])


def category(manifest: DatasetManifest) -> str:
    """What MVTec's layout calls the product: ``category`` or ``part`` of the metadata, else ``parts``."""
    metadata = manifest.dataset.metadata
    found = next((metadata[key] for key in ("category", "part") if isinstance(metadata.get(key), str)), "")
    return safe(found) if isinstance(found, str) and found.strip() else "parts"


def _backbone(manifest: DatasetManifest, planned: PlannedItem) -> str | None:
    known = list(manifest.dataset.lock.backbones)
    if planned.augmentation is None:
        return None
    return planned.backbone or (known[0] if len(known) == 1 else None)


def _status(item: Item | None, *, final: bool) -> RowStatus:
    match item.status if item is not None else ItemStatus.PENDING:
        case ItemStatus.SUCCEEDED:
            return "succeeded"
        case ItemStatus.FAILED:
            return "failed"
        case ItemStatus.CANCELED:
            return "canceled"
        case ItemStatus.PENDING:
            return "canceled" if final else "pending"


def ahead(read: Callable[[Taken], Read], values: Iterable[Taken]) -> Iterator[Read]:
    """``read`` of each value in order, some of them at once and ahead of what is asked for."""
    with ThreadPoolExecutor(_READERS) as readers:
        waiting: deque[Future[Read]] = deque()
        for value in values:
            waiting.append(readers.submit(read, value))
            if len(waiting) == _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
