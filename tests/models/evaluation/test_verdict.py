"""Three answers, each where it is due."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

from models.evaluation.images import ImageOutcomes
from models.evaluation.outcomes import Outcomes
from models.evaluation.verdict import FEWEST, Fault, verdict


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


@pytest.mark.parametrize("seed", [11, 37])  # the interval reaches farther away from 0, and towards it
def test_parts_are_lacking_until_the_edge_of_the_interval_towards_nothing_reaches_it(seed: int) -> None:
    weak, strong = hold_out(seed, 30, 60)
    helped, harmed = (verdict([a], [b], "escapes at 1 %") for a, b in ((weak, strong), (strong, weak)))
    assert helped.kind == harmed.kind == "cannot tell"
    assert helped.more == harmed.more is not None
    reach = helped.gain - helped.interval[0]
    assert reach * np.sqrt(30 / (30 + helped.more)) <= helped.gain < reach * np.sqrt(30 / (29 + helped.more))


@pytest.mark.parametrize("changed", [1, 2, 3])
@pytest.mark.parametrize("metric", ["image AUROC", "escapes at 1 %"])
def test_where_few_parts_change_it_takes_as_many_more_as_four_that_do(changed: int, metric: str) -> None:
    """One of forty is caught in place of escaping; three of 120 can still be chance, four of 160 cannot."""

    def caught(escaped: int, times: int) -> ImageOutcomes:
        defective = 40 * times
        image = np.concatenate([np.ones(defective), np.zeros(100 * times)])
        image[: escaped * times] = -1
        types = ("a",) * defective + (None,) * (100 * times)
        return ImageOutcomes(
            image=image, types=types, areas=np.full(len(types), np.nan), groups=tuple(map(str, range(len(types))))
        )

    found = verdict([caught(6, changed)], [caught(5, changed)], metric)
    assert (found.kind, found.interval[0]) == ("cannot tell", 0)
    assert found.more is not None
    assert 120 < 40 * changed + found.more < 200
    assert verdict([caught(6, 4)], [caught(5, 4)], metric).kind == "helps"


def test_the_generators_trace_is_a_reason_against_whatever_the_gain() -> None:
    weak, strong = several(0.5, 0), several(3.0, 10)
    found = verdict(weak, strong, trace=(0.05, 0.2))
    assert found.kind == "do not use"
    assert "trace" in found.reasons[-1]
    assert verdict(weak, strong, trace=(-0.02, 0.2)).kind == "helps"


def test_faults_stand_above_figures_and_the_gravest_decides() -> None:
    weak, strong = several(0.5, 0), several(3.0, 10)
    leaked, copies = Fault("cannot tell", "leaked"), Fault("do not use", "copies")
    assert verdict(weak, strong, faults=[leaked]).kind == "cannot tell"
    assert verdict(strong, weak, faults=[leaked]).kind == "do not use", "it is worse, whatever the fault"
    both = verdict(weak, strong, faults=[leaked, copies])
    assert both.kind == "do not use"
    assert both.reasons[1:] == ("copies", "leaked")
    assert both.gain == verdict(weak, strong).gain


def test_detectors_that_were_asked_other_things_are_not_compared() -> None:
    one = outcomes(1.0, 0)
    other = replace(one, groups=("x", *one.groups[1:]))
    with pytest.raises(ValueError, match="same images"):
        verdict([one], [other])


@pytest.mark.parametrize(
    "sizes", [{"defective": FEWEST - 3, "normal": 60}, {"defective": 60, "normal": FEWEST - 3}]
)
def test_of_a_handful_of_parts_nothing_is_told_however_great_the_gain(sizes: dict[str, int]) -> None:
    found = verdict(several(-2.0, 0, **sizes), several(9.0, 10, **sizes))
    assert found.interval[0] > 0
    assert found.kind == "cannot tell"
    few = "defective" if sizes["defective"] < FEWEST else "normal"
    assert f"at least 3 more {few} parts" in found.reasons[0]
    assert found.more == (3 if few == "defective" else None)


def hold_out(seed: int, parts: int, normal: int, views: int = 1) -> list[ImageOutcomes]:
    """Two detectors, of 1 and of 2 deviations, asked about several views of each part, which are much alike."""
    rng = np.random.default_rng(seed)
    numbers = np.repeat(np.arange(parts + normal), views)
    of_part = numbers < parts
    hard = 0.9 * rng.normal(size=parts + normal)[numbers]
    return [
        ImageOutcomes(
            image=hard + np.sqrt(0.19) * rng.normal(size=len(numbers)) + skill * of_part,
            types=tuple("a" if one else None for one in of_part),
            areas=np.where(of_part, np.nan, 0.0),
            groups=tuple(map(str, numbers)),
        )
        for skill in (1.0, 2.0)
    ]


@pytest.mark.parametrize("metric", ["image AUROC", "escapes at 1 %"])
def test_rounding_is_no_gain(metric: str) -> None:
    one = outcomes(0.7, 3, defective=13, normal=17)
    for without, with_them in ((2, 3), (3, 2), (7, 10)):
        found = verdict([one] * without, [one] * with_them, metric)
        assert (found.kind, found.gain, found.interval) == ("cannot tell", 0, (0, 0))
        assert "differs by +0.000 [+0.000, +0.000]" in found.reasons[0]


@pytest.mark.parametrize("views", [1, 2])
def test_the_interval_holds_the_true_gain_about_as_often_as_it_says(views: int) -> None:
    score = NormalDist(0, np.sqrt(2))  # of a defective image above a normal one
    true = score.cdf(2.0) - score.cdf(1.0)
    found = []
    for seed in range(160):
        weak, strong = hold_out(seed, 30, 60, views)
        one = verdict([weak], [strong])
        found.append(one.interval[0] <= true <= one.interval[1])
    assert 0.90 <= np.mean(found) <= 0.99


def test_views_of_a_part_are_not_parts() -> None:
    weak, strong = hold_out(5, 15, 30, views=6)
    apart = [replace(one, groups=tuple(map(str, range(len(one.groups))))) for one in (weak, strong)]
    together, taken_apart = verdict([weak], [strong]), verdict([apart[0]], [apart[1]])
    assert together.gain == taken_apart.gain
    widths = [one.interval[1] - one.interval[0] for one in (together, taken_apart)]
    assert widths[0] > 1.3 * widths[1]


def test_of_whole_images_no_pixels_are_asked() -> None:
    weak, strong = hold_out(1, 20, 20)
    assert verdict([weak], [strong], "escapes at 1 %").metric == "escapes at 1 %"
    with pytest.raises(ValueError, match="pixel AP asks for pixels"):
        verdict([weak], [strong], "pixel AP")
