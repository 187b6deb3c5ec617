"""A trial: detectors that learn from samples, without synthetic pairs and with them, asked about a hold-out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from models.adapters import Adapter
from models.backbone import Backbone
from models.evaluation.comparison import Comparison
from models.evaluation.images import ImageOutcomes
from models.evaluation.trace import Trace
from models.references import References
from models.samples import Exemplar, Sample

Phase = Literal["preparing", "drawing", "training", "asking", "done"]


class TrialError(ValueError):
    """A trial cannot be made; the message says why, and what would help."""


@dataclass(frozen=True)
class Learned:
    """What a type has learned, and the samples that it has learned it from."""

    adapter: Adapter
    exemplars: Sequence[Exemplar]
    references: References | None
    samples: Sequence[Sample]


@dataclass(frozen=True)
class Held:
    """A photo of the hold-out; ``type`` is what it shows, None of a good part."""

    sample: Sample
    type: str | None


@dataclass(frozen=True)
class Plan:
    """How large a trial is; ``metric`` is a key of `metrics.IMAGE_METRICS`."""

    count: int
    controls: int
    detectors: int
    steps: int
    seed: int
    metric: str


@dataclass(frozen=True)
class Progress:
    """How far a trial is: ``step`` of all phases together, 0 to ``steps``."""

    phase: Phase
    step: int
    steps: int


@dataclass(frozen=True)
class Outcome:
    """What a trial found; ``without`` are outcomes of a detector that learned without synthetic pairs."""

    comparison: Comparison
    without: ImageOutcomes
    trace: Trace | None
    detectors: int


class Trial:
    """A trial at work.

    Raises:
        TrialError: it cannot be made.
    """

    def __init__(
        self,
        backbone: Backbone,
        learned: Learned,
        normals: Sequence[Sample],
        hold_out: Sequence[Held],
        plan: Plan,
    ) -> None:
        raise NotImplementedError

    @property
    def progress(self) -> Progress:
        raise NotImplementedError

    def restore(self, checkpoint: bytes) -> None:
        raise NotImplementedError

    def advance(self, seconds: float, on_step: Callable[[int, int], None] | None = None) -> Progress:
        raise NotImplementedError

    def checkpoint(self) -> bytes:
        raise NotImplementedError

    def result(self) -> Outcome:
        raise NotImplementedError
