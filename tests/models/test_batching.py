"""Rows in calls: in order, padded or in company, with progress."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.batching import Batcher, Progress, Row


class Doubling:
    """A model that tells how long its calls were."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, x: Tensor) -> Tensor:
        self.calls.append(len(x))
        return 2 * x


def rows(count: int) -> list[Row]:
    return [(torch.full((2,), float(number)),) for number in range(count)]


def values(results: list[Tensor]) -> list[float]:
    return [float(result[0]) for result in results]


def test_short_calls_are_padded() -> None:
    model = Doubling()
    assert values(Batcher(3)(model, rows(4))) == [0, 2, 4, 6]
    assert model.calls == [3, 3]


def test_calls_of_one_model_may_be_of_another_shape() -> None:
    model = Doubling()
    batcher = Batcher(3)
    assert values(batcher(model, rows(3), 2)) == [0, 2, 4]
    assert values(batcher(model, rows(3), 8)) == [0, 2, 4]
    assert model.calls == [2, 2, 3]


def test_rows_that_are_alike_in_company_go_together_unpadded() -> None:
    model = Doubling()
    assert values(Batcher(3, lambda: True)(model, rows(4))) == [0, 2, 4, 6]
    assert model.calls == [3, 1]


def test_rows_that_are_not_go_alone() -> None:
    model = Doubling()
    assert values(Batcher(3, lambda: False)(model, rows(4))) == [0, 2, 4, 6]
    assert model.calls == [1, 1, 1, 1]


def test_it_is_asked_once_and_not_before_two_rows_meet() -> None:
    asked = 0

    def alike() -> bool:
        nonlocal asked
        asked += 1
        return True

    batcher = Batcher(3, alike)
    for count, expected in ((1, 0), (2, 1), (3, 1)):
        batcher(Doubling(), rows(count))
        assert asked == expected
    Batcher(1, alike)(Doubling(), rows(2))
    assert asked == 1, "one row at a time has no company"


def test_progress_counts_rows_and_no_padding() -> None:
    seen: list[tuple[int, int]] = []
    batcher = Batcher(3)
    batcher.progress = Progress(lambda done, total: seen.append((done, total)))
    batcher.progress.expect(4)
    batcher(Doubling(), rows(4))
    assert seen == [(3, 4), (4, 4)]


def test_a_stream_calls_the_model_as_results_are_asked_for() -> None:
    model = Doubling()
    stream = Batcher(2).stream(model, iter(rows(5)))
    assert float(next(stream)[0]) == 0
    assert model.calls == [2]
    assert values(list(stream)) == [2, 4, 6, 8]
    assert model.calls == [2, 2, 2]


def test_no_rows_are_no_calls() -> None:
    model = Doubling()
    assert Batcher(2)(model, []) == []
    assert list(Batcher(2).stream(model, [])) == []
    assert model.calls == []


def test_a_call_has_at_least_one_row() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Batcher(0)
