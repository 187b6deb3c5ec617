"""Chaos in short: rounds of the benchmark, each another seed, and a data set built under faults."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from bench.chaos.run import play
from bench.chaos.stack import Stack, running_stack
from bench.dataset.builds import UNREST, Disturbance
from bench.dataset.photos import Photo
from bench.dataset.run import Acceptance, spec
from tests.worker.test_datasets import given_mask, normal
from tests.worker.tiny_worker import TYPE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SEEDS = range(5)
OF_A_RUN = 2
"""Rounds of an ordinary run; the others wait for the night."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("chaos"), SEEDS.start) as stack:
        yield stack


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=pytest.mark.nightly if seed >= OF_A_RUN else ()) for seed in SEEDS]
)
def test_nothing_accepted_is_lost_or_done_twice(stack: Stack, seed: int) -> None:
    played = play(stack, seed)
    assert not played.violations, f"{played.account()}\nlogs: {stack.folder}"


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools itself
@pytest.mark.parametrize(
    ("per_image", "unrest"),
    [(2, UNREST[1:3]), pytest.param(12, UNREST, marks=pytest.mark.nightly)],
    ids=["in short", "three workers"],
)
def test_a_data_set_built_while_workers_and_queue_die_is_the_same_to_the_byte(
    stack: Stack, tmp_path: Path, per_image: int, unrest: tuple[Disturbance, ...]
) -> None:
    photos = []
    for number in range(3):
        file = tmp_path / f"{number}.png"
        cv2.imwrite(str(file), normal(number))
        photos.append(Photo(file.name, file, f"lot {number // 2}", given_mask()))
    acceptance = Acceptance(stack, tmp_path / "data", photos, spec([TYPE], per_image, steps=20, min_quality=0.0))
    acceptance.first()
    acceptance.disturbed(unrest)
    assert not acceptance.found.broken, f"logs: {stack.folder}"
