"""Three answers, each where it is due."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.evaluation.outcomes import Outcomes
from models.evaluation.verdict import verdict


def outcomes(skill: float, seed: int, defective: int = 60, normal: int = 60) -> Outcomes:
    """A detector whose image scores part the two kinds by so many deviations; what is hard is hard for all."""
    count = defective + normal
    hard = np.random.default_rng([1, count]).normal(size=count)
    own = np.random.default_rng([2, count, seed]).normal(size=count)
    areas = np.repeat([9.0, 0.0], [defective, normal])
    nothing = np.zeros((count, 2))
    return Outcomes(
        hits=nothing,
        alarms=nothing,
        overlaps=nothing,
        regions=np.ones(count),
        image=hard + 0.3 * own + skill * (areas > 0),
        types=("a",) * defective + (None,) * normal,
        named=("a",) * count,
        areas=areas,
        groups=tuple(map(str, range(count))),
    )


def several(skill: float, first: int, **sizes: int) -> list[Outcomes]:
    return [outcomes(skill, seed, **sizes) for seed in range(first, first + 3)]


@pytest.mark.parametrize("metric", ["image AUROC", "escapes at 1 %"])
def test_a_better_detector_was_helped_and_a_worse_one_was_harmed(metric: str) -> None:
    weak, strong = several(0.5, 0), several(3.0, 10)
    helped, harmed = verdict(weak, strong, metric), verdict(strong, weak, metric)
    assert (helped.kind, harmed.kind) == ("helps", "do not use")
    assert helped.gain == pytest.approx(-harmed.gain)
    assert helped.interval[0] > 0 > harmed.interval[1]
    assert helped.more is harmed.more is None


def test_what_changes_nothing_cannot_be_told_by_any_hold_out() -> None:
    same = several(1.0, 0)
    found = verdict(same, same)
    assert (found.kind, found.gain, found.more) == ("cannot tell", 0, None)
    assert "no hold-out" in found.reasons[0]


def test_a_tiny_hold_out_says_how_many_parts_it_lacks() -> None:
    sizes = {"defective": 5, "normal": 6}
    found = verdict(several(0.4, 0, **sizes), several(0.9, 10, **sizes))
    assert found.kind == "cannot tell"
    assert found.more is not None
    assert f"{found.more} more defective parts" in found.reasons[0]
    larger = {"defective": 4 * (found.more + 5), "normal": 4 * (found.more + 6)}
    assert verdict(several(0.4, 0, **larger), several(0.9, 10, **larger)).kind == "helps"


def test_the_generators_trace_is_a_reason_against_whatever_the_gain() -> None:
    weak, strong = several(0.5, 0), several(3.0, 10)
    found = verdict(weak, strong, trace=(0.05, 0.2))
    assert found.kind == "do not use"
    assert "trace" in found.reasons[-1]
    assert verdict(weak, strong, trace=(-0.02, 0.2)).kind == "helps"


def test_detectors_that_were_asked_other_things_are_not_compared() -> None:
    one = outcomes(1.0, 0)
    other = replace(one, groups=("x", *one.groups[1:]))
    with pytest.raises(ValueError, match="same images"):
        verdict([one], [other])
