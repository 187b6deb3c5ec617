"""Grain with a dark disc or a bright bar: photos that a small detector learns in seconds."""

from __future__ import annotations

import numpy as np

from models.evaluation.contest import Held
from models.evaluation.segmenter import Pair
from models.samples import Sample


def pair(number: int, type_: str, contrast: float = 90.0) -> Pair:
    """A disc (hole) or a bar of the type, or neither; equal numbers give equal pairs."""
    rng = np.random.default_rng(number)
    image = rng.normal(128, 12, (90, 110)).clip(0, 255)
    mask = np.zeros(image.shape, np.bool_)
    y, x = rng.integers(15, 70, 2)
    if type_ == "hole":
        mask = np.hypot(*np.ogrid[-y : 90 - y, -x : 110 - x]) < 9
        image[mask] -= contrast
    elif type_ == "bar":
        mask[y : y + 5, x : x + 30] = True
        image[mask] += contrast
    return Pair(image.clip(0, 255).astype(np.uint8), mask, type_)


def sample(number: int, type_: str, contrast: float = 90.0) -> Sample:
    """The same as a sample of a part of its own."""
    one = pair(number, type_, contrast)
    return Sample(one.image, one.mask, f"{number:064d}")


def held(numbers: range, type_: str, contrast: float = 90.0) -> list[Held]:
    """Photos of a hold-out."""
    return [Held(sample(number, type_, contrast), type_ or None) for number in numbers]
