"""Detectors of both kinds on one hold-out: what helps helps, and what is planted is found out."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.evaluation.contest import Contest, ContestError, Control, Held, Judged, Material
from models.evaluation.schooling import Schooling
from models.evaluation.segmenter import Pair
from models.evaluation.verdict import Verdict
from tests.models.evaluation.discs import held, pair, sample

SCHOOLING = Schooling(steps=60, crop=64, batch=6, width=16, rate=5e-3)
SHORT = replace(SCHOOLING, steps=3)

FAINT = 30.0
BARS = [pair(i, "bar") for i in range(6)]
HOLES = [pair(i, "hole", FAINT) for i in range(10, 30)]
GOOD = [pair(i, "") for i in range(50, 70)]
HOLD_OUT = [*held(range(200, 212), "hole", FAINT), *held(range(300, 312), "")]
"""Faint holes, of which the real pairs show none."""


def material(**changed: object) -> Material:
    return replace(Material(BARS, GOOD, HOLES, HOLD_OUT), **changed)  # type: ignore[arg-type]


def judged(of: Material, schooling: Schooling = SCHOOLING, detectors: int = 1) -> Judged:
    contest = Contest(of, schooling, detectors)
    while contest.phase != "done":
        contest.advance()
    return contest.judged()


def scores(of: Judged) -> list[list[object]]:
    return [part.tolist() for one in (*of.without, *of.with_them) for part in (one.image, one.hits, one.alarms)]


def verdict(of: Material) -> Verdict:
    return judged(of, SHORT).comparison.verdict


def test_pairs_of_what_the_hold_out_shows_and_the_real_ones_do_not_help() -> None:
    found = judged(material())
    assert found.comparison.verdict.kind == "helps"
    assert found.without[0].types.count("hole") == 12
    (of_pixels,) = (row for row in found.comparison.rows if row.name == "pixel AP")
    assert of_pixels.interval[0] > 0.2
    for outcomes in (*found.without, *found.with_them):
        assert outcomes.hits.sum(axis=1).tolist() == outcomes.areas.tolist()
        assert (outcomes.hits + outcomes.alarms).sum(axis=1).tolist() == [one.sample.mask.size for one in HOLD_OUT]
    assert found.trace is None


def test_it_goes_through_its_units_and_counts_up_to_its_end() -> None:
    contest = Contest(material(), SHORT, detectors=2)
    seen = [(contest.phase, contest.step)]
    while contest.phase != "done":
        contest.advance()
        seen.append((contest.phase, contest.step))
    assert [step for _, step in seen] == list(range(contest.steps + 1))
    assert {phase for phase, _ in seen} == {"training", "asking", "done"}
    contest.advance()
    assert contest.step == contest.steps


def test_stopped_anywhere_it_ends_as_one_that_was_not() -> None:
    good = [one.sample for one in HOLD_OUT[12:14]]
    of = material(controls=[Control(HOLES[i], one.image, one) for i, one in enumerate(good)])
    contest, undisturbed = Contest(of, SHORT, 2), judged(of, SHORT, 2)
    while contest.phase != "done":
        contest.advance()
        if contest.step % 17 == 0:
            written = io.BytesIO()
            torch.save(contest.state(), written)
            written.seek(0)
            contest = Contest(of, SHORT, 2)
            contest.restore(torch.load(written, weights_only=True))
    ended = contest.judged()
    assert scores(ended) == scores(undisturbed)
    assert ended.trace == undisturbed.trace


def test_a_state_of_other_material_is_refused() -> None:
    state = Contest(material(), SHORT).state()
    with pytest.raises(ContestError, match="other material"):
        Contest(material(real=BARS[:3]), SHORT).restore(state)


def test_the_verdict_waits_for_the_end() -> None:
    with pytest.raises(ContestError, match="not over"):
        Contest(material(), SHORT).judged()


def test_photos_of_the_hold_out_that_are_learned_from_are_left_out() -> None:
    more = [*HOLD_OUT, *held(range(10, 14), "hole", FAINT), *held(range(50, 52), "")]
    found = judged(material(hold_out=more), SHORT)
    assert "6 of 30 photos of the hold-out" in found.comparison.notes[0]
    assert len(found.without[0].types) == 24


def test_controls_on_photos_that_are_left_out_are_left_out_too() -> None:
    good = held(range(50, 54), "")
    more = [*HOLD_OUT, *good]
    of = [*good, *HOLD_OUT[12:20]]
    controls = [Control(pair(i, "bar"), one.sample.image, one.sample) for i, one in enumerate(of)]
    found = judged(material(hold_out=more, controls=controls), SHORT)
    assert "4 of 28 photos of the hold-out" in found.comparison.notes[0]
    assert found.trace is not None
    assert found.trace.groups == 8


def test_a_control_goes_with_its_photo_though_another_of_the_same_part_stays() -> None:
    shots = [*held(range(50, 51), ""), *held(range(300, 301), ""), *held(range(302, 308), "")]
    good = [Held(replace(one.sample, group=f"part {i // 2 if i < 2 else i}"), None) for i, one in enumerate(shots)]
    controls = [Control(pair(i, "bar"), one.sample.image, one.sample) for i, one in enumerate(good)]
    contest = Contest(material(hold_out=[*HOLD_OUT[:12], *good], controls=controls), SHORT, 1)
    while contest.phase != "done":
        contest.advance()
    assert "1 of 20 photos of the hold-out" in contest.judged().comparison.notes[0]
    assert contest.steps == 2 * (SHORT.steps + 19) + 7


@pytest.mark.parametrize("coloured", ["real", "normals", "synthetic", "hold_out"])
def test_photos_in_grey_and_in_colour_are_learned_from_side_by_side(coloured: str) -> None:
    lots = {"real": BARS, "normals": GOOD, "synthetic": HOLES}
    changed: dict[str, object] = {
        name: [
            replace(one, image=np.repeat(one.image[..., None], 3 if name == coloured else 1, axis=2))
            for one in lot
        ]
        for name, lot in lots.items()
    }
    of_colour = 3 if coloured == "hold_out" else 1
    changed["hold_out"] = [
        replace(one, sample=replace(one.sample, image=np.repeat(one.sample.image[..., None], of_colour, axis=2)))
        for one in HOLD_OUT
    ]
    assert scores(judged(material(**changed), SHORT)) == scores(judged(material(), SHORT))


def test_a_synthetic_defect_on_a_photo_of_the_hold_out_leaks_it() -> None:
    drawn = [pair(300 + i, "") for i in range(8)]
    for one in drawn:
        one.image[40:50, 40:60] = 30
        one.mask[40:50, 40:60] = True
    found = verdict(material(synthetic=[replace(one, type="hole") for one in drawn]))
    assert found.kind == "cannot tell"
    assert "8 of 24 photos" in found.reasons[-1]
    assert "send others" in found.reasons[-1]


def test_copies_of_the_real_pairs_are_not_to_be_used_and_a_few_are_noted() -> None:
    found = verdict(material(synthetic=BARS))
    assert found.kind == "do not use"
    assert "6 of 6 synthetic pairs repeat real ones" in found.reasons[-1]
    some = judged(material(synthetic=[*HOLES, BARS[0]]), SHORT)
    assert "1 of 21 synthetic pairs repeat" in some.comparison.notes[0]


def test_a_new_defect_on_a_photo_that_has_one_is_no_copy() -> None:
    drawn = []
    for one in BARS:
        again = Pair(one.image.copy(), np.zeros_like(one.mask), "hole")
        again.image[2:12, 2:14] = 20
        again.mask[2:12, 2:14] = True
        drawn.append(again)
    assert not [note for note in judged(material(synthetic=drawn), SHORT).comparison.notes if "repeat" in note]


def test_synthetic_pairs_of_another_light_are_not_to_be_used() -> None:
    brighter = [replace(one, image=(one.image * 0.6 + 90).astype(np.uint8)) for one in HOLES]
    found = verdict(material(synthetic=brighter))
    assert found.kind == "do not use"
    assert "brighter than the good ones" in found.reasons[-1]


def test_a_hold_out_of_two_lights_is_noted() -> None:
    darker = [
        Held(replace(one.sample, image=(one.sample.image * 0.5).astype(np.uint8)), None)
        if one.type is None
        else one
        for one in HOLD_OUT
    ]
    notes = judged(material(hold_out=darker), SHORT).comparison.notes
    assert "defective photos of the hold-out are brighter" in notes[0]


def test_a_detector_that_takes_controls_for_defects_has_learned_the_trace() -> None:
    """Synthetic pairs whose label is a patch of smooth pixels; controls have such a patch, too."""

    def smooth(number: int, type_: str) -> Pair:
        one = pair(number, "")
        one.image[30:55, 30:60], one.mask[30:55, 30:60] = 128, True
        return replace(one, type=type_)

    originals = [one.sample for one in HOLD_OUT[12:20]]
    controls = [Control(smooth(300 + i, ""), one.image, one) for i, one in enumerate(originals)]
    of = material(synthetic=[smooth(i, "hole") for i in range(400, 420)], controls=controls)
    found = judged(of)
    assert found.trace is not None
    assert found.trace.controls > found.trace.originals
    assert found.comparison.verdict.kind == "do not use"
    assert "trace" in found.comparison.verdict.reasons[-1]


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"real": []}, "real pairs"),
        ({"normals": []}, "good photos"),
        ({"synthetic": [Pair(GOOD[0].image, GOOD[0].mask, "hole")]}, "synthetic pairs"),
        ({"hold_out": held(range(3), "hole")}, "good photos in the hold-out"),
        ({"hold_out": held(range(3), "")}, "defective photos in the hold-out"),
    ],
)
def test_what_is_lacking_is_named(changed: dict[str, object], what: str) -> None:
    with pytest.raises(ContestError, match=f"there are no {what}"):
        Contest(material(**changed), SHORT)


def test_photos_of_one_group_are_one_part() -> None:
    grouped = [Held(replace(one.sample, group=one.type or "good"), one.type) for one in HOLD_OUT]
    found = judged(material(hold_out=grouped), SHORT)
    assert set(found.without[0].groups) == {"hole", "good"}
    assert found.comparison.verdict.kind == "cannot tell"


def test_a_sample_without_a_group_is_a_part_of_its_own() -> None:
    assert judged(material(), SHORT).without[0].groups[0] == sample(200, "hole").sha256
