"""Pixels that are counted image by image, at scores that are fixed beforehand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from models.evaluation.metrics import figure, once
from models.evaluation.pixels import BINS, PixelOutcomes, counted


def images(spread: float, skill: float) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Log odds of four images and their masks, the last of which are empty; a detector of so many deviations."""
    rng = np.random.default_rng(0)
    masks = [np.zeros((60, 80), np.bool_) for _ in range(4)]
    for mask in masks[:2]:
        mask[10:30, 20:40] = True
    odds = [(spread * (rng.normal(size=mask.shape) + skill * mask - 2)).astype(np.float32) for mask in masks]
    return odds, masks


def outcomes(odds: list[np.ndarray], masks: list[np.ndarray]) -> PixelOutcomes:
    hits, alarms = np.stack([counted(*both) for both in zip(odds, masks, strict=True)], axis=1).astype(np.float64)
    return PixelOutcomes(
        hits=hits,
        alarms=alarms,
        image=np.array([one.max() for one in odds], np.float64),
        types=("hole", "hole", None, None),
        areas=np.array([mask.sum() for mask in masks], np.float64),
        groups=tuple("abcd"),
    )


@pytest.mark.parametrize("spread", [1.0, 3.0, 9.0])  # of detectors that doubt, and that are sure
@pytest.mark.parametrize("skill", [0.5, 2.0])
def test_figures_of_pixels_are_those_of_their_definitions(spread: float, skill: float) -> None:
    odds, masks = images(spread, skill)
    found = outcomes(odds, masks)
    scores, truth = (np.concatenate([one.ravel() for one in several]) for several in (odds, masks))
    assert figure("pixel AP", found, once(found))[0] == pytest.approx(
        average_precision_score(truth, scores), abs=8e-3
    )
    assert figure("pixel AUROC", found, once(found))[0] == pytest.approx(roc_auc_score(truth, scores), abs=2e-3)


def test_every_pixel_is_counted_however_sure_a_detector_is() -> None:
    odds, mask = np.array([[-1e4, -40.0, 0.0], [39.0, 88.0, 1e4]], np.float32), np.eye(2, 3, dtype=np.bool_)
    hits, alarms = counted(odds, mask)
    assert hits.shape == alarms.shape == (BINS,)
    assert (hits.sum(), alarms.sum()) == (2, 4)
    assert alarms[-1] == 1
    assert hits[0] == hits[-1] == 1


def test_regions_and_types_are_not_asked_of_pixels() -> None:
    found = outcomes(*images(1.0, 1.0))
    with pytest.raises(ValueError, match="PRO asks for regions and types"):
        figure("PRO", found, once(found))
