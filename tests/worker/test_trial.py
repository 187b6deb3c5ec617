"""What an evaluation asks of the models' trial."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from flawsmith.contract.evaluations import EvaluationMetric
from models.backbone import Backbone
from models.evaluation.metrics import IMAGE_METRICS, PIXEL_METRICS
from models.evaluation.trial import Learned, Plan, TrialError
from tests.worker.tiny_worker import evaluation
from worker import trial as trial_module
from worker.evaluations import UnjudgeableError
from worker.trial import begin_trial

BACKBONE = cast(Backbone, SimpleNamespace())
LEARNED = cast(Learned, SimpleNamespace())


@pytest.mark.parametrize("metric", EvaluationMetric)
def test_a_trial_is_as_large_as_was_asked_for(monkeypatch: pytest.MonkeyPatch, metric: EvaluationMetric) -> None:
    begun: list[Any] = []
    monkeypatch.setattr(trial_module, "_Trial", lambda *given: begun.append(given))
    wanted = evaluation(count=5, controls=0).evaluation.model_copy(update={"metric": metric})

    begin_trial(BACKBONE, wanted, LEARNED, [], [])
    ((backbone, learned, normals, hold_out, plan),) = begun
    assert backbone is BACKBONE
    assert learned is LEARNED
    assert normals == hold_out == []
    assert plan == Plan(count=5, controls=0, detectors=3, steps=10, seed=7, metric=plan.metric)
    assert plan.metric in (PIXEL_METRICS if metric.of_pixels else IMAGE_METRICS)


def test_a_trial_that_cannot_be_made_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object) -> None:
        raise TrialError("there are too few good parts; send six")

    monkeypatch.setattr(trial_module, "_Trial", refuse)
    with pytest.raises(UnjudgeableError, match="send six"):
        begin_trial(BACKBONE, evaluation().evaluation, LEARNED, [], [])


def test_what_turns_out_at_work_is_said_as_what_shows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def advance(*given: object) -> None:
        raise TrialError("nothing was made that could be seen")

    monkeypatch.setattr(trial_module.Trial, "__init__", lambda *given: None)
    monkeypatch.setattr(trial_module.Trial, "advance", advance)
    begun = begin_trial(BACKBONE, evaluation().evaluation, LEARNED, [], [])
    with pytest.raises(UnjudgeableError, match="could be seen"):
        begun.advance(1.0)
