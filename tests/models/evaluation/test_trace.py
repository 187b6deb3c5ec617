"""The generator's trace: found where controls are rejected and their originals are not."""

from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.images import ImageOutcomes
from models.evaluation.trace import trace


def asked(normal: int = 200) -> ImageOutcomes:
    return ImageOutcomes(
        image=np.concatenate([np.full(5, 9.0), np.linspace(0, 1, normal)]),
        types=("a",) * 5 + (None,) * normal,
        areas=np.repeat([4.0, 0.0], [5, normal]),
        groups=tuple(map(str, range(5 + normal))),
    )


def test_alarms_are_counted_at_every_threshold_that_normal_images_set() -> None:
    scores = np.linspace(0, 2, 41)[None]
    found = trace([asked()], scores, scores, [str(number) for number in range(41)])
    normal = np.linspace(0, 1, 200)
    above, ties = (np.mean(fits(scores.T, normal)) for fits in (np.greater, np.equal))
    assert found.controls == found.originals == pytest.approx(above + ties / 2)
    assert found.interval == (0, 0)
    assert found.groups == 41


def test_controls_that_score_higher_than_their_originals_show_it() -> None:
    originals = np.full((2, 20), 0.501)
    controls = np.where(np.arange(20) % 2, 1.5, 0.501) * np.ones((2, 1))
    names = [str(number) for number in range(20)]
    found = trace([asked(), asked()], controls, originals, names)
    assert (found.controls, found.originals) == (0.75, 0.5)
    assert 0.1 < found.interval[0] < 0.25 < found.interval[1] < 0.4
    assert trace([asked()] * 2, originals, controls, names).interval[1] < 0


def test_controls_that_stay_below_the_highest_normal_image_show_it_too() -> None:
    confused = asked()
    confused.image[5:10] = 50.0  # a detector that learned a trace takes many good images for defective ones
    names = [str(number) for number in range(20)]
    found = trace([confused], np.full((1, 20), 2.0), np.full((1, 20), 0.501), names)
    assert found.interval[0] > 0.4


def test_controls_of_one_part_are_drawn_together() -> None:
    controls = np.where(np.arange(40) < 8, 1.5, 0.5)[None]
    originals = np.full((1, 40), 0.5)
    alone = trace([asked()], controls, originals, [str(number) for number in range(40)])
    together = trace([asked()], controls, originals, [str(number // 8) for number in range(40)])
    assert (together.controls, together.groups) == (alone.controls, 5)
    assert alone.interval[0] > 0
    assert together.interval[0] == 0
    assert together.interval[1] > alone.interval[1]
