"""Has a detector learned the generator's trace? It has if it rejects what was drawn anew without a defect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.evaluation.images import Array, ImageOutcomes

_DRAWS = 2000


@dataclass(frozen=True)
class Trace:
    """False alarms on controls, and on the normal images that they were drawn on.

    Attributes:
        controls, originals: how often one scores higher than a normal image of the hold-out, ties half: the share
            of them that gives an alarm, over all thresholds that normal images set; means over detectors.
        interval: of the difference, 95 %, paired, over groups of originals.
        groups: how many there are.
    """

    controls: float
    originals: float
    interval: tuple[float, float]
    groups: int


def trace(asked: Sequence[ImageOutcomes], controls: Array, originals: Array, groups: Sequence[str]) -> Trace:
    """Count alarms of S detectors on C controls.

    Args:
        asked: S outcomes of the hold-out, whose normal images set each detector's thresholds.
        controls, originals: (S, C) scores of each detector, on the same scale as those of images.
        groups: C names; originals of one part have the same, and are drawn together.
    """
    of_controls, of_originals = (
        np.mean([_alarms(row, one.image[~one.defective]) for row, one in zip(rows, asked, strict=True)], axis=0)
        for rows in (controls, originals)
    )
    names, of = np.unique(groups, return_inverse=True)
    more, held = (np.bincount(of, values, len(names)) for values in (of_controls - of_originals, np.ones(len(of))))
    drawn = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), size=_DRAWS)
    low, high = np.quantile((drawn @ more) / (drawn @ held), (0.025, 0.975))
    return Trace(float(of_controls.mean()), float(of_originals.mean()), (float(low), float(high)), len(names))


def _alarms(scores: Array, normal: Array) -> Array:
    """(C,): the share of normal images that each score lies above, and half of those that it equals."""
    ranked = np.sort(normal)
    below, not_above = (np.searchsorted(ranked, scores, side=side) for side in ("left", "right"))
    return np.asarray((below + not_above) / (2 * len(ranked)))
