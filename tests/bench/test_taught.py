"""The measures of the benchmark of taught types, where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from bench.distances import Vectors, energy, kernel_distance
from bench.taught import BESIDE, VARIANTS, Judge, with_interval


def cloud(n: int, centre: float, seed: int) -> Vectors:
    """(n, 8) around a centre."""
    return np.random.default_rng(seed).normal(centre, 1.0, (n, 8))


@pytest.fixture
def judge() -> Judge:
    real = {"pit": cloud(60, 0.0, 1), "scratch": cloud(60, 3.0, 2)}
    return Judge(("pit", "scratch"), None, np.ones(8), real, {"pit": cloud(60, 0.0, 3)})


@pytest.mark.parametrize("distance", [energy, kernel_distance])
def test_a_distance_is_none_between_samples_of_one_kind_and_grows_with_what_is_between(distance: object) -> None:
    assert callable(distance)
    one, other, near, far = cloud(80, 0, 1), cloud(80, 0, 2), cloud(80, 0.5, 3), cloud(80, 2, 4)
    assert abs(distance(one, other)) < distance(one, near) < distance(one, far)


def test_an_interval_holds_the_figure_and_narrows_with_more_items() -> None:
    def width(n: int) -> float:
        x, y = cloud(n, 0.5, 1), cloud(n, 0, 2)
        found = with_interval(lambda i, k: energy(x[i], y[k]), n, n)
        low, high = found["interval"]
        assert low < found["value"] < high
        return float(high - low)

    assert width(120) < width(12)


def test_the_excess_tells_which_of_two_variants_is_nearer_to_real_pairs(judge: Judge) -> None:
    near, far = cloud(50, 0.2, 5), cloud(50, 1.0, 6)
    worse = judge.distances(far, "pit", near)["energy"]["excess"]
    better = judge.distances(near, "pit", far)["energy"]["excess"]
    assert worse["interval"][0] > 0 > better["interval"][1]
    assert worse["value"] == pytest.approx(-better["value"])
    assert "excess" not in judge.distances(near, "pit", None)["energy"]


def test_kernel_distance_is_told_from_fifty_items_on(judge: Judge) -> None:
    assert "KID" in judge.distances(cloud(50, 0, 7), "pit", None)
    assert "KID" not in judge.distances(cloud(49, 0, 7), "pit", None)


def test_every_variant_but_the_first_is_compared_with_another() -> None:
    assert set(BESIDE) == set(VARIANTS[1:])
    assert all(VARIANTS.index(other) < VARIANTS.index(one) for one, other in BESIDE.items())
