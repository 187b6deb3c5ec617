"""Near-duplicates are found whatever there is beside them, and nothing else is."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray

from service.reports.alike import MOST_BITS, Alike


def patterns(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 32), dtype=np.uint8)


def changed(pattern: NDArray[np.uint8], bits: int, seed: int) -> NDArray[np.uint8]:
    """The same with so many bits turned."""
    unpacked = np.unpackbits(pattern)
    unpacked[np.random.default_rng(seed).choice(256, bits, replace=False)] ^= 1
    return np.packbits(unpacked)


def alike(found: NDArray[np.uint8], sides: list[int] | None = None) -> Alike:
    one = Alike()
    for place, pattern in enumerate(found):
        one.add(pattern.tobytes().hex(), sides[place] if sides else 0)
    return one


@pytest.mark.parametrize("seed", range(20))
def test_each_pair_within_the_limit_is_found_among_many(seed: int) -> None:
    found = patterns(300, seed)
    for place, bits in enumerate((0, 1, MOST_BITS, MOST_BITS + 1)):
        found[290 + place] = changed(found[place], bits, seed)

    pairs = alike(found).pairs(10)

    assert {(pair.first, pair.second): pair.bits for pair in pairs.first} == {
        (0, 290): 0,
        (1, 291): 1,
        (2, 292): MOST_BITS,
    }
    assert (pairs.count, pairs.across) == (3, 0)


def test_pairs_on_two_sides_come_first() -> None:
    found = patterns(6)
    found[3], found[4], found[5] = changed(found[0], 0, 1), changed(found[1], 9, 2), changed(found[2], 4, 3)

    pairs = alike(found, [0, 0, 0, 0, 2, 1]).pairs(2)

    assert [(pair.first, pair.second) for pair in pairs.first] == [(2, 5), (1, 4)]
    assert (pairs.count, pairs.across) == (3, 2)


def test_none_and_one_have_no_pairs() -> None:
    assert Alike().pairs(5).count == 0
    assert alike(patterns(1)).pairs(5).count == 0


def test_a_crowd_of_the_same_takes_no_more_than_its_number() -> None:
    """Ten thousand times the same photo: not fifty million pairs."""
    crowd = alike(np.repeat(patterns(1), 10_000, axis=0))
    tracemalloc.start()
    try:
        pairs = crowd.pairs(5)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert 10_000 - 1 <= pairs.count < 10 * 10_000
    assert peak < 40e6
