"""Manifests in storage: the truth from which everything in Redis can be rebuilt."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, Field, JsonValue, TypeAdapter, model_validator

from flawsmith.contract.base import FormatVersion, Schema, check_format_version
from flawsmith.contract.datasets import DatasetState, ResolvedDataset
from flawsmith.contract.defect_types import EarlierVersion
from flawsmith.contract.evaluations import EvaluationState, ResolvedEvaluation
from flawsmith.contract.ids import JobId
from flawsmith.contract.jobs import Counts, Failure, Item, JobKind, JobStatus
from flawsmith.contract.reports import DatasetVerdict
from flawsmith.contract.resolved import ResolvedAugmentation, ResolvedDefect
from flawsmith.contract.trainings import ResolvedTraining, TrainingState
from flawsmith.contract.uploads import ImageInfo

AUGMENTATION_FORMAT: Final = 2
"""``format_version`` of the manifests of augmentations; in the first there was one defect, and no list of them."""


class IdempotencyRecord(Schema):
    """The promise given with an ``Idempotency-Key``, so that it outlives Redis."""

    key_sha256: str
    payload_sha256: str


class RequestManifest(Schema):
    """Written to storage before the job is queued and before the 202; each kind of job adds what it needs."""

    format_version: FormatVersion
    tenant: str
    job_id: JobId
    kind: JobKind
    created_at: datetime
    idempotency: IdempotencyRecord | None = None
    request_id: str | None = None
    """Of the HTTP request that made the job, for the logs."""
    traceparent: str | None = None
    """W3C trace context of that request, where traces are kept."""
    warnings: list[str] = Field(default_factory=list)
    shard_size: int = Field(ge=1)
    """Items in one RQ job; fixed here so that a retry cuts the same shards."""

    @property
    @abstractmethod
    def count(self) -> int:
        """How many items the job has."""

    @property
    @abstractmethod
    def seed(self) -> int:
        """Of all its items."""

    @property
    def lists_items(self) -> bool:
        """Whether Redis, the result and the API's job hold each item; else storage alone does."""
        return True

    @abstractmethod
    def shown(self) -> dict[str, JsonValue]:
        """The parameters as understood, as the API shows them."""


class AugmentationManifest(RequestManifest):
    """An augmentation; its image and, as far as they were sent, masks, region and exclude lie beside it."""

    format_version: Annotated[int, AfterValidator(partial(check_format_version, newest=AUGMENTATION_FORMAT))]
    kind: Literal[JobKind.AUGMENTATION] = JobKind.AUGMENTATION
    augmentation: ResolvedAugmentation
    image: ImageInfo
    input_sha256: str | None = None
    mask_sha256: str | None = None
    region_sha256: str | None = None
    exclude_sha256: str | None = None
    """Digests of the files beside this manifest. Mask is all masks in one, where they were sent for all defects.
    Region and exclude lie there only where masks are drawn: out of masks that were sent they are cut at once."""

    @model_validator(mode="before")
    @classmethod
    def _of_first_format(cls, values: Any) -> Any:
        """Jobs that were accepted before there were several defects are drawn after, too."""
        if not isinstance(values, dict) or values.get("format_version") != 1:
            return values
        flat = values.get("augmentation")
        if not isinstance(flat, dict):
            return values
        of_defect = {name: value for name, value in flat.items() if name in ResolvedDefect.model_fields}
        shared = {name: value for name, value in flat.items() if name not in of_defect}
        return values | {
            "format_version": AUGMENTATION_FORMAT,
            "augmentation": {"defects": [of_defect], **shared},
        }

    @property
    def count(self) -> int:
        return self.augmentation.count

    @property
    def seed(self) -> int:
        return self.augmentation.seed

    def shown(self) -> dict[str, JsonValue]:
        return self.augmentation.shown()


class SlicedManifest(RequestManifest):
    """A job that takes long; what it is made from lies beside it, listed in ``samples.json``.

    Its only item is what comes of it, which is never shown as one. A slice of it is a run of its only shard, which
    goes back to the end of the queue until the job has an outcome.
    """

    shard_size: int = Field(default=1, ge=1)

    @property
    def count(self) -> int:
        return 1


class TrainingManifest(SlicedManifest):
    """A training, which makes a version of a type out of its samples."""

    kind: Literal[JobKind.TRAINING] = JobKind.TRAINING
    training: ResolvedTraining
    retrained_from: EarlierVersion | None = None
    """Whose samples these are copies of."""

    @property
    def seed(self) -> int:
        return self.training.seed

    def shown(self) -> dict[str, JsonValue]:
        return self.training.model_dump(mode="json")


class EvaluationManifest(SlicedManifest):
    """An evaluation, which tells by a hold-out whether the synthetic data of a type helps."""

    kind: Literal[JobKind.EVALUATION] = JobKind.EVALUATION
    evaluation: ResolvedEvaluation

    @property
    def seed(self) -> int:
        return self.evaluation.seed

    def shown(self) -> dict[str, JsonValue]:
        return self.evaluation.model_dump(mode="json")


class DatasetManifest(RequestManifest):
    """A data set; its normal images lie beside it, and its items, row by row, in ``plan/``."""

    kind: Literal[JobKind.DATASET] = JobKind.DATASET
    dataset: ResolvedDataset
    state: DatasetState
    """What was known of it when it was accepted."""
    verdicts: list[DatasetVerdict] = Field(default_factory=list)
    """Of the evaluations that it names, as they were then."""

    @property
    def count(self) -> int:
        return self.dataset.items

    @property
    def seed(self) -> int:
        return self.dataset.seed

    @property
    def lists_items(self) -> bool:
        return False

    def shown(self) -> dict[str, JsonValue]:
        return self.dataset.shown()


AnyManifest: TypeAlias = "AugmentationManifest | DatasetManifest | TrainingManifest | EvaluationManifest"

_AnyRequest = TypeAdapter[AugmentationManifest | DatasetManifest | TrainingManifest | EvaluationManifest](
    Annotated[
        AugmentationManifest | DatasetManifest | TrainingManifest | EvaluationManifest,
        Field(discriminator="kind"),
    ]
)


def read_request(data: bytes) -> AnyManifest:
    """The request manifest in ``data``, whatever the kind of its job.

    Raises:
        pydantic.ValidationError: it is of an unknown kind or format version, or broken.
    """
    return _AnyRequest.validate_json(data)


class ResultManifest(Schema):
    """Written to storage last and once."""

    format_version: FormatVersion
    tenant: str
    job_id: JobId
    kind: JobKind
    status: JobStatus
    counts: Counts
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime
    error: Failure | None = None
    warnings: list[str] = Field(default_factory=list)
    items: list[Item]
    """None of a job that lists no items."""
    dataset: DatasetState | None = None
    """What a data set came to; None for other jobs."""
    training: TrainingState | None = None
    """How far a training came; None for other jobs."""
    evaluation: EvaluationState | None = None
    """How far an evaluation came, and what it found; None for other jobs."""
