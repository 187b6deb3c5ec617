"""A taught type on trial: items and controls are drawn, detectors of both kinds learn, a hold-out judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.adapters import Adapter
from models.backbone import Backbone
from models.evaluation import trial as trials
from models.evaluation.contest import Contest, Held, Judged
from models.evaluation.schooling import Schooling
from models.evaluation.trial import Change, Learned, Plan, Trial, TrialError
from models.masks import around
from models.references import References
from models.samples import Sample, exemplars_of
from models.teaching.lesson import Lesson
from models.teaching.teaching import Teaching
from models.teaching.trials import Place
from tests.models.teaching.parts import photo, search_briefly
from tests.models.tiny import tiny_backbone

PLAN = Plan(count=3, controls=2, detectors=1, steps=2)
SAMPLES = [photo(seed) for seed in range(4)]
NORMALS = [photo(seed, defect=False) for seed in range(100, 103)]
HOLD_OUT = [
    *(Held(photo(seed), "bar") for seed in range(200, 203)),
    *(Held(photo(seed, defect=False), None) for seed in range(300, 303)),
]


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return tiny_backbone(seed=3)


@pytest.fixture(scope="module")
def learned(backbone: Backbone) -> Learned:
    lesson = Lesson("bar", "plate", steps=2, rank=2, crops=1, normal_crops=2, checks=1, places=1, items=1)
    with pytest.MonkeyPatch.context() as patch:
        search_briefly(patch)
        teaching = Teaching(backbone, lesson, SAMPLES, NORMALS)
        teaching.advance(3600)
    exemplars = exemplars_of(SAMPLES)
    adapter: Adapter = teaching.result().adapter
    card = replace(adapter.card, steps=6, min_quality=0.0, severity=1.0, exemplars=0.0)  # to be seen at all
    return Learned(replace(adapter, card=card), exemplars, References.of(exemplars), SAMPLES)


def judged(trial: Trial) -> Judged:
    assert trial.advance(3600).phase == "done"
    return trial.result()


def scores(of: Judged) -> list[list[float]]:
    return [one.image.tolist() for one in (*of.without, *of.with_them)]


@pytest.fixture(scope="module")
def undisturbed(backbone: Backbone, learned: Learned) -> Judged:
    return judged(Trial(backbone, learned, NORMALS, HOLD_OUT, PLAN))


def test_it_goes_through_its_phases_and_counts_up_to_its_end(backbone: Backbone, learned: Learned) -> None:
    trial = Trial(backbone, learned, NORMALS, HOLD_OUT, PLAN)
    heard: list[tuple[int, int]] = []
    seen = [trial.progress]
    while seen[-1].phase != "done":
        seen.append(trial.advance(0, lambda done, of: heard.append((done, of))))
    assert list(dict.fromkeys(one.phase for one in seen if one.phase not in ("training", "asking"))) == [
        "preparing",
        "drawing",
        "done",
    ]
    assert {"training", "asking"} <= {one.phase for one in seen}
    assert [one.step for one in seen] == sorted(one.step for one in seen)
    assert seen[-1].step == seen[-1].steps == seen[0].steps
    assert len(heard) == len(seen) - 1


def test_the_verdict_is_of_the_hold_out_with_a_trace_of_its_controls(undisturbed: Judged) -> None:
    assert undisturbed.comparison.verdict.kind == "cannot tell"  # of three parts
    assert undisturbed.without[0].types == ("bar",) * 3 + (None,) * 3
    assert undisturbed.trace is not None
    assert undisturbed.trace.groups == 2
    assert len(undisturbed.without) == len(undisturbed.with_them) == 1


def test_a_verdict_may_go_by_pixels(backbone: Backbone, learned: Learned, undisturbed: Judged) -> None:
    by_pixels = judged(Trial(backbone, learned, NORMALS, HOLD_OUT, replace(PLAN, metric="pixel AP")))
    assert by_pixels.comparison.verdict.metric == "pixel AP"
    assert by_pixels.comparison.rows == undisturbed.comparison.rows
    (row,) = (one for one in by_pixels.comparison.rows if one.name == "pixel AP")
    assert by_pixels.comparison.verdict.gain == pytest.approx(row.gain)


def test_killed_anywhere_and_taken_up_from_its_checkpoint_it_ends_the_same(
    backbone: Backbone, learned: Learned, undisturbed: Judged, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    draw = Trial._change
    monkeypatch.setattr(Trial, "_change", lambda *of: drawn.append(of[-1]) or draw(*of))
    trial, done = Trial(backbone, learned, NORMALS, HOLD_OUT, PLAN), 0
    while trial.advance(0).phase != "done":
        done += 1
        if done % 4 == 0:
            checkpoint = trial.checkpoint()
            trial = Trial(backbone, learned, NORMALS, HOLD_OUT, PLAN)
            trial.restore(checkpoint)
            while trial.progress.phase == "preparing":
                trial.advance(0)
    ended = trial.result()
    assert scores(ended) == scores(undisturbed)
    assert ended.trace == undisturbed.trace
    assert sorted(drawn) == [0, 1, 2, 3, 4], "something was drawn twice"


def test_a_checkpoint_while_it_prepares_loses_nothing(
    backbone: Backbone, learned: Learned, undisturbed: Judged
) -> None:
    trial = Trial(backbone, learned, NORMALS, HOLD_OUT, PLAN)
    for _ in range(7):
        trial.advance(0)
    for _ in range(2):
        checkpoint = trial.checkpoint()
        trial = Trial(backbone, learned, NORMALS, HOLD_OUT, PLAN)
        trial.restore(checkpoint)
        trial.advance(0)
    assert scores(judged(trial)) == scores(undisturbed)


def test_another_seed_draws_other_items(backbone: Backbone, learned: Learned, undisturbed: Judged) -> None:
    other = judged(Trial(backbone, learned, NORMALS, HOLD_OUT, replace(PLAN, seed=9)))
    assert scores(other) != scores(undisturbed)


def test_detectors_learn_from_items_on_good_photos_and_never_from_the_hold_out(
    backbone: Backbone, learned: Learned, monkeypatch: pytest.MonkeyPatch
) -> None:
    material = []

    def begun(of: trials.Material, *others: object) -> Contest:
        material.append(of)
        return Contest(of, Schooling(steps=1), 1)

    monkeypatch.setattr(trials, "Contest", begun)
    judged(Trial(backbone, learned, NORMALS, HOLD_OUT, PLAN))
    (of,) = material
    assert len(of.synthetic) == 3
    assert len(of.controls) == 2
    for pair, normal in zip(of.synthetic, NORMALS, strict=True):
        changed = pair.image != normal.image
        assert changed.any()
        assert (changed & ~pair.mask).sum() < changed.sum()
    for control, good in zip(of.controls, HOLD_OUT[3:], strict=False):
        assert np.array_equal(control.original, good.sample.image)
        changed = control.pair.image != control.original
        assert changed[control.pair.mask].mean() > 0.5
        assert not changed[~control.pair.mask].any()


def test_of_few_bits_in_sixteen_items_and_controls_look_as_the_photos_they_were_drawn_on(
    backbone: Backbone, learned: Learned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Photos of 12 bits, wider than what is taken of them: most places lie beside what is bright there."""

    def wide(seed: int) -> Sample:
        one = photo(seed, defect=False, size=(80, 1600))
        image = one.image.astype(np.uint16) << 2
        image[:, :60] = 4000
        return replace(one, image=image, mask=np.zeros(image.shape[:2], np.bool_))

    def drawn(_: Trial, is_control: bool, place: Place, number: int) -> Change:
        box = around(place.mask, 0)
        bright = place.image[box].copy()
        bright[place.mask[box]] = 2**16 - 1
        return Change(bright, place.mask[box], accepted=True)

    normals, good = [wide(seed) for seed in (100, 101)], [Held(wide(seed), None) for seed in (300, 301)]
    monkeypatch.setattr(Trial, "_change", drawn)
    trial = Trial(backbone, learned, normals, [*HOLD_OUT[:3], *good], PLAN)
    while trial.progress.phase in ("preparing", "drawing"):
        trial.advance(0)
    contest = trial._contest
    assert contest is not None
    usual = float(np.median(contest._normals[0].image))
    assert 25 < usual < 50
    seen = [*contest._synthetic, *(control.pair for control in contest._controls)]
    assert len(seen) == PLAN.count + PLAN.controls
    for pair in seen:
        assert pair.image.dtype == np.uint8
        assert float(np.median(pair.image[~pair.mask])) == pytest.approx(usual, abs=5)
        assert (pair.image[pair.mask] == 255).all()
    for control in contest._controls:
        outside = ~control.pair.mask
        assert np.array_equal(control.pair.image[outside], control.original[outside])


def test_ahead_of_each_photo_that_is_vetted_it_may_be_stopped(backbone: Backbone, learned: Learned) -> None:
    trial = Trial(backbone, learned, NORMALS, HOLD_OUT, PLAN)
    while trial.progress.step < PLAN.count + PLAN.controls:
        trial.advance(0)
    heard: list[int] = []

    def stop(done: int, of: int) -> None:
        heard.append(done)
        if len(heard) > len(SAMPLES) + len(NORMALS) + PLAN.count + len(HOLD_OUT):
            raise InterruptedError

    with pytest.raises(InterruptedError):
        trial.advance(3600, stop)
    assert trial.progress.phase == "preparing"
    assert set(heard) == {PLAN.count + PLAN.controls}


def accepting(monkeypatch: pytest.MonkeyPatch, numbers: set[int]) -> None:
    """Of what is drawn these are accepted."""
    draw = Trial._change

    def drawn(self: Trial, is_control: bool, place: Place, number: int) -> Change:
        return draw(self, is_control, place, number)._replace(accepted=is_control or number in numbers)

    monkeypatch.setattr(Trial, "_change", drawn)


def test_detectors_learn_from_no_item_that_a_data_set_leaves_out(
    backbone: Backbone, learned: Learned, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepting(monkeypatch, {1})
    material = []
    contest = trials.Contest

    def begun(of: trials.Material, *others: Any) -> Contest:
        material.append(of)
        return contest(of, *others)

    monkeypatch.setattr(trials, "Contest", begun)
    trial = Trial(backbone, learned, NORMALS, HOLD_OUT, PLAN)
    while trial.progress.phase in ("preparing", "drawing"):
        trial.advance(0)
    again = Trial(backbone, learned, NORMALS, HOLD_OUT, PLAN)
    again.restore(trial.checkpoint())
    for found in (judged(trial), judged(again)):
        assert "2 of 3 items were not accepted" in found.comparison.notes[0]
    assert [len(of.synthetic) for of in material] == [1, 1]
    assert (material[0].synthetic[0].image != NORMALS[1].image).any()


def test_a_type_of_which_no_item_is_accepted_cannot_be_judged(
    backbone: Backbone, learned: Learned, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepting(monkeypatch, set())
    with pytest.raises(TrialError, match="none of 3 items was accepted"):
        Trial(backbone, learned, NORMALS, HOLD_OUT, PLAN).advance(3600)


@pytest.mark.parametrize(
    ("normals", "hold_out", "why"),
    [
        ([], HOLD_OUT, "without good photos"),
        (NORMALS, HOLD_OUT[:3], "both defective photos and good ones"),
        (NORMALS, HOLD_OUT[3:], "both defective photos and good ones"),
    ],
)
def test_what_cannot_be_tried_is_refused_before_anything_is_drawn(
    backbone: Backbone, learned: Learned, normals: Sequence[Sample], hold_out: Sequence[Held], why: str
) -> None:
    with pytest.raises(TrialError, match=why):
        Trial(backbone, learned, normals, hold_out, PLAN)


def test_checkpoints_of_others_are_refused(backbone: Backbone, learned: Learned) -> None:
    trial = Trial(backbone, learned, NORMALS, HOLD_OUT, PLAN)
    with pytest.raises(TrialError, match="no checkpoint"):
        trial.restore(b"nonsense")
    other = Trial(backbone, learned, NORMALS, HOLD_OUT, replace(PLAN, count=4)).checkpoint()
    with pytest.raises(TrialError, match="another evaluation"):
        trial.restore(other)
