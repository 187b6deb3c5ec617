"""Distributions in little memory say what the values themselves say."""

from __future__ import annotations

import statistics

import numpy as np
import pytest

from service.reports.choices import Choice
from service.reports.tallies import Tally, score_tally, size_tally


def filled(tally: Tally, values: list[float], rejected: list[float] | None = None) -> Tally:
    for value in values:
        tally.add(value, exported=True)
    for value in rejected or []:
        tally.add(value, exported=False)
    return tally


@pytest.mark.parametrize("seed", range(3))
def test_medians_are_those_of_the_values(seed: int) -> None:
    random = np.random.default_rng(seed)
    scores, sizes = random.beta(2, 5, 501).tolist(), random.lognormal(4, 2, 501).tolist()

    of_scores = filled(score_tally(), scores).distribution()
    of_sizes = filled(size_tally(), sizes).distribution()

    assert of_scores is not None
    assert of_sizes is not None
    assert of_scores.median == pytest.approx(statistics.median(scores), abs=0.006)
    assert of_sizes.median == pytest.approx(statistics.median(sizes), rel=0.05)
    assert of_sizes.greatest == pytest.approx(max(sizes), rel=1e-3)
    assert of_sizes.least == pytest.approx(min(sizes), rel=1e-3)


def test_every_value_is_in_a_bin_and_within_its_edges() -> None:
    values = [0.0, 0.31, 0.315, 1.0]
    found = filled(score_tally(), values, [0.05]).distribution()

    assert found is not None
    assert sum(found.exported) == 4
    assert sum(found.rejected) == 1
    assert (found.edges[0], found.edges[-1], len(found.edges)) == (0.0, 1.0, len(found.exported) + 1)
    for value in values:
        place = next(i for i, edge in enumerate(found.edges[1:]) if value < edge or edge == 1.0)
        assert found.exported[place]


def test_sizes_show_the_bins_with_something_in_them() -> None:
    found = filled(size_tally(), [10.0, 11.0, 9000.0]).distribution()

    assert found is not None
    assert 5 < found.edges[0] <= 10
    assert 9000 <= found.edges[-1] < 30000
    assert found.exported[0] >= 1
    assert sum(found.exported) == 3


def test_without_values_there_is_no_distribution() -> None:
    assert score_tally().distribution() is None


def test_few_are_chosen_by_the_least_keys_whatever_the_order() -> None:
    keys = np.random.default_rng(0).permutation(100).tolist()
    choice = Choice[float, int](5)
    for key in keys:
        choice.offer(key, key * 2)
    assert choice.chosen() == [0, 2, 4, 6, 8]

    equal = Choice[str, int](2)
    for value in range(4):
        equal.offer("same", value)
    assert equal.chosen() == [0, 1]
