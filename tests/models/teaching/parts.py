"""Photos of a made-up part, normal and with a dark bar as its defect."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from models.samples import Sample
from models.teaching import trials
from models.teaching.lesson import Taught
from models.teaching.teaching import Teaching


def search_briefly(patch: pytest.MonkeyPatch) -> None:
    """Let teachings try one setting alone: for tests of something else."""
    patch.setattr(trials, "FIRST", (trials.Settings(0.3, 1.0, 0.6, 1.0),))
    patch.setattr(trials, "GUIDANCES", ())
    patch.setattr(trials, "SEED_SHARES", ())


def killed_every(units: int, begin: Callable[[], Teaching]) -> Taught:
    """What a teaching makes that is lost after so many units, time and again, and goes on from its checkpoint."""
    teaching, done = begin(), 0
    while teaching.advance(0).phase != "done":
        done += 1
        if done % units == 0:
            checkpoint = teaching.checkpoint()
            teaching = begin()
            teaching.restore(checkpoint)
            while teaching.progress.phase == "preparing":
                teaching.advance(0)
    return teaching.result()


def photo(seed: int, defect: bool = True, size: tuple[int, int] = (80, 96)) -> Sample:
    """Brushed metal; the bar lies somewhere, at some angle."""
    rng = np.random.default_rng(seed)
    image = np.full(size, 150.0) + rng.normal(0, 10, size[1])[None] + rng.normal(0, 3, size)
    mask = np.zeros(size, dtype=np.bool_)
    if defect:
        y, x = np.mgrid[: size[0], : size[1]]
        row, column, angle = rng.uniform(25, size[0] - 25), rng.uniform(25, size[1] - 25), rng.uniform(0, np.pi)
        along = (y - row) * np.sin(angle) + (x - column) * np.cos(angle)
        across = (y - row) * np.cos(angle) - (x - column) * np.sin(angle)
        mask = (np.abs(along) < 12) & (np.abs(across) < 3)
        image[mask] -= 90
    return Sample(np.clip(image, 0, 255).astype(np.uint8), mask, f"{seed:064x}")
