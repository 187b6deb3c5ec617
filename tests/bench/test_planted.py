"""Planted cases are what they say, so that their verdicts mean something."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

from bench import planted
from bench.planted import CASES, Case, judged
from models.backbone import Backbone
from models.evaluation.contest import Held, Material
from models.levels import Pixels
from tests.models.evaluation.discs import held, pair

FAINT = 30.0
BASE = Material(
    real=[pair(i, "bar") for i in range(6)],
    normals=[pair(i, "") for i in range(50, 70)],
    synthetic=[pair(i, "hole", FAINT) for i in range(10, 30)],
    hold_out=[*held(range(200, 212), "hole", FAINT), *held(range(300, 312), "")],
)
ARGUMENTS = argparse.Namespace(seed=0, steps=1, detectors=1, backbone="flawsmith-small-1")


@pytest.fixture
def discs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos that are small, and there on every machine."""
    monkeypatch.setattr(planted, "_base", lambda name="discs": BASE)
    monkeypatch.setitem(planted.SETS, planted._TILES, ("plate", ("bar", "hole")))


def named(name: str) -> Case:
    (case,) = (one for one in CASES if one.name == name)
    return case


def test_there_are_six_faults_and_four_good_cases() -> None:
    assert len({case.name for case in CASES}) == 10
    assert [case.right for case in CASES].count(("helps",)) == 4


@pytest.mark.usefixtures("discs")
@pytest.mark.parametrize("name", ["copies of real pairs", "leaked hold-out", "shifted normals", "tiny hold-out"])
def test_faults_that_show_before_training_get_the_right_verdict(name: str) -> None:
    by_images, by_pixels = judged(named(name), ARGUMENTS)
    assert [by_images["metric"], by_pixels["metric"]] == ["image AUROC", "pixel AP"]
    for row in (by_images, by_pixels):
        assert row["right"], row["reasons"]


@pytest.mark.usefixtures("discs")
def test_a_verdict_without_its_reason_is_not_right() -> None:
    case = Case("copies", ("do not use",), "some other reason", named("copies of real pairs").plant)
    for row in judged(case, ARGUMENTS):
        assert row["verdict"] == "do not use"
        assert not row["right"]


@pytest.mark.usefixtures("discs")
def test_where_a_worth_is_known_by_pixels_alone_images_need_not_tell_it() -> None:
    told = Case("tiny", ("helps",), "", named("tiny hold-out").plant, told_by=("pixel AP",))
    by_images, by_pixels = judged(told, ARGUMENTS)
    assert [by_images["verdict"], by_pixels["verdict"]] == ["cannot tell", "cannot tell"]
    assert [by_images["right"], by_pixels["right"]] == [True, False]


@pytest.mark.usefixtures("discs")
def test_useless_pairs_have_labels_and_nothing_in_them() -> None:
    made = named("useless").plant(ARGUMENTS).synthetic
    photos = {one.image.tobytes() for one in BASE.normals}
    assert len(made) == 80
    assert all(one.image.tobytes() in photos and one.mask.any() and one.type for one in made)


@pytest.mark.usefixtures("discs")
def test_a_tiny_hold_out_has_four_defective_parts() -> None:
    kept = named("tiny hold-out").plant(ARGUMENTS).hold_out
    assert len({one.sample.group or one.sample.sha256 for one in kept if one.type}) == 4


@pytest.mark.parametrize("shape", [(100, 120), (300, 400)])
def test_the_trace_lies_in_the_label_alone(shape: tuple[int, int]) -> None:
    backbone = Backbone.load("flawsmith-small-1")
    image: Pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    made = planted._traced(backbone, image, np.random.default_rng(1))
    changed = made.image != image
    assert changed.any()
    assert not (changed & ~made.mask).any()


@pytest.mark.parametrize("surface", ["metal", "ceramic"])
def test_rendered_scenes_are_each_of_a_part_of_their_own(surface: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planted, "_SIDE", 48)
    made = named(f"unseen rendered {surface}").plant(ARGUMENTS)
    lots: list[list[Pixels]] = [
        [one.image for one in made.real],
        [one.image for one in made.normals],
        [one.image for one in made.synthetic],
        [one.sample.image for one in made.hold_out],
    ]
    images = [image.tobytes() for lot in lots for image in lot]
    assert len(set(images)) == len(images)
    assert {one.type for one in made.hold_out} == {None, *planted._RENDERED}
    assert all(isinstance(one, Held) and (one.type is None) != one.sample.mask.any() for one in made.hold_out)
