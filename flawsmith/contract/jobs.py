"""Jobs and their items, as the API shows them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field, JsonValue

from flawsmith.contract.base import Answer
from flawsmith.contract.datasets import DatasetState
from flawsmith.contract.evaluations import EvaluationState
from flawsmith.contract.files import ITEM_PARTS, ItemPart
from flawsmith.contract.looks import ItemLook
from flawsmith.contract.trainings import TrainingState


class JobKind(StrEnum):
    AUGMENTATION = "augmentation"
    DATASET = "dataset"
    TRAINING = "training"
    EVALUATION = "evaluation"


class JobStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_final(self) -> bool:
        return self in (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED)


class ItemStatus(StrEnum):
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


class Progress(Answer):
    """How far a job is. ``step`` is the model's progress in the shard at work, 0–1."""

    done: int = 0
    total: int
    step: float = 0.0


class Counts(Answer):
    """Items by outcome; ``rejected`` are succeeded ones that are not accepted: below ``min_quality``, of another
    size or contrast than asked for, or without a labelled pixel."""

    succeeded: int = 0
    failed: int = 0
    canceled: int = 0
    rejected: int = 0


class Failure(Answer):
    """Why an item or a job failed, and what to do about it."""

    code: str
    detail: str


class RegionMeasures(Answer):
    """One connected region of the refined mask. Lengths in pixels; ``…_um`` when the pixel size is known."""

    area: float
    length: float
    width: float
    contrast: float
    """Mean absolute change in the region as a share of the full range, 0–1."""
    box: tuple[int, int, int, int]
    """x, y, width, height in pixels of the canonical image."""
    defect: int = 0
    """Which defect of the item it is of, by its place among them."""
    area_um2: float | None = None
    length_um: float | None = None
    width_um: float | None = None


class DrawnRegion(Answer):
    """One defect of a mask that was drawn because none was sent."""

    area: int
    """Pixels."""
    box: tuple[int, int, int, int]
    """x, y, width, height in pixels of the canonical image."""
    angle: float
    """Degrees by which the shape of a sample's defect was turned, counter-clockwise."""
    scale: float
    """Its size over that defect's, both relative to their parts."""
    of_sample: int
    """Index of the sample among those that the defect type was taught by."""
    defect: int = 0
    """Which defect of the item it is for, by its place among them."""


class Measures(Answer):
    """What was drawn, measured on the refined mask."""

    regions: list[RegionMeasures]
    soft_edge_px: float
    """Pixels that changed but are not labelled lie within this distance of a labelled one."""
    pixels_per_model_pixel: float
    """The coarsest scale at which a region was drawn; above 1 detail is coarser than the photo's."""


class Scores(Answer):
    """Each 0–1, higher is better; None where it needs what this type does not have."""

    presence: float
    seam: float
    grain: float
    coverage: float
    realism: float | None = None
    novelty: float | None = None
    quality: float
    background_max_abs_diff: int
    """Greatest difference outside the requested mask, in levels of the canonical image: 0."""


class ItemDefect(Answer):
    """One of several defects of an item."""

    index: int
    """Its place in the request's ``defects``."""
    defect_type: str
    """``name@version``."""
    accepted: bool
    attempts: int
    mask_url: str | None = None
    """Its own label."""
    mask_sha256: str
    scores: Scores


class Item(Answer):
    """One synthetic image with its mask."""

    index: int
    status: ItemStatus = ItemStatus.PENDING
    accepted: bool | None = None
    seed: int
    attempts: int = 0
    image_url: str | None = None
    mask_url: str | None = None
    preview_url: str | None = None
    request_url: str | None = None
    """The requested mask of this item; None where one was sent for the whole job and no size is asked for."""
    image_sha256: str | None = None
    mask_sha256: str | None = None
    preview_sha256: str | None = None
    request_sha256: str | None = None
    pixels_sha256: str | None = None
    """Digest of the decoded pixels: shape, dtype, then rows, whatever the file format."""
    scores: Scores | None = None
    measures: Measures | None = None
    drawn: list[DrawnRegion] | None = None
    """What the requested mask consists of, where it was drawn and not cut out of one that was sent."""
    defects: list[ItemDefect] | None = None
    """Its several defects; each score of the item is the least that one of them has. None where it has one."""
    rejection: Failure | None = None
    """Why it is not accepted: below quality, another size or contrast than was asked for, or nothing to be seen
    that could be labelled; None where it is."""
    fingerprint: str | None = None
    """Execution fingerprint: same inputs and same fingerprint, same pixels."""
    made: str | None = None
    """Of an item of a data set: digest of all that shapes it, under which its files are kept."""
    reused: bool | None = None
    """Of an item of a data set: whether it was there already, from this or an earlier build."""
    look: ItemLook | None = None
    """Of an item of a data set: what its report says of how it looks."""
    error: Failure | None = None

    @property
    def parts(self) -> tuple[ItemPart, ...]:
        """The files that it has if it succeeded; a normal image of a data set has neither mask nor preview."""
        parts: tuple[ItemPart, ...] = ITEM_PARTS if self.made is None or self.mask_sha256 else ("image",)
        return parts if self.request_sha256 is None else (*parts, "request")


class Job(Answer):
    """The work behind an augmentation, a data set, a training or an evaluation."""

    id: str
    kind: JobKind
    status: JobStatus
    progress: Progress
    counts: Counts = Field(default_factory=Counts)
    warnings: list[str] = Field(default_factory=list)
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: Failure | None = None
    queue_position: int | None = None
    """Pieces of work that come before this job's next one; None unless one waits."""
    eta: datetime | None = None
    """When the job is likely to be final, judged by the pace of late; None if that cannot be told."""
    request: dict[str, JsonValue] = Field(default_factory=dict)
    """The parameters as understood, defaults filled in, the seed drawn."""
    input_sha256: str | None = None
    """Digest of the file at ``/v1/jobs/{id}/input``; None for jobs made before digests were kept."""
    mask_sha256: str | None = None
    """Digest of the file at ``/v1/jobs/{id}/mask``; None too if no mask was sent."""
    dataset: DatasetState | None = None
    """What a data set holds; None for other jobs."""
    training: TrainingState | None = None
    """How far a training is; None for other jobs."""
    evaluation: EvaluationState | None = None
    """How far an evaluation is, and what it found; None for other jobs."""
    items: list[Item] = Field(default_factory=list)
    """What an augmentation makes; other jobs have none."""

    @property
    def defect_types(self) -> list[str]:
        """Names of the types that a job draws; none of a training."""
        return [str(one["defect_type"]) for one in _defects(self.request) if "defect_type" in one]

    @property
    def draws_masks(self) -> bool:
        """Whether a mask of its items is drawn, so that each has a request of its own."""
        return any(one.get("mask") == "drawn" for one in _defects(self.request))


def _defects(request: dict[str, JsonValue]) -> list[dict[str, JsonValue]]:
    """What a request says of each defect: in a list of several, else beside everything else."""
    several = request.get("defects")
    return [one for one in several if isinstance(one, dict)] if isinstance(several, list) else [request]


class JobPage(Answer):
    """Jobs, newest first. In a page ``items`` of a job are left out."""

    jobs: list[Job]
    next_cursor: str | None = None
    """Where the next page begins; null on the last, and on no other, however short."""


class PlannedDefect(Answer):
    """One of several defects that would be drawn."""

    index: int
    defect_type: str
    """``name@version``."""
    mask_pixels: Annotated[int, Field(ge=1)] | None
    """Pixels where it may appear, those of later defects taken out; None if each item gets a mask of its own."""


class AugmentationPlan(Answer):
    """Answer to a dry run: what would be done."""

    request: dict[str, JsonValue]
    warnings: list[str]
    width: int
    height: int
    mode: str
    bit_depth: int
    mask_pixels: Annotated[int, Field(ge=1)] | None
    """Pixels where a defect may appear; None if each item gets a mask of its own."""
    defects: list[PlannedDefect] | None = None
    """Several defects; None where there is one."""
