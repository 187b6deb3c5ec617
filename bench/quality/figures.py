"""Figures of arms, ours against the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bench.intervals import of_draws
from bench.quality.table import ours_for
from models.evaluation.breakdown import by_size, by_type
from models.evaluation.images import Array
from models.evaluation.metrics import METRICS, Metric, draws, escapes, once
from models.evaluation.outcomes import Outcomes

_DRAWS = 1000


def figures(found: Mapping[str, Sequence[Outcomes]]) -> dict[str, dict[str, Any]]:
    """By arm and metric the mean over its detectors with its interval, and ours less it, paired, with its own.

    Which arm of ours an arm is compared with is said by `ours_for`.
    """
    first = next(iter(found.values()))[0]
    weights = draws(first, _DRAWS)
    rows: dict[str, dict[str, Any]] = {arm: {} for arm in found}
    for name, metric in metrics(first).items():
        values = {arm: _mean(several, metric, once(first)) for arm, several in found.items()}
        drawn = {arm: _mean(several, metric, weights) for arm, several in found.items()}
        for arm in found:
            ours = ours_for(arm)
            one = {"value": float(values[arm][0]), "interval": of_draws(drawn[arm])}
            if ours in found and ours != arm:
                one["ours less"] = float(values[ours][0] - values[arm][0])
                one["its interval"] = of_draws(drawn[ours] - drawn[arm])
            rows[arm][name] = one
    return rows


def metrics(of: Outcomes) -> dict[str, Metric]:
    """All that is asked of outcomes on these images: escapes by type and by size of the defect, too."""
    found = dict(METRICS)
    for name, among in (*by_type(of).items(), *by_size(of).items()):
        found[f"escapes of {name}"] = escapes(0.01, among)
    return found


def _mean(several: Sequence[Outcomes], metric: Metric, weights: Array) -> Array:
    return np.asarray(np.mean([metric(one, weights) for one in several], axis=0))
