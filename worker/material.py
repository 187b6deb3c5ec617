"""What the items of a job have in common: the image, and of each defect its type and what that has learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flawsmith.contract.defect_types import DefectTypeRecord
from flawsmith.contract.manifests import AugmentationManifest
from flawsmith.contract.resolved import ResolvedDefect
from models.adapters import Adapter
from models.items import ItemRequest
from models.references import References
from models.samples import Exemplar
from service.images.canonical import CanonicalImage
from service.images.decoding import read_canonical
from service.store import keys
from service.store.registry import Registry
from service.store.storage import Storage
from worker.masks import ItemMasks, RequestedMasks
from worker.models import ModelMissingError, Models


@dataclass(frozen=True)
class Order:
    """One item to be made: what to ask the models for each of its defects."""

    index: int
    requests: list[ItemRequest]
    masks: ItemMasks


@dataclass(frozen=True)
class _Learned:
    """A defect of the job with what its type has learned."""

    wanted: ResolvedDefect
    adapter: Adapter
    exemplars: Sequence[Exemplar]
    references: References | None


class Material:
    """What the items of a job are made from.

    Attributes:
        backbone: name of the one that all its types are on.
        image: the canonical input.

    Raises:
        ModelMissingError: a type, or something of it, is not there any more.
        BackboneError, AdapterError, MaskDistributionError: what is there cannot be used.
        StorageError: a file cannot be read.
    """

    def __init__(
        self, manifest: AugmentationManifest, storage: Storage, registry: Registry, models: Models
    ) -> None:
        self.manifest = manifest
        records = [_record(registry, defect) for defect in manifest.augmentation.defects]
        self.backbone = records[0].backbone
        self._defects = [
            _Learned(defect, models.adapter(record), models.exemplars(record), models.references(record))
            for defect, record in zip(manifest.augmentation.defects, records, strict=True)
        ]
        self.image: CanonicalImage = read_canonical(storage.get(keys.job_input(manifest.tenant, manifest.job_id)))
        self._masks = RequestedMasks(storage, manifest, self.image, [each.adapter for each in self._defects])

    def order(self, index: int) -> Order:
        """What to ask the models for one item.

        Raises:
            PlacementError: no mask can be drawn for it.
        """
        masks = self._masks.of(index)
        requests = [self._request(index, number, masks) for number in range(len(self._defects))]
        return Order(index, requests, masks)

    def _request(self, index: int, number: int, masks: ItemMasks) -> ItemRequest:
        shared, learned = self.manifest.augmentation, self._defects[number]
        wanted = learned.wanted
        return ItemRequest(
            image=self.image.pixels,
            mask=masks.masks[number],
            adapter=learned.adapter,
            part=wanted.part,
            severity=wanted.severity,
            guidance=wanted.guidance,
            seed_share=wanted.seed_share,
            steps=wanted.steps,
            seed=shared.seed,
            index=index,
            defect=number,
            control=shared.control,
            min_quality=wanted.min_quality,
            black_level=shared.black_level,
            white_level=shared.white_level,
            exemplars=learned.exemplars,
            references=learned.references,
        )


def _record(registry: Registry, defect: ResolvedDefect) -> DefectTypeRecord:
    record = registry.get(defect.defect_type_tenant, defect.defect_type, defect.defect_type_version)
    if record is None:
        raise ModelMissingError(f"defect type {defect.reference} is not in the registry any more")
    return record
