"""``python -m worker.evaluate``: judges someone's own detectors by a file of scores, and prints JSON."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from flawsmith.contract.evaluations import Evaluation, EvaluationMetric
from models.evaluation.comparison import compared
from worker.judgement import METRICS, judged
from worker.predictions import Predictions, read_predictions
from worker.tables import TableError

USAGE = 2


def evaluated(predictions: Predictions, metric: EvaluationMetric) -> Evaluation:
    """Judge by a metric."""
    trace, unread = predictions.trace, predictions.unread
    return judged(
        compared(predictions.without, predictions.with_them, METRICS[metric], trace),
        metric,
        predictions.without[0],
        trace,
        without=len(predictions.without),
        with_them=len(predictions.with_them),
        notes=[f"columns that were not read: {', '.join(unread)}"] if unread else [],
    )


def main(arguments: list[str] | None = None) -> int:
    """Judge and print; 2 if the file cannot be judged."""
    parser = argparse.ArgumentParser(prog="flawsmith evaluate", description="Judge detectors by their scores.")
    parser.add_argument("predictions", type=Path, metavar="FILE")
    parser.add_argument(
        "--metric", choices=[one.value for one in EvaluationMetric if not one.of_pixels], default="auroc"
    )
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
