"""A trial that trains nothing, step by step, so that what keeps and resumes it can be looked at.

What it finds says a digest of all its steps: a step that is lost, or done twice, gives another one.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from flawsmith.contract.evaluations import EvaluationPhase, ResolvedEvaluation
from models.backbone import Backbone
from models.evaluation.comparison import Comparison, compared
from models.evaluation.contest import Held
from models.evaluation.images import ImageOutcomes
from models.evaluation.trace import Trace, trace
from models.evaluation.trial import Learned
from models.samples import Sample
from worker.evaluations import Trial, UnjudgeableError
from worker.judgement import METRICS

STEPS = 12
PARTS = 8
"""Of either kind, as often as it takes to reach a verdict."""


@dataclass(frozen=True)
class FakeProgress:
    phase: EvaluationPhase
    step: int
    steps: int


@dataclass(frozen=True)
class FakeOutcome:
    comparison: Comparison
    without: Sequence[ImageOutcomes]
    with_them: Sequence[ImageOutcomes]
    trace: Trace | None


@dataclass
class FakeTrial:
    """Stands for `models.evaluation.trial.Trial`."""

    wanted: ResolvedEvaluation
    learned: Learned
    normals: Sequence[Sample]
    hold_out: Sequence[Held]
    steps: int = STEPS
    step_s: float = 0.0
    before_step: Callable[[int], None] = lambda step: None
    step: int = 0
    digest: str = ""

    def __post_init__(self) -> None:
        photos = [sample.sha256 for sample in (*self.learned.samples, *self.normals)]
        held = [[one.sample.sha256, one.type, bool(one.sample.mask.any())] for one in self.hold_out]
        begun = [self.wanted.seed, self.learned.adapter.name, photos, held]
        self.digest = self.digest or hashlib.sha256(json.dumps(begun).encode()).hexdigest()

    @property
    def progress(self) -> FakeProgress:
        phases: tuple[EvaluationPhase, ...] = ("drawing", "training", "asking")
        phase = "done" if self.step == self.steps else phases[3 * self.step // self.steps]
        return FakeProgress(phase, self.step, self.steps)

    def restore(self, checkpoint: bytes) -> None:
        state = json.loads(checkpoint)
        self.step, self.digest = state["step"], state["digest"]

    def advance(self, seconds: float, on_step: Callable[[int, int], None] | None = None) -> FakeProgress:
        end = time.monotonic() + seconds
        while self.step < self.steps:
            self.before_step(self.step)
            time.sleep(self.step_s)
            self.digest = hashlib.sha256(f"{self.digest} {self.step}".encode()).hexdigest()
            self.step += 1
            if on_step is not None:
                on_step(self.step, self.steps)
            if time.monotonic() >= end:
                break
        return self.progress

    def checkpoint(self) -> bytes:
        return json.dumps({"step": self.step, "digest": self.digest}).encode()

    def result(self) -> FakeOutcome:
        """Detectors that guess without synthetic pairs, and know with them; the digest is a note."""
        assert self.step == self.steps
        named = next(one.type for one in self.hold_out if one.type is not None)
        types = (named,) * PARTS + (None,) * PARTS
        guessed = np.tile([0.0, 1.0], PARTS)
        known = np.repeat([1.0, 0.0], PARTS)
        without, with_them = (
            ImageOutcomes(
                image=scores,
                types=types,
                areas=np.repeat([4.0, 0.0], PARTS),
                groups=tuple(map(str, range(2 * PARTS))),
            )
            for scores in (guessed, known)
        )
        found = None
        if self.wanted.controls:
            found = trace([with_them], np.zeros((1, PARTS)), np.zeros((1, PARTS)), list(map(str, range(PARTS))))
        comparison = compared([without], [with_them], METRICS[self.wanted.metric], found)
        detectors = self.wanted.detectors
        noted = replace(comparison, notes=(*comparison.notes, self.digest))
        return FakeOutcome(noted, [without] * detectors, [with_them] * detectors, found)


@dataclass
class Bench:
    """Begins trials as a test wants them; stands for `worker.trial.begin_trial`.

    Attributes:
        begun: how often a trial was begun or restored, by type.
        hold_out: of the last one.
        learned: of the last one.
    """

    steps: int = STEPS
    step_s: float = 0.0
    before_step: Callable[[int], None] = lambda step: None
    begun: dict[str, int] = field(default_factory=dict)
    hold_out: Sequence[Held] = ()
    normals: Sequence[Sample] = ()
    learned: Learned | None = None

    def begin(
        self,
        backbone: Backbone,
        wanted: ResolvedEvaluation,
        learned: Learned,
        normals: Sequence[Sample],
        hold_out: Sequence[Held],
    ) -> Trial:
        if wanted.count == 13:
            raise UnjudgeableError("13 pairs bring bad luck; ask for more")
        self.begun[wanted.defect_type] = self.begun.get(wanted.defect_type, 0) + 1
        self.hold_out, self.normals, self.learned = hold_out, normals, learned
        return FakeTrial(
            wanted, learned, normals, hold_out, self.steps, self.step_s, lambda step: self.before_step(step)
        )
