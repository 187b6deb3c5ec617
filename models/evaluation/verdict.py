"""Is it worth training on? Three answers, from detectors that learned without synthetic pairs and with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from models.evaluation.metrics import METRICS, draws, once
from models.evaluation.outcomes import Array, Outcomes

Kind = Literal["helps", "do not use", "cannot tell"]
Interval = tuple[float, float]

_DRAWS = 2000
_LESS_IS_BETTER = ("escapes at 1 %", "escapes at 0.1 %")
_MOST = 100
"""Times the hold-out's defective parts: where more than that would be needed nobody will ever tell."""


@dataclass(frozen=True)
class Verdict:
    """What synthetic pairs do to a detector.

    Attributes:
        metric: that was asked, a key of `metrics.METRICS`.
        gain: by how much it is better with them; below 0 if it is worse.
        interval: of the gain, 95 %, paired over groups of test images.
        more: defective groups (parts) that a hold-out would need beside those it has, if the gain stayed as it is;
            None if it can tell, or if too many.
        reasons: in words.
    """

    kind: Kind
    metric: str
    gain: float
    interval: Interval
    more: int | None
    reasons: tuple[str, ...]


def verdict(
    without: Sequence[Outcomes],
    with_them: Sequence[Outcomes],
    metric: str = "image AUROC",
    trace: Interval | None = None,
) -> Verdict:
    """Judge by detectors of several seeds, all asked about the same images in the same order.

    Args:
        without, with_them: outcomes of detectors that learned from real pairs, and from synthetic ones, too.
        trace: interval of how many more false alarms controls get than the images that they were drawn on: above 0
            a detector has learned the generator's trace in place of the defect.

    Raises:
        ValueError: they were asked about different images.
    """
    first = without[0]
    if any(one.types != first.types or one.groups != first.groups for one in (*without, *with_them)):
        raise ValueError("both detectors must be asked about the same images, in the same order")
    sign = -1 if metric in _LESS_IS_BETTER else 1

    def gain(weights: Array) -> Array:
        after, before = (
            np.mean([METRICS[metric](one, weights) for one in several], axis=0) for several in (with_them, without)
        )
        return np.asarray(sign * (after - before))

    value = float(gain(once(first))[0])
    drawn = gain(draws(first, _DRAWS))
    low, high = (float(edge) for edge in np.nanquantile(drawn, (0.025, 0.975)))
    reasons, more = [], None
    if low > 0:
        kind: Kind = "helps"
        reasons.append(f"{metric} is better by {value:.3f} [{low:.3f}, {high:.3f}]")
    elif high < 0:
        kind = "do not use"
        reasons.append(f"{metric} is worse by {-value:.3f} [{-high:.3f}, {-low:.3f}]")
    else:
        kind = "cannot tell"
        parts = len({group for group, defect in zip(first.groups, first.defective, strict=True) if defect})
        more = _more(value, (high - low) / 2, parts)
        settled = f"about {more} more defective parts would settle it" if more else "no hold-out would settle it"
        reasons.append(f"{metric} differs by {value:+.3f} [{low:+.3f}, {high:+.3f}]; {settled}")
    if trace is not None and trace[0] > 0:
        kind, more = "do not use", None
        reasons.append(
            f"controls get {trace[0]:.3f} to {trace[1]:.3f} more false alarms than the images they were drawn on: "
            "the detector learned the generator's trace"
        )
    return Verdict(kind, metric, value, (low, high), more, tuple(reasons))


def _more(gain: float, half: float, parts: int) -> int | None:
    """How many parts are lacking: an interval shrinks with the root of how many there are."""
    if abs(gain) * math.sqrt(_MOST) <= half:
        return None
    return max(1, math.ceil(parts * (half / abs(gain)) ** 2) - parts)
