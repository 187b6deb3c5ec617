"""`POST /v1/defect-types`: samples of a defect → a version of a defect type, learned by a training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from flawsmith.contract.augmentations import Metadata, Seed
from flawsmith.contract.base import Answer, FormatVersion, Schema
from flawsmith.contract.defect_types import AnomalyKind, Verdict
from flawsmith.contract.ids import DefectTypeName, DefectTypeRef, JobId, UploadId
from flawsmith.contract.samples import SampleReport
from flawsmith.contract.slices import SliceRecord
from flawsmith.contract.uploads import ImageInfo

MAX_PAIRS = 500
"""Pairs, and normal images, that a request may name by their upload ids."""

TrainingPhase = Literal["preparing", "learning", "searching", "judging", "done"]


class TrainingParameters(Schema):
    """Everything in a training request but samples that are sent."""

    name: DefectTypeName
    """What the defect type is called; if there is one of that name, a new version of it is made."""
    samples_of: DefectTypeRef | None = None
    """Instead of samples: a version that was taught here, ``name@version`` or the newest of a name. Its samples
    and normal images teach another one; part and description are as they were there unless they are given."""
    part: Annotated[str, Field(min_length=1, max_length=200)] = "part"
    """Text of C2: what the part is, without a word on the defect."""
    description: Annotated[str, Field(max_length=500)] = ""
    """For people who choose a type."""
    label: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Which class of a ZIP is taught, where its annotations know several; all of them as one if absent."""
    kind: AnomalyKind = "structural"
    """``logical`` where every part looks fine, but their arrangement is wrong: one is missing, or swapped."""
    backbone: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """What it is trained on and will run on; the worker's own if absent."""
    steps: Annotated[int, Field(ge=10, le=20_000)] | None = None
    """Optimiser steps; as the method chooses if absent."""
    rank: Annotated[int, Field(ge=1, le=128)] | None = None
    """Of the low-rank weights; as the method chooses if absent."""
    seed: Seed | None = None
    """Drawn by the service and returned if absent."""
    metadata: Metadata = Field(default_factory=dict)
    """Yours, kept to the end; at most 64 keys and 16 KiB as JSON."""
    dry_run: bool = False
    """Check the samples, answer what was found in them, and queue nothing."""


class SamplePair(Schema):
    """One photo with the mask of its defect."""

    image: UploadId
    """The photo: an id that ``POST /v1/uploads`` answered."""
    mask: UploadId
    """Its defect: an upload of the same size."""


class TrainingRequest(TrainingParameters):
    """JSON form: samples are uploads made before, or those of another version."""

    samples: Annotated[list[SamplePair], Field(min_length=1, max_length=MAX_PAIRS)] | None = None
    """Photos of the defect, each with its mask; needed unless ``samples_of`` is given."""
    normals: Annotated[list[UploadId], Field(max_length=MAX_PAIRS)] = Field(default_factory=list)
    """Photos of good parts; they help the model to leave backgrounds alone."""


class ResolvedTraining(Schema):
    """A training with every default of the service filled in, whoever asks again."""

    name: DefectTypeName
    samples_of: str | None = None
    """``name@version`` whose samples these are; None where they were sent."""
    part: str
    description: str = ""
    kind: AnomalyKind = "structural"
    backbone: str | None = None
    """None is that of the worker that begins."""
    steps: int | None = None
    """None, here and below, is what the method chooses; the card says what that was."""
    rank: int | None = None
    seed: int
    samples: int
    """How many pairs it learns from."""
    normals: int
    metadata: dict[str, JsonValue] = Field(default_factory=dict)


class TrainingState(Answer):
    """How far a training is."""

    phase: TrainingPhase = "preparing"
    step: int = 0
    """Of all phases together, 0 to ``steps``."""
    steps: int = 0
    """0 until it is known."""
    losses: dict[str, float] = Field(default_factory=dict)
    """The terms of the loss of late: ``defect``, ``background``; empty before the first step."""
    defect_type: str | None = None
    """``name@version``, once the version is there."""
    sheet_url: str | None = None
    """A picture of what is drawn so far; it changes while the training goes on."""
    sheet_sha256: str | None = None
    verdict: Verdict | None = None
    """What the version says of itself; None until it is there."""


class TrainingPlan(Answer):
    """Answer to a dry run: what the samples are, and what would be done."""

    request: dict[str, JsonValue]
    report: SampleReport
    """What was found in the samples."""
    warnings: list[str]


class SampleRecord(Schema):
    """One sample of a training as it lies in storage."""

    sha256: str
    """Of the image as it was sent."""
    group: str
    """Samples of one group show one part."""
    source: str
    """What it was called in the set."""
    image: ImageInfo


class SamplesManifest(Schema):
    """``samples.json`` of a training: what its samples are, in the order of their folders."""

    format_version: FormatVersion
    samples: list[SampleRecord]
    normals: list[SampleRecord]


class TrainingRecord(SliceRecord):
    """``training.json``: how far a training is for good, and from where it goes on."""

    state: TrainingState


class VersionClaim(Schema):
    """A version's number, given to one training or import before anything of the version is there.

    It is never given to another one.
    """

    format_version: FormatVersion
    name: DefectTypeName
    version: int = Field(ge=1)
    job_id: JobId | None = None
    """The training that makes it; None for one that is imported."""
    content_sha256: str | None = None
    """Of the record of one that is imported."""
