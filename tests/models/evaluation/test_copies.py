"""Copies of photos are told from other shots of the same part."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from models.evaluation.copies import Shots, repeats
from models.evaluation.segmenter import Pair
from models.levels import Pixels

Photo = NDArray[np.uint8]


def part(noise: int, deviation: float = 4.0) -> Photo:
    """A shot of one part, printed and machined, with noise of its own."""
    rng = np.random.default_rng(7)
    image = np.full((120, 160), 120.0) + rng.normal(0, 10, 160)[None]
    image[30:90, 40:120] += 40
    return (image + np.random.default_rng(noise).normal(0, deviation, image.shape)).clip(0, 255).astype(np.uint8)


def jpeg(image: Photo) -> Photo:
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), np.uint8)


def copied(photos: Sequence[Pixels], sources: Sequence[Pixels]) -> list[bool]:
    """Of each photo whether it is a copy of one of the sources."""
    shots = Shots()
    for source in sources:
        shots.add(source)
    return [bool(shots.same(photo)) for photo in photos]


def drawn_on(image: Photo) -> Pair:
    changed, mask = image.copy(), np.zeros(image.shape, np.bool_)
    mask[50:70, 60:90] = True
    changed[mask] = np.random.default_rng(1).integers(20, 60, mask.sum())
    return Pair(changed, mask, "hole")


def test_the_same_shot_is_a_copy_however_it_was_saved() -> None:
    shot = part(1, deviation=12.0)
    deeper = shot.astype(np.uint16) * 257
    coloured = np.repeat(shot[:, :, None], 3, axis=2)
    assert copied([shot, jpeg(shot), deeper, coloured], [part(2), shot]) == [True] * 4


def test_another_shot_of_a_grainy_part_is_no_copy() -> None:
    shots = [np.random.default_rng(i).integers(0, 256, (80, 90), dtype=np.uint8) for i in range(4)]
    assert copied(shots[:2], shots[2:]) == [False, False]


def test_a_photo_that_was_drawn_on_is_still_that_photo() -> None:
    shot = part(1, deviation=12.0)
    assert copied([shot], [drawn_on(shot).image]) == [True]


def test_photos_of_other_sizes_and_none_at_all_are_no_sources() -> None:
    assert copied([part(1)], [part(1)[:100]]) == [False]
    assert copied([part(1)], []) == [False]


def test_a_pair_repeats_another_only_where_its_label_does_too() -> None:
    shot = part(1, deviation=12.0)
    real = drawn_on(shot)
    again = Pair(jpeg(real.image), real.mask, "hole")
    elsewhere = Pair(real.image.copy(), np.zeros_like(real.mask), "hole")
    elsewhere.image[5:20, 5:30], elsewhere.mask[5:20, 5:30] = 15, True
    assert copied([again.image, elsewhere.image], [real.image]) == [True, True]
    assert [repeats(one, real) for one in (again, elsewhere)] == [True, False]
    assert repeats(Pair(real.image, np.zeros_like(real.mask), "hole"), real), (
        "without a label it shows nothing new"
    )


def boards(count: int, noise: float, first: int = 0) -> list[Photo]:
    """Boards of one design in a good fixture: up to a third of a pixel off, in a lamp that varies."""
    design = np.zeros((200, 220))
    for column in range(8, 210, 12):
        design[20:180, column : column + 5] = 120
    design = ndimage.gaussian_filter(design + 60, 0.8)
    found = []
    for number in range(first, first + count):
        rng = np.random.default_rng(number)
        board = ndimage.shift(design, rng.uniform(-0.3, 0.3, 2), order=1, mode="nearest") * rng.uniform(0.95, 1.05)
        found.append(rng.normal(board, noise).clip(0, 255).astype(np.uint8))
    return found


@pytest.mark.parametrize("noise", [2.0, 4.0])
def test_boards_of_one_design_in_a_good_fixture_are_no_copies_of_each_other(noise: float) -> None:
    learned, others = boards(16, noise), boards(12, noise, first=100)
    assert copied(others[:1], learned[:2]) == [True], "of a few nobody knows what they share"
    assert not any(copied(others, learned))
    brighter = [(one * 1.05 + 3).clip(0, 255).astype(np.uint8) for one in learned]
    saved = [one + np.random.default_rng(1).integers(-1, 2, one.shape) for one in learned]
    assert all(copied([*learned, *brighter, *(one.clip(0, 255).astype(np.uint8) for one in saved)], learned))


def test_what_was_drawn_many_times_on_one_shot_still_shows_it() -> None:
    shots = Shots()
    (first, *others) = boards(14, 3.0)
    for one in (first, *others):
        shots.add(one)
    for number in range(40):
        drawn = first.copy()
        drawn[40 + number : 60 + number, 30:60] = 20
        shots.add(drawn, drawn_on=True)
    assert shots.same(first) == [0, *range(14, 54)]
    assert shots.same(others[0]) == [1]
    assert shots.same(boards(1, 3.0, first=100)[0]) == []


@pytest.mark.parametrize("level", [0, 255])
def test_flat_photos_are_no_copies_of_each_other(level: int) -> None:
    """Nothing tells them apart, and nothing says that they are one."""
    flat = np.full((60, 60), level, np.uint8)
    assert copied([flat], [flat]) == [False]
