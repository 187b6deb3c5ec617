"""Requested masks of items: the one that was sent for all of them, or each item's own, drawn."""

from __future__ import annotations

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


class RequestedMasks:
    """The masks of a job's items.

    Raises:
        StorageError: a file cannot be read.
        MaskDistributionError: masks are to be drawn, and the adapter cannot say how.
    """

    def __init__(
        self, storage: Storage, manifest: AugmentationManifest, image: CanonicalImage, adapter: Adapter
    ) -> None:
        tenant, job_id = manifest.tenant, manifest.job_id
        self._seed = manifest.augmentation.seed
        self._sent: NDArray[np.bool_] | None = None
        self._drawn: dict[int, DrawnMask] = {}
        if manifest.augmentation.mask == "sent":
            self._sent = _read(storage, keys.job_mask(tenant, job_id))
            return
        self._distribution = MaskDistribution.from_json(adapter.card.masks)
        self._part = foreground(image.pixels)
        self._region = self._exclude = None
        if manifest.region_sha256 is not None:
            self._region = _read(storage, keys.job_region(tenant, job_id))
        if manifest.exclude_sha256 is not None:
            self._exclude = _read(storage, keys.job_exclude(tenant, job_id))

    def of(self, index: int) -> NDArray[np.bool_]:
        """(H, W): where the item's defect may appear; the same for the same job and index, whoever asks.

        Raises:
            PlacementError: no defect of the type fits where it may lie.
        """
        if self._sent is not None:
            return self._sent
        if index not in self._drawn:
            key = noise_key(self._seed, index, "mask", 0)
            self._drawn[index] = self._distribution.draw(self._part, key, self._region, self._exclude)
        return self._drawn[index].mask

    def drawn(self, index: int) -> DrawnMask | None:
        """What was drawn for the item; None if a mask was sent."""
        return self._drawn.get(index)


def _read(storage: Storage, key: str) -> NDArray[np.bool_]:
    return np.asarray(read_canonical(storage.get(key)).pixels > 0)
