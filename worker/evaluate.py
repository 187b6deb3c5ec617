"""``python -m worker.evaluate``: judges someone's own detectors by a file of scores, and prints JSON."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from flawsmith.contract.evaluations import (
    Evaluation,
    EvaluationFigure,
    EvaluationMetric,
    EvaluationTrace,
    HoldOut,
)
from models.evaluation.comparison import compared
from models.evaluation.images import ImageOutcomes
from worker.predictions import Predictions, read_predictions
from worker.tables import TableError

USAGE = 2

_METRICS = {
    EvaluationMetric.AUROC: "image AUROC",
    EvaluationMetric.ESCAPES_1: "escapes at 1 %",
    EvaluationMetric.ESCAPES_01: "escapes at 0.1 %",
}


def evaluated(predictions: Predictions, metric: EvaluationMetric) -> Evaluation:
    """Judge by a metric."""
    found = compared(predictions.without, predictions.with_them, _METRICS[metric], predictions.trace)
    trace = predictions.trace
    notes = list(found.notes)
    if predictions.unread:
        notes.append(f"columns that were not read: {', '.join(predictions.unread)}")
    return Evaluation(
        verdict=found.verdict.kind,
        metric=metric,
        gain=found.verdict.gain,
        interval=found.verdict.interval,
        more_parts=found.verdict.more,
        reasons=list(found.verdict.reasons),
        hold_out=_hold_out(predictions.without[0]),
        trainings_without=len(predictions.without),
        trainings_with=len(predictions.with_them),
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
        notes=notes,
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


def main(arguments: list[str] | None = None) -> int:
    """Judge and print; 2 if the file cannot be judged."""
    parser = argparse.ArgumentParser(prog="flawsmith evaluate", description="Judge detectors by their scores.")
    parser.add_argument("predictions", type=Path, metavar="FILE")
    parser.add_argument("--metric", choices=[one.value for one in EvaluationMetric], default="auroc")
    given = parser.parse_args(arguments)
    try:
        predictions = read_predictions(given.predictions)
    except TableError as error:
        sys.stderr.write(f"Error: {given.predictions.name}: {error}\n")
        return USAGE
    except OSError as error:
        sys.stderr.write(f"Error: {given.predictions} cannot be read: {error.strerror}\n")
        return USAGE
    sys.stdout.write(evaluated(predictions, EvaluationMetric(given.metric)).model_dump_json() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
