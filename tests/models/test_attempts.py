"""Attempts at an item: what is missed is aimed at again, a bounded number of times, and the nearest is kept."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from models.adapters import Adapter, Card
from models.aims import Aim, middle, spread
from models.attempts import Attempts
from models.items import MAX_AIMED_ATTEMPTS, MAX_ATTEMPTS, ItemRequest, ItemResult
from models.measures import RegionMeasures
from models.placement.drawn import DrawnMask, PlacementError
from models.scores import Scores

Seen = tuple[float, float, float]
"""Length, contrast and quality of what came."""


def request(aim: Aim | None, severity: float = 0.4, min_quality: float = 0.3) -> ItemRequest:
    adapter = Adapter("spot", 1, "tiny", "sha256:0", torch.zeros(1, 2), Card())
    image, mask = np.zeros((8, 80), np.uint8), line(20.0)
    return ItemRequest(
        image, mask, adapter, "part", severity, 1.0, 0.5, 4, seed=1, index=0, min_quality=min_quality, aim=aim
    )


def line(length: float) -> np.ndarray:
    mask = np.zeros((8, 80), dtype=np.bool_)
    mask[3, : round(length)] = True
    return mask


def made(attempts: Attempts, drawn: Callable[[ItemRequest, int], Seen]) -> ItemResult:
    """All the attempts; ``drawn`` says what comes of a request under the noise of an attempt."""
    while attempts.waiting:
        asked = attempts.asked
        length, contrast, quality = drawn(asked, attempts.noise)
        region = RegionMeasures(area=length, length=length, width=1.0, contrast=contrast, box=(0, 0, 1, 1))
        attempts.take(
            ItemResult(
                image=asked.image,
                refined_mask=asked.mask,
                scores=Scores(quality, 1.0, 1.0, 1.0, 0),
                regions=(region,) if length else (),
                soft_edge_px=2,
                pixels_per_model_pixel=1.0,
                attempts=attempts.noise,
                accepted=quality >= asked.min_quality and length > 0,
            )
        )
    return attempts.best


def lines(size: tuple[float, float], first: float = 20.0, asked: list[float] | None = None) -> Aim:
    """An aim whose masks are lines."""

    def again(attempt: int, length: float) -> DrawnMask:
        if asked is not None:
            asked.append(length)
        return DrawnMask(line(length), ())

    return Aim(size=size, length=first, again=again)


def test_without_an_aim_an_item_below_quality_is_drawn_again_with_other_noise() -> None:
    noises: list[int] = []

    def drawn(asked: ItemRequest, noise: int) -> Seen:
        noises.append(noise)
        return 9.0, 0.1, {1: 0.1, 2: 0.25, 3: 0.2}[noise]

    best = made(Attempts(request(None)), drawn)
    assert noises == [1, 2, 3]
    assert MAX_ATTEMPTS == 3
    assert (best.attempts, best.accepted, best.scores.quality, best.missed) == (3, False, 0.25, ())
    assert made(Attempts(request(None)), lambda asked, noise: (9.0, 0.1, 0.3)).attempts == 1


def test_of_equal_quality_the_one_that_is_accepted_is_kept_and_ends_the_attempts() -> None:
    lengths = {1: 0.0, 2: 9.0}
    best = made(Attempts(request(None, min_quality=0.0)), lambda asked, noise: (lengths[noise], 0.1, 0.0))
    assert (best.attempts, best.accepted, len(best.regions)) == (2, True, 1)


def test_a_mask_is_made_as_much_longer_as_the_label_was_too_short() -> None:
    asked: list[float] = []

    def drawn(wanted: ItemRequest, noise: int) -> Seen:
        return 0.6 * float(wanted.mask.sum()), 0.1, 0.9

    best = made(Attempts(request(lines((20, 40), asked=asked))), drawn)
    assert best.attempts == 2
    assert best.accepted
    assert asked == [pytest.approx(middle((20, 40)) / 0.6)]
    assert best.requested is not None
    assert best.requested.mask.sum() == round(asked[0])
    assert 20 <= best.regions[0].length <= 40


def test_attempts_are_bounded_and_the_nearest_is_kept_with_what_it_misses() -> None:
    lengths = iter([11.0, 13.0, 18.0, 15.0, 90.0, 12.0, 19.0])

    best = made(Attempts(request(lines((20, 22)))), lambda asked, noise: (next(lengths), 0.1, 0.9))
    assert next(lengths) == 19.0, "the last one was never made"
    assert (best.attempts, best.regions[0].length) == (MAX_AIMED_ATTEMPTS, 18.0)
    assert (best.accepted, best.missed) == (False, ("size",))


def test_one_of_the_right_size_and_below_quality_is_kept_before_a_fine_one_of_another_size() -> None:
    seen = iter([(50.0, 0.1, 0.9), (21.0, 0.1, 0.1), (50.0, 0.1, 0.9), (21.0, 0.1, 0.2)] + 2 * [(60.0, 0.1, 0.9)])

    best = made(Attempts(request(lines((20, 22)))), lambda asked, noise: next(seen))
    assert (best.regions[0].length, best.scores.quality) == (21.0, 0.2)
    assert (best.accepted, best.missed) == (False, ())


def test_a_mask_that_fits_nowhere_leaves_the_one_there_is() -> None:
    def again(attempt: int, length: float) -> DrawnMask:
        raise PlacementError("no room")

    lengths = iter([10.0, 11.0, 25.0])
    first = request(Aim(size=(20, 40), length=20.0, again=again))
    best = made(Attempts(first), lambda asked, noise: (next(lengths), 0.1, 0.9))
    assert (best.attempts, best.accepted, best.requested) == (3, True, None)


@pytest.mark.parametrize("wanted", [(0.03, 0.05), (0.2, 0.3)])
def test_a_contrast_is_met_by_another_severity_and_the_same_noise(wanted: tuple[float, float]) -> None:
    noises: list[int] = []

    def drawn(asked: ItemRequest, noise: int) -> Seen:
        noises.append(noise)
        return 20.0, 0.3 * asked.severity**1.4, 0.9

    best = made(Attempts(request(Aim(contrast=wanted))), drawn)
    assert best.accepted
    assert wanted[0] <= best.regions[0].contrast <= wanted[1]
    assert set(noises) == {1}
    assert 2 <= best.attempts <= 4


def test_what_is_too_faint_to_be_seen_is_drawn_stronger_and_not_elsewhere() -> None:
    masks: list[int] = []

    def drawn(asked: ItemRequest, noise: int) -> Seen:
        masks.append(int(asked.mask.sum()))
        return (0.0, 0.0, 0.0) if asked.severity < 0.2 else (20.0, 0.5 * asked.severity, 0.9)

    aim = Aim(size=(15, 40), contrast=(0.1, 0.14), length=20.0, again=lambda *_: pytest.fail("elsewhere"))
    best = made(Attempts(request(aim, severity=0.6)), drawn)
    assert best.accepted
    assert set(masks) == {20}


def test_where_severity_says_nothing_contrast_is_met_by_choice() -> None:
    noises: list[int] = []

    def drawn(asked: ItemRequest, noise: int) -> Seen:
        noises.append(noise)
        assert asked.severity == 0.4
        return 20.0, {1: 0.5, 2: 0.4, 3: 0.22}[noise], 0.9

    best = made(Attempts(request(Aim(contrast=(0.2, 0.3))), by_severity=False), drawn)
    assert (best.accepted, noises) == (True, [1, 2, 3])


def test_lengths_are_spread_over_their_range_and_stay_off_its_ends() -> None:
    found = [spread((20, 80), share / 100) for share in range(100)]
    assert found == sorted(found)
    assert 20 < found[0] < 30
    assert 70 < found[-1] < 80


def test_nothing_made_is_no_result() -> None:
    with pytest.raises(ValueError, match="nothing has been made"):
        _ = Attempts(request(None)).best
