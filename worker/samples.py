"""Samples of a training, out of storage."""

from __future__ import annotations

from typing import Literal

import numpy as np

from flawsmith.contract.files import SAMPLES_FILE
from flawsmith.contract.manifests import TrainingManifest
from flawsmith.contract.trainings import SampleRecord, SamplesManifest
from models.levels import Pixels
from models.samples import Sample
from service.images.decoding import read_canonical
from service.store import keys
from service.store.storage import Storage


def read_listed(storage: Storage, manifest: TrainingManifest) -> SamplesManifest:
    """What the samples of a training are.

    Raises:
        StorageError: it cannot be read.
    """
    key = keys.job_file(manifest.tenant, manifest.job_id, SAMPLES_FILE)
    return SamplesManifest.model_validate_json(storage.get(key))


def read_samples(storage: Storage, manifest: TrainingManifest) -> tuple[list[Sample], list[Sample]]:
    """The samples of a training and its normal images.

    Raises:
        StorageError: they cannot be read.
    """

    def read(kind: Literal["samples", "normals"], number: int, record: SampleRecord) -> Sample:
        def pixels(part: Literal["image", "mask"]) -> Pixels:
            name = keys.sample_file(kind, number, part)
            return read_canonical(storage.get(keys.job_file(manifest.tenant, manifest.job_id, name))).pixels

        image = pixels("image")
        mask = pixels("mask") > 0 if kind == "samples" else np.zeros(image.shape[:2], dtype=np.bool_)
        return Sample(image, mask, record.sha256, record.group)

    listed = read_listed(storage, manifest)
    return (
        [read("samples", number, record) for number, record in enumerate(listed.samples)],
        [read("normals", number, record) for number, record in enumerate(listed.normals)],
    )
