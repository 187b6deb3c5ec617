"""Scores of an item, each 0–1, higher is better (design §2, step 7); here those that need no real examples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.masks import Mask

Luminance = NDArray[np.float32]
"""(H, W) in unit range."""


@dataclass(frozen=True)
class Scores:
    """Of one item. ``quality`` is the least of the others that are available.

    ``realism`` and ``novelty`` (`models.references`) are None where no real examples of the type are at hand.
    """

    presence: float
    seam: float
    grain: float
    coverage: float
    background_max_abs_diff: int
    realism: float | None = None
    novelty: float | None = None

    @property
    def quality(self) -> float:
        others = [score for score in (self.realism, self.novelty) if score is not None]
        return min(self.presence, self.seam, self.grain, self.coverage, *others)


def salience(change: NDArray[np.float32], requested: Mask) -> float:
    """The strongest part of the change: mean of the top twentieth (at least 4) of `change_map` there."""
    values = change[requested]
    if not values.size:
        return 0.0
    top = min(values.size, max(4, values.size // 20))
    return float(np.partition(values, values.size - top)[-top:].mean())


def presence(salience: float, control: float) -> float:
    """A visible defect against controls: ½ where 95 % of controls stay below, rising to 1."""
    return salience / (salience + control)


def seam(before: Luminance, after: Luminance, requested: Mask) -> float:
    """Edge against surroundings: 1 where crossing the request's border is no greater step than before.

    The mean added step over all neighbours (one in, one out), against the mean step of the photo around there.
    """
    added: list[NDArray[np.float32]] = []
    usual: list[NDArray[np.float32]] = []
    for axis in (0, 1):
        crossing = np.diff(requested, axis=axis)
        steps_before = np.abs(np.diff(before, axis=axis))
        added.append((np.abs(np.diff(after, axis=axis)) - steps_before)[crossing])
        usual.append(steps_before[crossing])
    if not sum(part.size for part in added):
        return 1.0
    excess = float(np.maximum(np.concatenate(added), 0).mean())
    return 1 / (1 + excess / (float(np.concatenate(usual).mean()) + 0.02))


def grain(before: Luminance, after: Luminance, refined: Mask, requested: Mask, reach: int = 12) -> float:
    """Fine noise inside against the ring around: the lesser over the greater of the two robust deviations."""
    ring = np.asarray(ndimage.binary_dilation(requested, iterations=reach)) & ~requested
    if not refined.any() or not ring.any():
        return 1.0
    inside = _deviation(_fine(after)[refined])
    outside = _deviation(_fine(before)[ring])
    floor = 0.5 / 255  # below half a grey level of 8 bits nobody tells grain from none
    low, high = sorted((max(inside, floor), max(outside, floor)))
    return low / high


def _fine(luminance: Luminance) -> Luminance:
    return np.asarray(luminance - ndimage.median_filter(luminance, size=3), dtype=np.float32)


def _deviation(values: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(np.clip(values, *np.percentile(values, [5, 95]))))))
