"""Samples as files of a job: a folder each, and what they are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from flawsmith.contract.trainings import SampleRecord
from service.samples.reading import AdmittedSample
from service.store import keys
from service.store.keys import SampleKind


def files_of(kind: SampleKind, samples: Iterable[tuple[Path, Path | None]]) -> dict[str, Path]:
    """Canonical images and masks, if they have one, by name in the folder of the job."""
    files = {}
    for number, (image, mask) in enumerate(samples):
        files[keys.sample_file(kind, number, "image")] = image
        if mask is not None:
            files[keys.sample_file(kind, number, "mask")] = mask
    return files


def files_of_set(kind: SampleKind, samples: Iterable[AdmittedSample]) -> dict[str, Path]:
    """The same of samples that were read."""
    return files_of(kind, ((one.image, one.mask) for one in samples))


def recorded(sample: AdmittedSample) -> SampleRecord:
    """What a sample is."""
    return SampleRecord(sha256=sample.sha256, group=sample.group, source=sample.source, image=sample.info)
