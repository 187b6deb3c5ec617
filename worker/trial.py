"""From an evaluation as it was asked for to a trial of the models."""

from __future__ import annotations

from collections.abc import Sequence

from flawsmith.contract.evaluations import ResolvedEvaluation
from models.backbone import Backbone
from models.evaluation.contest import Held
from models.evaluation.trial import Learned, OnStep, Plan, Progress, Trial, TrialError
from models.samples import Sample
from worker.evaluations import UnjudgeableError
from worker.judgement import METRICS


class _Trial(Trial):
    """Says what is wrong in the worker's own words, at whatever time it shows."""

    def advance(self, seconds: float, on_step: OnStep | None = None) -> Progress:
        try:
            return super().advance(seconds, on_step)
        except TrialError as error:
            raise UnjudgeableError(str(error)) from error


def begin_trial(
    backbone: Backbone,
    wanted: ResolvedEvaluation,
    learned: Learned,
    normals: Sequence[Sample],
    hold_out: Sequence[Held],
) -> Trial:
    """Begin the trial of an evaluation.

    Raises:
        UnjudgeableError: it cannot be made.
    """
    plan = Plan(
        count=wanted.count,
        controls=wanted.controls,
        detectors=wanted.detectors,
        steps=wanted.steps,
        seed=wanted.seed,
        metric=METRICS[wanted.metric],
    )
    try:
        return _Trial(backbone, learned, normals, hold_out, plan)
    except TrialError as error:
        raise UnjudgeableError(str(error)) from error
