"""Lots of photos that light alone tells apart, and such that it does not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from models.evaluation.light import FEWEST, apart, light
from models.evaluation.segmenter import Pair

Change = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def lot(first: int, change: Change = lambda image: image, count: int = 30) -> list[Pair]:
    """Photos of parts whose light varies from one to the next."""
    found = []
    for number in range(first, first + count):
        rng = np.random.default_rng(number)
        image = change(rng.normal(rng.uniform(90, 110), rng.uniform(10, 20), (60, 80)))
        found.append(Pair(image.clip(0, 255).astype(np.uint8), np.zeros((60, 80), np.bool_), ""))
    return found


def told(one: list[Pair], other: list[Pair]) -> str | None:
    return apart([light(pair) for pair in one], [light(pair) for pair in other])


def test_lots_of_the_same_light_are_not_told_apart() -> None:
    assert told(lot(0), lot(100)) is None


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda image: image + 40, "brighter"),
        (lambda image: image - 40, "darker"),
        (lambda image: np.maximum(image, 92), "lighter in the shadows"),
        (lambda image: np.minimum(image, 108), "darker in the highlights"),
    ],
)
def test_the_way_in_which_light_differs_is_named(change: Change, word: str) -> None:
    assert told(lot(0, change), lot(100)) == word


def test_defects_and_what_lies_close_are_not_looked_at() -> None:
    pairs = lot(0)
    for one in pairs:
        one.image[10:40, 20:60], one.mask[10:40, 20:60] = 0, True
    assert told(pairs, lot(100)) is None


def test_a_defect_all_over_is_looked_at_for_there_is_nothing_else() -> None:
    pairs = lot(0, lambda image: image - 60)
    for one in pairs:
        one.mask[:] = True
    assert told(pairs, lot(100)) == "darker"


def test_of_too_few_nothing_is_told() -> None:
    assert told(lot(0, lambda image: image + 90, FEWEST - 1), lot(100)) is None


def test_of_a_large_photo_a_part_is_enough() -> None:
    image = np.random.default_rng(0).normal(100, 20, (2100, 2900)).clip(0, 255).astype(np.uint8)
    mask = np.zeros(image.shape, np.bool_)
    image[500:900, 600:1200], mask[504:896, 604:1196] = 255, True
    rest = image[~mask] / 255
    assert light(Pair(image, mask, "dent")) == pytest.approx(
        (rest[rest < 1].mean(), *np.quantile(rest[rest < 1], (0.02, 0.98))), abs=2e-3
    )
