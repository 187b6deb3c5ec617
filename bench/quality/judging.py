"""The detector that all methods' pairs are for: trained the same, asked the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from models.evaluation.outcomes import Outcomes, Scored
from models.evaluation.segmenter import Pair, Schooling, Segmenter, trained
from models.samples import Sample

_SPOT = 5  # pixels a side over which the strongest sign of a defect is averaged: one pixel alone is noise


def real_pairs(samples: Sequence[Sample], type_: str) -> list[Pair]:
    """Real photos to learn from; `type_` is "" for normal ones."""
    return [Pair(sample.image, sample.mask, type_) for sample in samples]


def scored(segmenter: Segmenter, sample: Sample, type_: str | None) -> Scored:
    """What a segmenter says of a test image of a type, or of a normal one."""
    found = segmenter.judged(sample.image)
    defective = np.asarray(1 - found[0], np.float32)
    named = (found[1:] * defective).sum(axis=(1, 2))
    return Scored(
        pixels=defective,
        mask=sample.mask,
        image=float(cv2.blur(defective, (_SPOT, _SPOT)).max()),
        type=type_,
        named=segmenter.types[int(named.argmax())],
        group=sample.group,
    )


def judged(
    pairs: Sequence[Pair],
    beside: Sequence[Pair],
    tests: Sequence[tuple[Sample, str | None]],
    types: Sequence[str],
    schooling: Schooling,
    on_step: Callable[[int], None],
) -> Outcomes:
    """Outcomes of a detector that learned from pairs and normal images, and from real pairs `beside` them."""
    segmenter = trained(pairs, schooling, types, beside=beside, on_step=on_step)
    return Outcomes.of([scored(segmenter, sample, type_) for sample, type_ in tests])
