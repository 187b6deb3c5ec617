"""From an evaluation as it was asked for to a trial of the models."""

from __future__ import annotations

from collections.abc import Sequence

from flawsmith.contract.evaluations import ResolvedEvaluation
from models.backbone import Backbone
from models.evaluation.trial import Held, Learned, Plan, Trial, TrialError
from models.samples import Sample
from worker.evaluations import UnjudgeableError
from worker.judgement import METRICS


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
        return Trial(backbone, learned, normals, hold_out, plan)
    except TrialError as error:
        raise UnjudgeableError(str(error)) from error
