"""Refined masks where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from bench.labels import Found, iou, refined, scenes, summary
from models.backbone import Backbone
from models.generation import Generator


def mask(*columns: int) -> np.ndarray:
    found = np.zeros((4, 10), np.bool_)
    found[:, list(columns)] = True
    return found


def test_a_mask_is_held_against_the_truth() -> None:
    assert Found.of(mask(1, 2, 3), mask(0, 1, 2, 3, 4, 5, 6, 7), mask(2, 3, 4, 5)) == Found(
        iou=2 / 5, request_iou=4 / 8, precision=2 / 3, recall=2 / 4
    )
    assert iou(mask(), mask()) == 1
    nothing = Found.of(mask(), mask(1), mask(1))
    assert (nothing.iou, nothing.recall) == (0, 0)
    row = summary([nothing, Found(0.5, 0.2, 0.8, 0.6)])
    assert (row["IoU"], row["precision"], row["recall"]) == (0.25, 0.8, 0.3)


@pytest.mark.slow
def test_a_rendered_defect_is_labelled_more_tightly_than_asked_for_and_no_defect_is_not() -> None:
    generator = Generator(Backbone.load("flawsmith-small-1"))
    found = []
    for pair, requested in scenes("hole", 4, seed=1):
        label = refined(generator, pair.normal, pair.image, requested)
        assert not (label & ~requested).any()
        assert not refined(generator, pair.normal, pair.normal, requested).any()
        found.append(Found.of(label, requested, pair.mask))
    row = summary(found)
    assert row["IoU"] > row["IoU of the request"]
    assert row["IoU"] > 0.4
    assert [one.tobytes() for _, one in scenes("hole", 2, 1)] == [one.tobytes() for _, one in scenes("hole", 2, 1)]
