"""What a detector takes for defects on good images is shown to it again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from models.evaluation.mining import Missed, Spot
from models.evaluation.schooling import Schooling, Training
from models.evaluation.segmenter import Pair
from models.evaluation.squares import Square
from tests.models.evaluation.discs import pair


def test_the_worst_spots_are_kept_and_each_is_taken_once() -> None:
    missed, rng = Missed(), np.random.default_rng(0)
    assert missed.take(rng) is None
    missed.put(Spot(float(i), i, 5, 5) for i in range(40))
    taken = [missed.take(rng) for _ in range(16)]
    assert {spot.odds for spot in taken if spot} == set(range(24, 40))
    assert missed.take(rng) is None


def test_the_last_sighting_of_a_spot_counts() -> None:
    missed, rng = Missed(), np.random.default_rng(0)
    missed.put([Spot(9.0, 0, 50, 50), Spot(8.0, 0, 50, 200), Spot(7.0, 1, 50, 50)])
    missed.put([Spot(-3.0, 0, 60, 45)])
    again = Missed.of(missed.state())
    taken = {again.take(rng) for _ in range(4)}
    assert taken == {Spot(8.0, 0, 50, 200), Spot(7.0, 1, 50, 50), Spot(-3.0, 0, 60, 45), None}


@pytest.mark.parametrize("shape", [(90, 110), (40, 30)])
def test_what_is_found_in_a_square_is_found_at_its_place_in_the_image(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    numbers = rng.permutation(shape[0] * shape[1]).reshape(shape).astype(np.uint16)
    one = Pair(numbers, np.zeros(shape, np.bool_), "")
    for _ in range(40):
        square = Square.drawn(one.mask, 64, rng)
        cut, _ = Square(square.corner, 64, square.turns, square.mirrored, 1.0, 0.0).cut(one, ())
        seen = square.back((cut[0] * 65535).round(), shape)
        rows, columns = (slice(start, start + 64) for start in square.corner)
        assert torch.equal(seen, torch.from_numpy(numbers[rows, columns].astype(np.float32)))


def test_a_spot_that_looks_like_a_defect_is_seen_often(monkeypatch: pytest.MonkeyPatch) -> None:
    good = Pair(np.full((320, 320), 160, np.uint8), np.zeros((320, 320), np.bool_), "")
    good.image[100:112, 200:212] = 30  # as dark as a hole
    seen: list[bool] = []
    cut = Square.cut

    def counted(square: Square, one: Pair, types: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        if one is good:
            (top, left), side = square.corner, square.side
            seen.append(top <= 105 < top + side and left <= 205 < left + side)
        return cut(square, one, types)

    monkeypatch.setattr(Square, "cut", counted)
    training = Training(
        [good, *(pair(i, "hole") for i in range(6))], Schooling(80, crop=64, batch=12, width=8), ["hole"]
    )
    while not training.done:
        training.advance()
    assert np.mean(seen[len(seen) // 2 :]) > 0.1  # one square in 25 shows it by chance
