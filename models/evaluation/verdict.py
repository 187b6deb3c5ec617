"""Is it worth training on? Three answers, from detectors that learned without synthetic pairs and with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from models.evaluation.images import Array, ImageOutcomes
from models.evaluation.metrics import LESS_IS_BETTER, blocks, figure, once

Kind = Literal["helps", "do not use", "cannot tell"]
Interval = tuple[float, float]

_GRAVITY: tuple[Kind, ...] = ("do not use", "cannot tell", "helps")

DRAWS = 2000
_DEVIATIONS = 1.96  # to either side of a mean, within which 95 % lie
_STILL = 1.1  # times the gain: an edge that reaches less far beyond 0 may stand still there
_MOST = 100
"""Times the hold-out's defective parts: where more than that would be needed nobody will ever tell."""
FEWEST = 6
"""Parts of either kind without which nothing is told: five that all changed for the better are chance in one of 16
hold-outs, by the sign test, and the bootstrap would not know."""


@dataclass(frozen=True)
class Fault:
    """Why figures are not to be trusted, whatever they say.

    Attributes:
        kind: the verdict that it leaves; "do not use" where the synthetic pairs are at fault, "cannot tell" where
            the hold-out is.
        reason: in words.
    """

    kind: Kind
    reason: str


@dataclass(frozen=True)
class Verdict:
    """What synthetic pairs do to a detector.

    Attributes:
        metric: that was asked, a key of `metrics.METRICS`.
        gain: by how much it is better with them; below 0 if it is worse.
        interval: of the gain, 95 %, paired over groups of test images.
        more: defective groups (parts) that a hold-out would need beside those it has, and normal ones in
            proportion, if the gain stayed as it is; None if it can tell, if too many, or if normal ones alone are
            too few.
        reasons: in words.
        by_figures: whether there were parts enough to tell, and neither a trace nor a fault that says otherwise.
    """

    kind: Kind
    metric: str
    gain: float
    interval: Interval
    more: int | None
    reasons: tuple[str, ...]
    by_figures: bool


def gain(
    metric: str, without: Sequence[ImageOutcomes], with_them: Sequence[ImageOutcomes], weights: Array
) -> Array:
    """(D,): by how much the mean over detectors is better with synthetic pairs, for weights (D, N)."""
    after, before = (
        np.mean([figure(metric, one, weights) for one in several], axis=0) for several in (with_them, without)
    )
    return improvement(before, after, metric in LESS_IS_BETTER)


def improvement(before: Array, after: Array, less_is_better: bool) -> Array:
    """By how much figures are better; what rounding alone makes of equal ones is 0, and never −0."""
    return np.asarray(np.round(before - after if less_is_better else after - before, 12) + 0.0)


def verdict(
    without: Sequence[ImageOutcomes],
    with_them: Sequence[ImageOutcomes],
    metric: str = "image AUROC",
    trace: Interval | None = None,
    faults: Sequence[Fault] = (),
) -> Verdict:
    """Judge by detectors of several seeds, all asked about the same images in the same order.

    Args:
        without, with_them: outcomes of detectors that learned from real pairs, and from synthetic ones, too.
        metric: a key of `metrics.METRICS` that the outcomes can answer.
        trace: interval of how many more false alarms controls get than the images that they were drawn on: above 0
            a detector has learned the generator's trace in place of the defect.
        faults: the gravest decides, in the order "do not use", "cannot tell".

    Raises:
        KeyError: there is no such metric.
        ValueError: they were asked about different images, or the metric asks for pixels that they did not give.
    """
    first = without[0]
    if any(one.types != first.types or one.groups != first.groups for one in (*without, *with_them)):
        raise ValueError("both detectors must be asked about the same images, in the same order")
    value = float(gain(metric, without, with_them, once(first))[0])
    drawn = np.concatenate([gain(metric, without, with_them, weights) for weights in blocks(first, DRAWS)])
    low, high = (float(edge) for edge in np.nanquantile(drawn, (0.025, 0.975)))
    defective = {group for group, defect in zip(first.groups, first.defective, strict=True) if defect}
    normal = {group for group, defect in zip(first.groups, first.defective, strict=True) if not defect}
    enough = min(len(defective), len(normal)) >= FEWEST
    reasons, more = [], None
    if enough and low > 0:
        kind: Kind = "helps"
        reasons.append(f"{metric} is better by {value:.3f} [{low:.3f}, {high:.3f}]")
    elif enough and high < 0:
        kind = "do not use"
        reasons.append(f"{metric} is worse by {-value:.3f} [{-high:.3f}, {-low:.3f}]")
    else:
        kind = "cannot tell"
        reach = _reach(value, low if value > 0 else high, drawn)
        more, settled = _settling(_more(value, reach, len(defective)), len(defective), len(normal))
        reasons.append(f"{metric} differs by {value:+.3f} [{low:+.3f}, {high:+.3f}]; {settled}")
    if trace is not None and trace[0] > 0:
        said = (
            f"controls get {trace[0]:.3f} to {trace[1]:.3f} more false alarms than the images they were drawn on: "
            "the detector learned the generator's trace"
        )
        faults = [Fault("do not use", said), *faults]
    for fault in sorted(faults, key=lambda one: _GRAVITY.index(one.kind)):
        if _GRAVITY.index(fault.kind) <= _GRAVITY.index(kind):
            kind, more = fault.kind, None
        reasons.append(fault.reason)
    return Verdict(kind, metric, value, (low, high), more, tuple(reasons), enough and not faults)


def _settling(more: int | None, defective: int, normal: int) -> tuple[int | None, str]:
    """How many defective parts are lacking, and what would settle it; `more` as the interval has it."""
    if min(defective, normal) >= FEWEST:
        if more is None:
            return None, "no hold-out would settle it"
        return more, f"about {more} more defective parts, and normal ones in proportion, would settle it"
    lacking = max(more or 0, FEWEST - defective) if defective < FEWEST else None
    needed = {"defective": lacking, "normal": max(0, FEWEST - normal)}
    parts = " and ".join(f"{count} more {name} parts" for name, count in needed.items() if count)
    return lacking, f"at least {parts} are needed"


def _reach(gain: float, edge: float, drawn: Array) -> float:
    """How far the interval reaches from the gain towards 0.

    Where few parts change many draws hold none of them, and the edge stands at 0 until it is almost settled. There
    the spread of draws on that side of the gain counts, too.

    Args:
        edge: of the interval, on that side.
        drawn: (D,) gains.
    """
    reach = abs(gain - edge)
    beyond = drawn[(drawn - gain) * gain < 0] - gain
    if reach > _STILL * abs(gain) or not beyond.size:
        return reach
    return max(reach, _DEVIATIONS * float(np.sqrt(np.mean(beyond**2))))


def _more(gain: float, reach: float, parts: int) -> int | None:
    """How many parts are lacking until 0 is left out, as an interval shrinks with the root of how many there are.

    Args:
        reach: how far the interval reaches from the gain towards 0.
    """
    if abs(gain) * math.sqrt(_MOST) <= reach:
        return None
    return max(1, math.ceil(parts * (reach / abs(gain)) ** 2) - parts)
