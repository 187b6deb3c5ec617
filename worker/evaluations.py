"""Evaluations: slices that end with a verdict on the synthetic data of a defect type."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from flawsmith.contract.base import now
from flawsmith.contract.evaluations import (
    EvaluationPhase,
    EvaluationRecord,
    EvaluationState,
    ResolvedEvaluation,
)
from flawsmith.contract.ids import split_defect_type
from flawsmith.contract.jobs import Item
from flawsmith.contract.manifests import EvaluationManifest
from flawsmith.contract.slices import SliceRecord
from models.backbone import Backbone
from models.evaluation.comparison import Comparison
from models.evaluation.contest import Held
from models.evaluation.images import ImageOutcomes
from models.evaluation.trace import Trace
from models.evaluation.trial import Learned
from models.samples import Sample
from service.store.jobs import Jobs
from service.store.registry import Registry
from service.store.storage import Storage
from worker.judgement import judged
from worker.models import Models
from worker.samples import read_hold_out, read_samples
from worker.slices import Live, Memory, Slices, Turn, UnfitError, succeeded

_log = logging.getLogger(__name__)


class Progress(Protocol):
    """How far an evaluation is."""

    @property
    def phase(self) -> EvaluationPhase: ...
    @property
    def step(self) -> int: ...
    @property
    def steps(self) -> int: ...


class Outcome(Protocol):
    """What came of a trial."""

    @property
    def comparison(self) -> Comparison: ...
    @property
    def without(self) -> Sequence[ImageOutcomes]: ...
    @property
    def with_them(self) -> Sequence[ImageOutcomes]: ...
    @property
    def trace(self) -> Trace | None: ...


class Trial(Protocol):
    """An evaluation at work, as `models.evaluation.trial` has it."""

    @property
    def progress(self) -> Progress: ...
    def restore(self, checkpoint: bytes) -> None: ...
    def advance(self, seconds: float, on_step: Callable[[int, int], None] | None = None) -> Progress: ...
    def checkpoint(self) -> bytes: ...
    def result(self) -> Outcome: ...


class UnjudgeableError(UnfitError):
    """No verdict can be given; the message says why, and what would help."""


BeginTrial = Callable[[Backbone, ResolvedEvaluation, Learned, Sequence[Sample], Sequence[Held]], Trial]
"""Begins a trial with what a type has learned, normal images and a hold-out; raises `UnjudgeableError`."""


class Evaluations(Slices[EvaluationManifest, Trial, EvaluationRecord]):
    """Works on evaluations, one slice at a time.

    Args:
        begin: begins a trial.
        slice_s: how long a slice takes, about.
        memory: shared with other jobs that take long.
    """

    unfit = "cannot-be-evaluated"

    def __init__(
        self,
        jobs: Jobs,
        storage: Storage,
        models: Models,
        begin: BeginTrial,
        slice_s: float,
        memory: Memory | None = None,
    ) -> None:
        super().__init__(jobs, storage, slice_s, memory)
        self._registry = Registry(storage)
        self._models = models
        self._begin_trial = begin

    def _kept(self, manifest: EvaluationManifest) -> EvaluationRecord | None:
        return self._jobs.evaluation(manifest.tenant, manifest.job_id)

    def _ended(self, turn: Turn[EvaluationManifest], kept: EvaluationRecord | None) -> Item | None:
        return succeeded(turn.manifest) if kept is not None and kept.state.result is not None else None

    def _material(
        self, turn: Turn[EvaluationManifest], kept: EvaluationRecord | None
    ) -> tuple[Backbone, Callable[[], Trial]]:
        manifest, hear = turn.manifest, turn.steps.hear
        wanted = manifest.evaluation
        name, version = split_defect_type(wanted.defect_type)
        record = self._registry.get(manifest.tenant, name, version)
        if record is None:
            raise UnjudgeableError(f"{wanted.defect_type} was deleted; teach it again, and evaluate that version")
        backbone = self._models.backbone(record.backbone)
        samples, normals = read_samples(self._storage, manifest, hear)
        learned = Learned(
            self._models.adapter(record), self._models.exemplars(record), self._models.references(record), samples
        )
        hold_out = [
            Held(sample, None if label is None else label or name)
            for sample, label in read_hold_out(self._storage, manifest, hear)
        ]
        return backbone, lambda: self._begin_trial(backbone, wanted, learned, normals, hold_out)

    def _shown(self, work: Trial, kept: EvaluationRecord | None) -> EvaluationState:
        progress = work.progress
        return EvaluationState(phase=progress.phase, step=progress.step, steps=progress.steps)

    def _recorded(
        self, manifest: EvaluationManifest, work: Trial, kept: EvaluationRecord | None, head: SliceRecord
    ) -> EvaluationRecord:
        return EvaluationRecord.model_validate({**head.model_dump(), "state": self._shown(work, kept)})

    def _finish(self, turn: Turn[EvaluationManifest], live: Live[Trial], kept: EvaluationRecord) -> Item:
        manifest, outcome = turn.manifest, live.work.result()
        found = judged(
            outcome.comparison,
            manifest.evaluation.metric,
            outcome.without[0],
            outcome.trace,
            without=len(outcome.without),
            with_them=len(outcome.with_them),
        )
        turn.check_held()
        state = kept.state.model_copy(update={"step": kept.state.steps, "result": found})
        ended = kept.model_copy(update={"state": state, "holder": None, "kept_at": now()})
        self._jobs.keep(manifest.tenant, manifest.job_id, ended)
        _log.info("%s: %s by %s", manifest.job_id, manifest.evaluation.defect_type, found.verdict)
        return succeeded(manifest)
