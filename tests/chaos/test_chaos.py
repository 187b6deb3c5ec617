"""Chaos in short: rounds of the benchmark, each another seed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.chaos.run import play
from bench.chaos.stack import Stack, running_stack

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
