"""Samples of a training or an evaluation, and the hold-out of an evaluation, out of storage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from flawsmith.contract.evaluations import HoldOutManifest
from flawsmith.contract.files import SAMPLES_FILE
from flawsmith.contract.manifests import EvaluationManifest, SlicedManifest, TrainingManifest
from flawsmith.contract.trainings import SampleRecord, SamplesManifest
from models.levels import Pixels
from models.samples import Sample
from service.images.decoding import read_canonical
from service.store import keys
from service.store.keys import SampleKind
from service.store.storage import Storage


def read_listed(storage: Storage, manifest: TrainingManifest) -> SamplesManifest:
    """What the samples of a training are.

    Raises:
        StorageError: it cannot be read.
    """
    return SamplesManifest.model_validate_json(_listed(storage, manifest))


def read_samples(
    storage: Storage, manifest: TrainingManifest | EvaluationManifest, hear: Callable[[], None]
) -> tuple[list[Sample], list[Sample]]:
    """The samples that a type is taught from, or was, and its normal images.

    Args:
        hear: called ahead of each; it stops the reading by raising.

    Raises:
        StorageError: they cannot be read.
    """
    model = SamplesManifest if isinstance(manifest, TrainingManifest) else HoldOutManifest
    listed = model.model_validate_json(_listed(storage, manifest))
    return (
        _read(storage, manifest, "samples", listed.samples, hear),
        _read(storage, manifest, "normals", listed.normals, hear),
    )


def read_hold_out(
    storage: Storage, manifest: EvaluationManifest, hear: Callable[[], None]
) -> list[tuple[Sample, str | None]]:
    """The hold-out of an evaluation: images with their labels.

    A label is empty where nobody said what class the defect is of, and None where the image shows a good part.

    Args:
        hear: called ahead of each; it stops the reading by raising.

    Raises:
        StorageError: it cannot be read.
    """
    listed = HoldOutManifest.model_validate_json(_listed(storage, manifest))
    defective = _read(storage, manifest, "held", listed.held, hear)
    good = _read(storage, manifest, "held-normals", listed.held_normals, hear)
    labels = [*(record.label or "" for record in listed.held), *(None for _ in good)]
    return list(zip([*defective, *good], labels, strict=True))


def _listed(storage: Storage, manifest: SlicedManifest) -> bytes:
    return storage.get(keys.job_file(manifest.tenant, manifest.job_id, SAMPLES_FILE))


def _read(
    storage: Storage,
    manifest: SlicedManifest,
    kind: SampleKind,
    records: Sequence[SampleRecord],
    hear: Callable[[], None],
) -> list[Sample]:
    read = []
    for number, record in enumerate(records):
        hear()
        read.append(_read_one(storage, manifest, kind, number, record))
    return read


def _read_one(
    storage: Storage, manifest: SlicedManifest, kind: SampleKind, number: int, record: SampleRecord
) -> Sample:
    def pixels(part: Literal["image", "mask"]) -> Pixels:
        name = keys.sample_file(kind, number, part)
        return read_canonical(storage.get(keys.job_file(manifest.tenant, manifest.job_id, name))).pixels

    image = pixels("image")
    has_mask = kind in ("samples", "held")
    mask = pixels("mask") > 0 if has_mask else np.zeros(image.shape[:2], dtype=np.bool_)
    return Sample(image, mask, record.sha256, record.group)
