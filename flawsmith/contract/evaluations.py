"""What synthetic data does to a detector: a verdict, and the figures behind it."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from flawsmith.contract.base import Answer


class EvaluationMetric(StrEnum):
    """What a verdict is given by; all of them ask for scores of whole images."""

    AUROC = "auroc"
    """Area under the ROC: how often a defective image gets a higher score than a good one."""
    ESCAPES_1 = "escapes-1"
    """Share of defective images that pass where 1 % of good ones are rejected."""
    ESCAPES_01 = "escapes-0.1"
    """The same where 0.1 % are."""


EvaluationVerdict = Literal["helps", "do not use", "cannot tell"]


class EvaluationFigure(Answer):
    """One figure of detectors without synthetic data and with it."""

    about: Literal["all", "type", "size"]
    """All defective images; those of a type; those of a third by size."""
    name: str
    """Of the metric where it is about all; else of the type or the size, whose escapes at 1 % it tells."""
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
    """Share of controls that give an alarm where 1 % of good images do."""
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
    """None where no controls were sent."""
    notes: list[str] = Field(default_factory=list)
    """What to keep in mind when reading the figures."""
