"""What was found about detectors, as the contract says it: of predictions that were sent, and of a trial."""

from __future__ import annotations

from collections.abc import Sequence

from flawsmith.contract.evaluations import (
    Evaluation,
    EvaluationFigure,
    EvaluationMetric,
    EvaluationTrace,
    HoldOut,
)
from models.evaluation.comparison import Comparison
from models.evaluation.images import ImageOutcomes
from models.evaluation.trace import Trace

METRICS = {
    EvaluationMetric.AUROC: "image AUROC",
    EvaluationMetric.ESCAPES_1: "escapes at 1 %",
    EvaluationMetric.ESCAPES_01: "escapes at 0.1 %",
    EvaluationMetric.PIXEL_AP: "pixel AP",
}
"""What `models.evaluation.metrics` calls them."""


def judged(
    found: Comparison,
    metric: EvaluationMetric,
    asked: ImageOutcomes,
    trace: Trace | None,
    *,
    without: int,
    with_them: int,
    notes: Sequence[str] = (),
) -> Evaluation:
    """The evaluation that a comparison is.

    Args:
        metric: that the comparison was made by.
        asked: outcomes of any of the detectors, which tell what the hold-out is.
        trace: of the detectors with synthetic data, if there are controls.
        without, with_them: how many detectors there are of each kind.
        notes: to be said beside those of the comparison.
    """
    return Evaluation(
        verdict=found.verdict.kind,
        metric=metric,
        gain=found.verdict.gain,
        interval=found.verdict.interval,
        more_parts=found.verdict.more,
        reasons=list(found.verdict.reasons),
        hold_out=_hold_out(asked),
        trainings_without=without,
        trainings_with=with_them,
        figures=[
            EvaluationFigure(
                about=row.about,
                name=row.name,
                images=row.images,
                areas=row.areas,
                without=row.without,
                with_synthetic=row.with_them,
                gain=row.gain,
                interval=row.interval,
            )
            for row in found.rows
        ],
        trace=EvaluationTrace(
            controls=trace.controls, originals=trace.originals, interval=trace.interval, parts=trace.groups
        )
        if trace
        else None,
        notes=[*found.notes, *notes],
    )


def _hold_out(of: ImageOutcomes) -> HoldOut:
    parts: dict[bool, set[str]] = {True: set(), False: set()}
    for group, defective in zip(of.groups, of.defective.tolist(), strict=True):
        parts[defective].add(group)
    defective_images = int(of.defective.sum())
    return HoldOut(
        good_images=len(of.types) - defective_images,
        good_parts=len(parts[False]),
        defective_images=defective_images,
        defective_parts=len(parts[True]),
    )
