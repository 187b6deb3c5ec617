"""Figures of outcomes, for many draws of the images at once.

Each takes outcomes of N images and weights (D, N), how often each image counts in each of D draws, and gives (D,)
figures; NaN for a draw without what it needs. Image metrics ask for scores of whole images alone, pixel metrics
for those of pixels, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from models.evaluation.images import Array, ImageOutcomes
from models.evaluation.outcomes import Outcomes
from models.evaluation.pixels import PixelOutcomes

Metric = Callable[[Outcomes, Array], Array]
PixelMetric = Callable[[PixelOutcomes, Array], Array]
ImageMetric = Callable[[ImageOutcomes, Array], Array]

_MOST_ALARMS = 0.3  # share of normal pixels up to which PRO is integrated (Bergmann et al., IJCV 2021)
_BLOCK = 8_000_000  # weights that are held at a time


def once(outcomes: ImageOutcomes) -> Array:
    """(1, N): each image once."""
    return np.ones((1, len(outcomes.image)))


def draws(outcomes: ImageOutcomes, count: int, seed: int = 0) -> Array:
    """(D, N): bootstrap draws of groups with return, of those with a defect and of the others apart."""
    return np.concatenate(list(blocks(outcomes, count, seed)))


def blocks(outcomes: ImageOutcomes, count: int, seed: int = 0) -> Iterator[Array]:
    """The rows of `draws`, some at a time, so that many draws of many images fit the memory."""
    rng = np.random.default_rng(seed)
    names, of = np.unique(outcomes.groups, return_inverse=True)
    defective = np.zeros(len(names), np.bool_)
    defective[of[outcomes.defective]] = True
    most = max(1, _BLOCK // len(of))
    for first in range(0, count, most):
        rows = min(most, count - first)
        drawn = np.zeros((rows, len(names)))
        for kind in (defective, ~defective):
            if kind.any():
                drawn[:, kind] = rng.multinomial(kind.sum(), np.full(kind.sum(), 1 / kind.sum()), size=rows)
        yield drawn[:, of]


def pixel_ap(outcomes: PixelOutcomes, weights: Array) -> Array:
    """Average precision over pixels: Σ (R_k − R_{k−1}) P_k."""
    hits, alarms = _above(outcomes.hits, weights), _above(outcomes.alarms, weights)
    precision = hits / np.maximum(hits + alarms, 1)
    return _ratio((np.diff(hits, axis=1, prepend=0) * precision).sum(axis=1), hits[:, -1])


def pixel_auroc(outcomes: PixelOutcomes, weights: Array) -> Array:
    """Area under the ROC of pixels."""
    hits, alarms = _above(outcomes.hits, weights), _above(outcomes.alarms, weights)
    return _ratio(_area(hits, alarms), hits[:, -1] * alarms[:, -1])


def best_f1(outcomes: PixelOutcomes, weights: Array) -> Array:
    """F1 of pixels at the threshold that is best for it."""
    hits, alarms = _above(outcomes.hits, weights), _above(outcomes.alarms, weights)
    return np.asarray((2 * hits / np.maximum(hits + alarms + hits[:, -1:], 1)).max(axis=1))


def best_iou(outcomes: PixelOutcomes, weights: Array) -> Array:
    """Intersection over union of pixels at the threshold that is best for it."""
    hits, alarms = _above(outcomes.hits, weights), _above(outcomes.alarms, weights)
    return np.asarray((hits / np.maximum(alarms + hits[:, -1:], 1)).max(axis=1))


def pro(outcomes: Outcomes, weights: Array) -> Array:
    """Per-region overlap, its mean over shares of false alarms up to 0.3 (Bergmann et al., IJCV 2021)."""
    overlap = _ratio(_above(outcomes.overlaps, weights), (weights @ outcomes.regions)[:, None])
    alarms = _above(outcomes.alarms, weights)
    share = _ratio(alarms, alarms[:, -1:])
    share, overlap = (np.insert(curve, 0, 0, axis=1) for curve in (share, overlap))  # above the highest score
    at = np.linspace(0, _MOST_ALARMS, 301)
    curves = [np.interp(at, x, y) for x, y in zip(share, overlap, strict=True)]
    return np.asarray(np.trapezoid(np.stack(curves), at, axis=1) / _MOST_ALARMS)


def image_auroc(outcomes: ImageOutcomes, weights: Array) -> Array:
    """Area under the ROC of images; ties count half."""
    order = np.argsort(-outcomes.image, kind="stable")
    steps = np.flatnonzero(np.diff(outcomes.image[order], append=-np.inf))
    defective = outcomes.defective[order]
    hits, alarms = (np.cumsum(weights[:, order] * which, axis=1)[:, steps] for which in (defective, ~defective))
    return _ratio(_area(hits, alarms), hits[:, -1] * alarms[:, -1])


def escapes(rate: float, among: NDArray[np.bool_] | None = None) -> ImageMetric:
    """The share of defective images that pass where at most this share of normal ones is rejected.

    Args:
        rate: of false rejects. Where fewer than 1/rate normal images are drawn none of them may be rejected.
        among: (N,), the defective images that are asked after; all by default.
    """

    def metric(outcomes: ImageOutcomes, weights: Array) -> Array:
        asked = outcomes.defective if among is None else outcomes.defective & among
        order = np.argsort(-outcomes.image, kind="stable")
        scores = outcomes.image[order]
        steps = np.flatnonzero(np.diff(scores, append=-np.inf))  # thresholds lie between different scores
        normal = weights[:, order] * ~outcomes.defective[order]
        rejected = np.cumsum(normal, axis=1)[:, steps] <= rate * normal.sum(axis=1, keepdims=True)
        caught = np.cumsum(weights[:, order] * asked[order], axis=1)
        most = np.where(rejected, caught[:, steps], 0).max(axis=1)
        return np.where(normal.sum(axis=1) > 0, 1 - _ratio(most, caught[:, -1]), np.nan)

    return metric


def type_accuracy(outcomes: Outcomes, weights: Array) -> Array:
    """The share of defective images that are given their type."""
    right = np.array([a == b for a, b in zip(outcomes.types, outcomes.named, strict=True)]) & outcomes.defective
    return _ratio(weights @ right, weights @ outcomes.defective)


IMAGE_METRICS: Mapping[str, ImageMetric] = {
    "image AUROC": image_auroc,
    "escapes at 1 %": escapes(0.01),
    "escapes at 0.1 %": escapes(0.001),
}

PIXEL_METRICS: Mapping[str, PixelMetric] = {
    "pixel AP": pixel_ap,
    "pixel AUROC": pixel_auroc,
    "best F1": best_f1,
    "best IoU": best_iou,
}

METRICS: Mapping[str, Metric] = {
    **PIXEL_METRICS,
    "PRO": pro,
    **IMAGE_METRICS,
    "type accuracy": type_accuracy,
}

LESS_IS_BETTER = frozenset({"escapes at 1 %", "escapes at 0.1 %"})


def figure(name: str, outcomes: ImageOutcomes, weights: Array) -> Array:
    """(D,) figures of the metric of `METRICS` with this name.

    Raises:
        KeyError: there is none.
        ValueError: it asks for more than the outcomes are of.
    """
    if name in IMAGE_METRICS:
        return IMAGE_METRICS[name](outcomes, weights)
    metric = METRICS[name]
    if not isinstance(outcomes, PixelOutcomes):
        raise ValueError(f"{name} asks for pixels; of whole images ask {', '.join(IMAGE_METRICS)}")
    if name in PIXEL_METRICS:
        return PIXEL_METRICS[name](outcomes, weights)
    if not isinstance(outcomes, Outcomes):
        raise ValueError(f"{name} asks for regions and types; of pixels ask {', '.join(PIXEL_METRICS)}")
    return metric(outcomes, weights)


def _above(histograms: Array, weights: Array) -> Array:
    """(D, BINS): how much lies in the k highest bins."""
    return np.asarray(np.cumsum((weights @ histograms)[:, ::-1], axis=1))


def _area(hits: Array, alarms: Array) -> Array:
    """(D,): under the curve of hits over alarms, from 0."""
    zero = np.zeros((len(hits), 1))
    return np.asarray(np.trapezoid(np.hstack([zero, hits]), np.hstack([zero, alarms]), axis=1))


def _ratio(above: Array, below: Array) -> Array:
    nothing = np.full(np.broadcast_shapes(above.shape, below.shape), np.nan)
    return np.asarray(np.divide(above, below, out=nothing, where=below > 0))
