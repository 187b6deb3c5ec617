"""A version that was taught here lends its samples: to another one that names it in ``samples_of``, or to the
detectors of an evaluation.

Samples are kept by the job that taught the version, for as long as that job is. Whoever borrows them gets copies,
so that neither job needs what the other has.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from flawsmith.contract import problems
from flawsmith.contract.defect_types import DefectTypeRecord, EarlierVersion
from flawsmith.contract.files import SAMPLES_FILE
from flawsmith.contract.manifests import TrainingManifest
from flawsmith.contract.trainings import ResolvedTraining, SampleRecord, SamplesManifest
from service.defect_types import named
from service.problems import ProblemError
from service.resources import Resources
from service.samples.reading import Uploaded
from service.store import keys
from service.store.keys import SampleKind
from service.store.storage import ObjectNotFoundError, Storage

FIELD = "samples_of"
_REMEDY = "send the samples themselves, as `samples`"

_INHERITED = ("part", "description", "kind")
"""What a training takes from the earlier one unless its request says otherwise."""
_READERS = 8
"""Files that are fetched at once."""


@dataclass(frozen=True)
class _Terms:
    """How a version is refused that keeps no samples."""

    field: str
    remedy: str

    def keeps_none(self, record: DefectTypeRecord, why: str) -> ProblemError:
        detail = f"{record.reference} {why}; {self.remedy}"
        return ProblemError(problems.INVALID_SAMPLES, detail, field=self.field)

    def deleted(self, record: DefectTypeRecord) -> ProblemError:
        why = f"lost its samples with the job that taught it, {record.job_id}, which was deleted"
        return self.keeps_none(record, why)


@dataclass(frozen=True)
class Lender:
    """A version whose samples are here."""

    record: DefectTypeRecord
    training: ResolvedTraining
    """As it was taught."""
    listed: SamplesManifest
    terms: _Terms

    @property
    def reference(self) -> str:
        """``name@version``."""
        return self.record.reference

    @property
    def inherited(self) -> Mapping[str, JsonValue]:
        """Parameters of its training that hold for another one as well."""
        return self.training.model_dump(mode="json", include=set(_INHERITED))

    def as_earlier(self) -> EarlierVersion:
        """What the card of another version says of this one."""
        card = self.record.card
        return EarlierVersion(
            defect_type=self.reference,
            backbone=self.record.backbone,
            scores=card.scores if card else {},
            verdict=card.verdict if card else None,
        )


@dataclass(frozen=True)
class Lent:
    """Its samples and normal images as they were let in, on disk."""

    pairs: list[tuple[Uploaded, Uploaded]]
    normals: list[Uploaded]


def lender(has: Resources, tenant: str, reference: str, field: str = FIELD, remedy: str = _REMEDY) -> Lender:
    """The version that a field of a request names.

    Args:
        field: that names it.
        remedy: what else the client may do if the version keeps no samples.

    Raises:
        ProblemError: there is none, or it keeps no samples; says why, and what to do.
    """
    record, terms = named(has, tenant, reference, field), _Terms(field, remedy)
    if record.tenant != tenant:
        raise terms.keeps_none(record, "comes with Flawsmith and was not taught from samples of yours")
    if record.job_id is None:
        raise terms.keeps_none(record, "was imported, and bundles leave the samples where they were taught from")
    try:
        manifest = has.jobs.manifest(tenant, record.job_id)
        listed = has.storage.get(keys.job_file(tenant, record.job_id, SAMPLES_FILE))
    except ObjectNotFoundError:
        raise terms.deleted(record) from None
    assert isinstance(manifest, TrainingManifest)
    return Lender(record, manifest.training, SamplesManifest.model_validate_json(listed), terms)


def fetch(storage: Storage, source: Lender, folder: Path) -> Lent:
    """Copy the samples into an empty ``folder``.

    Raises:
        ProblemError: they were deleted just now.
        StorageError: they cannot be read.
    """
    record = source.record
    assert record.job_id is not None
    kept_in = keys.job_prefix(record.tenant, record.job_id)

    def copied(kind: SampleKind, number: int, part: Literal["image", "mask"]) -> Path:
        path = folder / f"{kind}-{number}-{part}.png"
        with storage.open(kept_in + keys.sample_file(kind, number, part)) as stored, path.open("wb") as target:
            shutil.copyfileobj(stored, target)
        return path

    def pair(number: int, sample: SampleRecord) -> tuple[Uploaded, Uploaded]:
        mask_info = sample.image.model_copy(update={"lossy": False})
        return (
            Uploaded(copied("samples", number, "image"), sample.image, sample.sha256, sample.source),
            Uploaded(copied("samples", number, "mask"), mask_info, sample.sha256, sample.source),
        )

    def normal(number: int, sample: SampleRecord) -> Uploaded:
        return Uploaded(copied("normals", number, "image"), sample.image, sample.sha256, sample.source)

    listed = source.listed
    with ThreadPoolExecutor(_READERS) as readers:
        pairs = readers.map(pair, count(), listed.samples)
        normals = readers.map(normal, count(), listed.normals)
        try:
            return Lent(list(pairs), list(normals))
        except ObjectNotFoundError:
            raise source.terms.deleted(record) from None
