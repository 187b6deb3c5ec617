"""What is drawn on: a normal image with what was sent beside it, whatever the kind of the job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from flawsmith.contract.datasets import DatasetSource
from flawsmith.contract.files import source_file
from flawsmith.contract.manifests import AugmentationManifest
from flawsmith.contract.uploads import ImageInfo
from models.foreground import foreground
from service.images.canonical import CanonicalImage
from service.images.decoding import read_canonical
from service.store import keys
from service.store.storage import Storage
from service.telemetry import traces
from worker.kept import Kept
from worker.patterns import pattern

Mask = NDArray[np.bool_]
_Part: TypeAlias = Literal["image", "mask", "region", "exclude"]
_KEPT = 2
"""Subjects in memory between shards: two shards of a job may be at work."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A normal image, and where defects may appear on it.

    Attributes:
        image: the canonical input, (H, W[, C]).
        info: what the image was when it was sent; its canonical file is a PNG always.
        sent: (H, W) masks that were sent, by defect; no two share a pixel.
        region: (H, W), where masks may be drawn; None is everywhere.
        exclude: (H, W), where they may not; None is nowhere.
    """

    image: CanonicalImage
    info: ImageInfo
    sent: Mapping[int, Mask]
    region: Mask | None = None
    exclude: Mask | None = None

    @cached_property
    def part(self) -> Mask:
        """(H, W), where the part is."""
        return foreground(self.image.pixels)

    @cached_property
    def pattern(self) -> str:
        """What the image looks like, as a perceptual hash."""
        return pattern(self.image.pixels)


class Subjects:
    """What jobs are drawn on; the last ones are kept in memory, for a shard's successor begins with one.

    Any thread may ask. Every method raises StorageError if a file cannot be read.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._kept: Kept[tuple[str, int], Subject] = Kept(_KEPT)

    def of_augmentation(self, manifest: AugmentationManifest) -> Subject:
        """The image of an augmentation, which all its items are drawn on."""
        return self._kept.get((manifest.job_id, 0), lambda: _of_augmentation(self._storage, manifest))

    def of_source(self, tenant: str, job_id: str, source: DatasetSource) -> Subject:
        """A normal image of a data set. A mask that was sent is that of the first defect, within the bounds."""
        return self._kept.get((job_id, source.number), lambda: _of_source(self._storage, tenant, job_id, source))


def _of_augmentation(storage: Storage, manifest: AugmentationManifest) -> Subject:
    with traces.span("material"):
        tenant, job_id, wanted = manifest.tenant, manifest.job_id, manifest.augmentation
        sent = {}
        for number, defect in enumerate(wanted.defects):
            if defect.mask == "sent":
                several = wanted.several
                key = keys.job_defect_mask(tenant, job_id, number) if several else keys.job_mask(tenant, job_id)
                sent[number] = _read_mask(storage, key)
        # Masks that were sent were cut to region and exclude at once.
        bounded = not wanted.masked
        region = keys.job_region(tenant, job_id) if bounded and manifest.region_sha256 is not None else None
        exclude = keys.job_exclude(tenant, job_id) if bounded and manifest.exclude_sha256 is not None else None
        return Subject(
            image=read_canonical(storage.get(keys.job_input(tenant, job_id))),
            info=manifest.image,
            sent=sent,
            region=None if region is None else _read_mask(storage, region),
            exclude=None if exclude is None else _read_mask(storage, exclude),
        )


def _of_source(storage: Storage, tenant: str, job_id: str, source: DatasetSource) -> Subject:
    def read(part: _Part) -> bytes:
        return storage.get(keys.job_file(tenant, job_id, source_file(source.number, part)))

    def mask(part: _Part, sha256: str | None) -> Mask | None:
        return None if sha256 is None else _as_mask(read(part))

    with traces.span("material"):
        sent, region, exclude = (
            mask("mask", source.mask_sha256),
            mask("region", source.region_sha256),
            mask("exclude", source.exclude_sha256),
        )
        if sent is not None and region is not None:
            sent = sent & region
        if sent is not None and exclude is not None:
            sent = sent & ~exclude
        return Subject(
            image=read_canonical(read("image")),
            info=source.image,
            sent={} if sent is None else {0: sent},
            region=region,
            exclude=exclude,
        )


def _read_mask(storage: Storage, key: str) -> Mask:
    return _as_mask(storage.get(key))


def _as_mask(data: bytes) -> Mask:
    return np.asarray(read_canonical(data).pixels > 0)
