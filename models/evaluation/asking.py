"""What a detector says of test images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.evaluation.outcomes import Scored
from models.evaluation.segmenter import SPOT, Pair, Segmenter
from models.levels import Pixels
from models.samples import Sample


def scored(segmenter: Segmenter, sample: Sample, type_: str | None) -> Scored:
    """What a segmenter says of a test image of a type, or of a normal one."""
    found = segmenter.judged(sample.image)
    odds = _odds(found)
    named = (found[1:] * (1 - found[0])).sum(axis=(1, 2))
    return Scored(
        pixels=odds,
        mask=sample.mask,
        image=float(_spots(odds).max()),
        type=type_,
        named=segmenter.types[int(named.argmax())],
        group=sample.group,
    )


def alarms(segmenter: Segmenter, control: Pair, original: Pixels) -> tuple[float, float]:
    """The strongest sign of a defect where a control was drawn, in it and in the image that it was drawn on."""
    of_control, of_original = (
        float(_spots(_odds(segmenter.judged(image)))[control.mask].max()) for image in (control.image, original)
    )
    return of_control, of_original


def _odds(found: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W) of what `Segmenter.judged` gives: log odds of any defect; they differ where probabilities are 1."""
    some, none = (np.maximum(part, np.finfo(np.float32).tiny) for part in (found[1:].sum(axis=0), found[0]))
    return np.asarray(np.log(some) - np.log(none), np.float32)


def _spots(odds: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(ndimage.uniform_filter(odds, SPOT, mode="mirror"), np.float32)
