"""Two defects in one image on the bundled backbone, through service, worker and client: every promise holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from flawsmith import Defect, Flawsmith
from flawsmith.contract.jobs import Job, JobStatus
from tests.flawsmith.running import running_up

TYPES = ("scratch", "hole")


def pixels(path: Path) -> NDArray[Any]:
    with Image.open(path) as image:
        return np.asarray(image)


def photo() -> NDArray[np.uint8]:
    """Brushed metal, more or less: (160, 224, 3)."""
    noise = np.random.default_rng(0).normal(0, 6, (160, 1, 1)) + np.random.default_rng(1).normal(
        0, 3, (160, 224, 3)
    )
    return np.asarray(np.clip(130 + noise, 0, 255), dtype=np.uint8)


@pytest.mark.slow
def test_each_defect_lies_inside_its_own_mask_and_the_same_request_gives_the_same_bytes(tmp_path: Path) -> None:
    image, masks = tmp_path / "part.png", [tmp_path / f"{name}.png" for name in TYPES]
    Image.fromarray(photo()).save(image)
    for path, columns in zip(masks, (slice(20, 100), slice(100, 180)), strict=True):  # they touch
        mask = np.zeros((160, 224), dtype=np.uint8)
        mask[50:110, columns] = 255
        Image.fromarray(mask).save(path)
    defects = [Defect(name, mask) for name, mask in zip(TYPES, masks, strict=True)]

    with (
        running_up(tmp_path / "up", Path("flawsmith-small-1")) as up,
        Flawsmith(up.url) as client,
    ):
        up.wait_until_ready()

        def drawn(*wanted: Defect) -> Job:
            asked = client.augment(image, defects=wanted, seed=11, steps=12, min_quality=0.0)
            job = client.wait(asked, timeout=240)
            assert job.status is JobStatus.SUCCEEDED
            return job

        job, repeated, first = drawn(*defects), drawn(*defects), drawn(defects[0])
        alone = client.augment(image, masks[0], TYPES[0], seed=11, steps=12, min_quality=0.0)
        alone = client.wait(alone, timeout=240)
        (item,) = client.download(job, tmp_path / "out").items
        (single,) = client.download(first, tmp_path / "single").items

    requested = [pixels(mask) > 0 for mask in masks]
    labels = [pixels(path) > 0 for path in item.defect_masks]
    for label, mask in zip(labels, requested, strict=True):
        assert label.any()
        assert not (label & ~mask).any()
    assert np.array_equal(pixels(item.mask) > 0, labels[0] | labels[1])
    after, background = pixels(item.image), ~(requested[0] | requested[1])
    assert np.array_equal(after[background], photo()[background])
    scores = job.items[0].scores
    assert scores is not None
    assert scores.background_max_abs_diff == 0
    assert scores.quality == min(one.scores.quality for one in job.items[0].defects or ())

    assert repeated.items[0].image_sha256 == job.items[0].image_sha256
    assert repeated.items[0].mask_sha256 == job.items[0].mask_sha256
    assert first.items[0].image_sha256 == alone.items[0].image_sha256, "a list of one is the single form"
    assert np.array_equal(after[requested[0]], pixels(single.image)[requested[0]]), (
        "others change nothing of the first"
    )
