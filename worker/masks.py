"""Requested masks of items: those that were sent for all of them, and each item's own, drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flawsmith.contract.manifests import AugmentationManifest
from models.adapters import Adapter
from models.foreground import foreground
from models.noise import noise_key
from models.placement import DrawnMask, MaskDistribution
from service.images.canonical import CanonicalImage
from service.images.decoding import read_canonical
from service.store import keys
from service.store.storage import Storage

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class ItemMasks:
    """Where the defects of one item may appear.

    Attributes:
        masks: (H, W) of each defect; no two share a pixel.
        drawn: those of them that were drawn, by defect.
    """

    masks: tuple[Mask, ...]
    drawn: dict[int, DrawnMask]


class RequestedMasks:
    """The masks of a job's items.

    Args:
        adapters: of the job's defects.

    Raises:
        StorageError: a file cannot be read.
        MaskDistributionError: masks are to be drawn, and an adapter cannot say how.
    """

    def __init__(
        self, storage: Storage, manifest: AugmentationManifest, image: CanonicalImage, adapters: Sequence[Adapter]
    ) -> None:
        tenant, job_id, wanted = manifest.tenant, manifest.job_id, manifest.augmentation
        self._seed = wanted.seed
        self._count = len(wanted.defects)
        self._sent: dict[int, Mask] = {}
        self._distributions: dict[int, MaskDistribution] = {}
        for number, (defect, adapter) in enumerate(zip(wanted.defects, adapters, strict=True)):
            if defect.mask == "drawn":
                self._distributions[number] = MaskDistribution.from_json(adapter.card.masks)
            elif wanted.several:
                self._sent[number] = _read(storage, keys.job_defect_mask(tenant, job_id, number))
            else:
                self._sent[number] = _read(storage, keys.job_mask(tenant, job_id))
        self._region: Mask | None = None
        self._taken = list(self._sent.values())
        if not self._distributions:
            return
        self._part = foreground(image.pixels)
        if manifest.region_sha256 is not None:
            self._region = _read(storage, keys.job_region(tenant, job_id))
        if manifest.exclude_sha256 is not None:
            self._taken.append(_read(storage, keys.job_exclude(tenant, job_id)))

    def of(self, index: int) -> ItemMasks:
        """Where the item's defects may appear; the same for the same job and index, whoever asks.

        Masks that were sent come first, so that those drawn lie beside them.

        Raises:
            PlacementError: no defect of a type fits where it may lie.
        """
        masks, drawn, taken = dict(self._sent), {}, list(self._taken)
        for number, distribution in self._distributions.items():
            key = noise_key(self._seed, index, "mask", 0, number)
            exclude = np.logical_or.reduce(taken) if taken else None
            drawn[number] = distribution.draw(self._part, key, self._region, exclude)
            masks[number] = drawn[number].mask
            taken.append(masks[number])
        return ItemMasks(tuple(masks[number] for number in range(self._count)), drawn)


def _read(storage: Storage, key: str) -> Mask:
    return np.asarray(read_canonical(storage.get(key)).pixels > 0)
