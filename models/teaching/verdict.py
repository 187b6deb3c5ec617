"""What a taught type says of itself: scores of the items drawn at the end, a verdict, and what would help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.items import ItemResult

SCORES = ("presence", "seam", "grain", "coverage", "realism", "novelty", "quality")
FEW = 5
"""Samples below which a type is never called good."""

_TYPICAL = 2  # samples from which can be told what is typical of them
_GOOD, _FAIR = 0.5, 0.3
_NO_PLACE = (
    "nothing was drawn to judge it by, for no mask like the samples' fitted where the part is: send normals that"
    " show as much of the part, as large, as the samples do"
)
_NOTHING_SEEN = (
    "nothing was to be seen of its items, so that none could be held against the samples: send samples in which"
    " the defects stand out, with masks of the defect alone"
)
_ALL_ALIKE = "its samples are all alike, so that nobody can say what is typical: send others beside them"
_REMEDIES = {
    "presence": "its defects are hardly visible: send samples in which they are, or ask for more severity",
    "realism": "its items differ from the samples: send more samples, or normals of the same camera",
    "novelty": "its items repeat the samples: send more samples",
    "seam": "its items show their edge: draw masks of the samples a little larger",
    "grain": "its items are smoother or rougher than the photo: send samples of the same camera",
}


def scores_of(result: ItemResult) -> dict[str, float | None]:
    """The scores of an item that a verdict looks at."""
    return {name: getattr(result.scores, name) for name in SCORES}


def judged(results: Sequence[Mapping[str, float | None]], samples: int) -> dict[str, Any]:
    """Scores (medians), verdict and reasons, as a type's card has them, from `scores_of` its items."""
    medians: dict[str, float] = {}
    for name in SCORES:
        found = [value for result in results if (value := result[name]) is not None]
        if found:
            medians[name] = round(float(np.median(found)), 3)
    reasons = [
        f"{name} {medians[name]:.2f}: {why}" for name, why in _REMEDIES.items() if medians.get(name, 1) < _GOOD
    ]
    quality = min((medians[name] for name in _REMEDIES if name in medians), default=0.0)
    verdict = "good" if quality >= _GOOD else "fair" if quality >= _FAIR else "poor"
    if not results:
        reasons.append(_NO_PLACE)
    elif not any(result["coverage"] for result in results):
        reasons.append(_NOTHING_SEEN)
    elif samples >= _TYPICAL and "realism" not in medians:
        reasons.append(_ALL_ALIKE)
    if samples < _TYPICAL:
        reasons.append("one example is too few to say what is typical: send at least two")
    elif samples < FEW:
        reasons.append(f"{samples} samples show little of how such defects vary: send {FEW} or more")
    if samples < _TYPICAL or "realism" not in medians:
        verdict = "poor"
    elif samples < FEW and verdict == "good":
        verdict = "fair"
    return {"scores": medians, "verdict": verdict, "reasons": reasons}
