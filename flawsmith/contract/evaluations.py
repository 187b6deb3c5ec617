"""What synthetic data does to a detector: a verdict, and the figures behind it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, JsonValue, StringConstraints

from flawsmith.contract.augmentations import Metadata, Seed
from flawsmith.contract.base import Answer, Schema
from flawsmith.contract.ids import DefectTypeRef
from flawsmith.contract.samples import SampleReport
from flawsmith.contract.slices import SliceRecord
from flawsmith.contract.trainings import SampleRecord, SamplesManifest


class EvaluationMetric(StrEnum):
    """What a verdict is given by; all but ``pixel-ap`` ask for scores of whole images alone."""

    AUROC = "auroc"
    """Area under the ROC: how often a defective image gets a higher score than a good one."""
    ESCAPES_1 = "escapes-1"
    """Share of defective images that pass where 1 % of good ones are rejected."""
    ESCAPES_01 = "escapes-0.1"
    """The same where 0.1 % are."""
    PIXEL_AP = "pixel-ap"
    """Average precision over pixels, by the masks of the hold-out: how well it is found where a defect lies."""

    @property
    def of_pixels(self) -> bool:
        """Whether it asks for scores of pixels."""
        return self is EvaluationMetric.PIXEL_AP


EvaluationVerdict = Literal["helps", "do not use", "cannot tell"]


class EvaluationFigure(Answer):
    """One figure of detectors without synthetic data and with it."""

    about: Literal["all", "type", "size"]
    """All defective images; those of a type; those of a third by size."""
    name: str
    """Of the metric where it is about all, that of pixels too where scores of them are known; else of the type or
    the size, whose escapes at 1 % it tells."""
    images: int
    """Defective images that it is about."""
    areas: tuple[float, float] | None = None
    """Of the defects of this size, from and to, in the unit they were given in."""
    without: float
    with_synthetic: float
    gain: float
    """By how much it is better with synthetic data, whichever way the metric points; below 0 if it is worse."""
    interval: tuple[float, float]
    """Of the gain, 95 %."""


class EvaluationTrace(Answer):
    """Whether the detectors take the generator's trace for a defect."""

    controls: float
    """How often a control gets a higher score than a good image: false alarms, over all thresholds."""
    originals: float
    """The same of the images that they were drawn on."""
    interval: tuple[float, float]
    """Of the difference, 95 %; above 0 the trace was learned."""
    parts: int
    """Different parts that controls were drawn on."""


class HoldOut(Answer):
    """What the detectors were asked about."""

    good_images: int
    good_parts: int
    defective_images: int
    defective_parts: int


class Evaluation(Answer):
    """What synthetic data does to a detector, by a hold-out of real parts."""

    verdict: EvaluationVerdict
    metric: EvaluationMetric
    gain: float
    """By how much the metric is better with synthetic data; below 0 if it is worse."""
    interval: tuple[float, float]
    """Of the gain, 95 %, paired over parts."""
    more_parts: int | None = None
    """Defective parts that would settle it, beside those of the hold-out, and good ones in proportion; None if it
    is settled, if too many would be needed, or if good parts alone are too few."""
    reasons: list[str]
    hold_out: HoldOut
    trainings_without: int
    trainings_with: int
    """Detectors of each kind; figures are means over them."""
    figures: list[EvaluationFigure]
    trace: EvaluationTrace | None = None
    """None where there are no controls."""
    notes: list[str] = Field(default_factory=list)
    """What to keep in mind when reading the figures."""


PartPattern = Annotated[str, StringConstraints(max_length=200, pattern=r"^(\*?[^*{}])*\{part\}([^*{}]\*?)*$")]
"""``{part}`` once, and ``*`` where it pleases, with a text between any two of them."""


EvaluationPhase = Literal["preparing", "drawing", "training", "asking", "done"]


class EvaluationParameters(Schema):
    """Everything in a request to evaluate but the hold-out."""

    defect_type: DefectTypeRef
    """Whose synthetic data is judged: a version that was taught here, ``name@version`` or the newest of a name."""
    count: Annotated[int, Field(ge=1, le=1000)] = 100
    """Synthetic images that detectors learn from beside the type's samples."""
    controls: Annotated[int, Field(ge=0, le=500)] = 40
    """Good images of the hold-out that are drawn anew without a defect, to see whether detectors take the
    generator's trace for one; 0 leaves that open."""
    detectors: Annotated[int, Field(ge=1, le=10)] = 3
    """Detectors of each kind, without synthetic data and with it; figures are means over them."""
    steps: Annotated[int, Field(ge=10, le=10_000)] = 300
    """Optimiser steps of each detector."""
    metric: EvaluationMetric = EvaluationMetric.AUROC
    """What the verdict goes by."""
    parts: PartPattern | None = None
    """How names of the hold-out's photos, without their endings, say which part they show: ``{part}`` stands for
    what it is called, as short as it can be, and ``*`` for anything, as in ``{part}_cam*`` or, where a part has a
    folder, ``{part}/*``. Photos of one part are drawn together; each shows a part of its own if absent."""
    seed: Seed | None = None
    """Drawn by the service and returned if absent."""
    metadata: Metadata = Field(default_factory=dict)
    """Yours, kept to the end; at most 64 keys and 16 KiB as JSON."""
    dry_run: bool = False
    """Check the hold-out, answer what was found in it, and queue nothing."""


class ResolvedEvaluation(Schema):
    """An evaluation with every default of the service filled in, whoever asks again."""

    defect_type: str
    """``name@version``."""
    count: int
    controls: int
    detectors: int
    steps: int
    metric: EvaluationMetric
    parts: str | None = None
    seed: int
    samples: int
    """Pairs that the type was taught from, and the detectors learn from."""
    normals: int
    defective: int
    """Images of the hold-out that show a defect."""
    good: int
    metadata: dict[str, JsonValue] = Field(default_factory=dict)


class EvaluationState(Answer):
    """How far an evaluation is."""

    phase: EvaluationPhase = "preparing"
    step: int = 0
    """Of all phases together, 0 to ``steps``."""
    steps: int = 0
    """0 until it is known."""
    result: Evaluation | None = None
    """What it found, once it has."""


class EvaluationPlan(Answer):
    """Answer to a dry run: what the hold-out is, and what would be done."""

    request: dict[str, JsonValue]
    report: SampleReport
    """What was found in the hold-out; without what the type was taught from."""
    defective_parts: int
    """Different parts that its defective photos show."""
    good_parts: int
    warnings: list[str]


class HeldRecord(SampleRecord):
    """One defective image of a hold-out as it lies in storage."""

    label: str | None = None
    """Which class of defect it shows, where the annotations say so."""


class HoldOutManifest(SamplesManifest):
    """``samples.json`` of an evaluation: samples and normal images of the type, and the hold-out."""

    held: list[HeldRecord]
    held_normals: list[SampleRecord]


class EvaluationRecord(SliceRecord):
    """``evaluation.json``: how far an evaluation is for good, and from where it goes on."""

    state: EvaluationState
