"""Whether what is drawn faster is as good: the same places for all, drawn once, judged alike."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.rendered import adapters_of
from bench.speed import quality, run
from bench.speed.pipeline import Setting
from bench.speed.quality import EQUAL, REFERENCE, SCORES, SHIPPED, TRUTH, Contest, holding, ways
from bench.speed.reference import Reference
from bench.speed.workloads import scenes
from models.adapters import Adapter
from models.backbone import Backbone
from service.images.decoding import read_canonical
from tests.models.tiny import tiny_adapter, tiny_backbone

FEW = Setting(steps=4, severity=0.5, guidance=1.0)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return tiny_backbone()


@pytest.fixture(scope="module")
def adapter(backbone: Backbone) -> Adapter:
    return tiny_adapter(backbone)


def arguments(out: Path, count: int) -> argparse.Namespace:
    return argparse.Namespace(quality=count, seed=0, device="cpu", dtype="float32", out=out)


def test_a_scene_asks_for_a_defect_where_one_was_rendered_and_sends_the_part_without_it() -> None:
    for scene, again in zip(islice(scenes("dent", 1), 6), islice(scenes("dent", 1), 6), strict=True):
        assert scene.truth.mask.any()
        assert not (scene.truth.mask & ~scene.mask).any()
        assert scene.mask.tobytes() == again.mask.tobytes()
        np.testing.assert_array_equal(read_canonical(scene.frame.png).pixels, scene.truth.normal)


def test_who_draws_nothing_is_far_from_rendered_defects_however_good_its_seams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "HELD", 30)
    bundled = Backbone.load("flawsmith-small-1")
    (hole,) = adapters_of("flawsmith-small-1", ["hole"])
    contest = Contest(arguments(tmp_path, 10), bundled, hole, {})
    there = list(islice(scenes("hole", 0), 10))
    rendered, nothing = [one.truth.image for one in there], [one.truth.normal for one in there]
    figures = contest.figures({TRUTH: rendered, REFERENCE: rendered, "nothing": nothing, SHIPPED: rendered})
    alike, scored, holds = figures["likeness"], figures["scores"], figures["holds"][REFERENCE]
    assert {one["by"] for one in alike.values()} == {"energy"}
    assert alike["nothing"]["distance"]["its interval"][1] < 0 < alike["nothing"]["distance"]["value"]
    assert holds["nothing"]["distance"] == holds["nothing"]["presence"] == holds["nothing"]["quality"] == "no"
    assert holds["nothing"]["seam"] == "yes"
    assert scored["nothing"]["seam"]["value"] == 1
    assert set(holds[SHIPPED].values()) == {"yes"}
    assert {one["background"] for one in scored.values()} == {0}
    assert np.isnan(scored["nothing"]["realism"]["value"])
    assert scored[TRUTH] == scored[SHIPPED]


def test_a_difference_outside_a_request_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "HELD", 4)
    bundled = Backbone.load("flawsmith-small-1")
    (hole,) = adapters_of("flawsmith-small-1", ["hole"])
    images = [one.truth.image.copy() for one in islice(scenes("hole", 0), 2)]
    off = [image.copy() for image in images]
    off[1][0, 0] ^= 8
    rows = Contest(arguments(tmp_path, 2), bundled, hole, {}).figures(
        {TRUTH: images, REFERENCE: images, "off": off}
    )
    assert rows["scores"]["off"]["background"] == 8


def test_a_figure_holds_in_the_references_interval_or_beyond_its_better_end_or_where_rendered_defects_are() -> (
    None
):
    def likeness(value: float, low: float, high: float) -> dict[str, Any]:
        return {"distance": {"value": value, "interval": (low, high)}}

    def scores(value: float, low: float, high: float) -> dict[str, Any]:
        return {key: {"value": value, "interval": (low, high)} for key in SCORES}

    alike = {
        TRUTH: likeness(0, -1, 1),
        REFERENCE: likeness(3, 2, 4),
        "nearer": likeness(1, 0, 2),
        "farther": likeness(4.1, 3, 5),
    }
    scored = {
        TRUTH: scores(0.5, 0.4, 0.6),
        REFERENCE: scores(0.8, 0.7, 0.9),
        "nearer": scores(0.45, 0.3, 0.6),
        "farther": scores(0.39, 0.3, 0.5),
    }
    assert holding(alike, scored, REFERENCE) == {
        "nearer": {"distance": "yes"} | dict.fromkeys(SCORES, "as rendered"),
        "farther": {"distance": "no"} | dict.fromkeys(SCORES, "no"),
    }
    assert holding(alike, scored, "nearer") == {"farther": {"distance": "no"} | dict.fromkeys(SCORES, "yes")}


def test_items_are_drawn_once_and_anew_only_by_another_setting(
    backbone: Backbone, adapter: Adapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "HELD", 0)
    reference = Reference(backbone, FEW.steps, FEW.severity, FEW.guidance)
    calls: list[object] = []

    def counted(who: Reference | Backbone) -> Callable[..., torch.Tensor]:
        predict = who.predict_noise

        def predicted(*given: Any) -> torch.Tensor:
            calls.append(who)
            return predict(*given)

        return predicted

    for who in (reference, backbone):
        monkeypatch.setattr(who, "predict_noise", counted(who))

    def drawn(shipped: Setting) -> dict[str, Any]:
        calls.clear()
        contest = Contest(arguments(tmp_path, 2), backbone, adapter, {EQUAL: FEW, SHIPPED: shipped})
        return contest.drawn(reference, backbone, FEW)

    first = drawn(Setting(2, 0.5, 1.0))
    assert reference in calls
    assert backbone in calls
    again = drawn(Setting(2, 0.5, 1.0))
    assert not calls
    for name, images in first.items():
        for image, other, scene in zip(images, again[name], scenes("scratch", 0), strict=False):
            np.testing.assert_array_equal(image, other)
            changed = (np.asarray(image) != scene.truth.normal).any(axis=2)
            assert not (changed & ~scene.mask).any()
    assert any((one != other).any() for one, other in zip(first[EQUAL], first[SHIPPED], strict=True))
    drawn(Setting(3, 0.5, 1.0))
    assert backbone in calls
    assert reference not in calls


def test_a_try_begins_as_its_type_does() -> None:
    scratch, stain = adapters_of("flawsmith-small-1", ["scratch", "stain"])
    tries = [(8.0, 0.5, 1.0)]
    assert ways(scratch, FEW, tries)["8 steps, 0.5, 1"] == Setting(8, 0.5, 1.0, noise=False)
    assert ways(stain, FEW, tries)["8 steps, 0.5, 1"] == Setting(8, 0.5, 1.0, noise=True)
    assert ways(scratch, FEW, [])[EQUAL] == FEW


def test_the_command_tells_of_quality_alone_and_leaves_a_sheet(
    backbone: Backbone,
    adapter: Adapter,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(quality, "HELD", 4)
    monkeypatch.setattr(quality, "adapters_of", lambda *_: [adapter])
    monkeypatch.setattr(run, "STEPS", 4)
    monkeypatch.setattr(Backbone, "load", lambda *_: backbone)
    argv = ["speed", "--workloads", "--quality", "3", "--try", "2", "0.5", "1.75", "--device", "cpu"]
    monkeypatch.setattr("sys.argv", [*argv, "--out", str(tmp_path)])
    run.main()
    said = capsys.readouterr().out
    assert "pass bound" not in said
    for who in ("rendered", "reference", "equal steps", "shipped", "2 steps, 0.5, 1.75"):
        assert said.count(f"\n{who} ") >= (2 if who in ("rendered", "reference") else 3)
    assert (tmp_path / "scratch.png").is_file()


def test_a_setting_is_drawn_as_if_it_were_the_types_own() -> None:
    (scratch,) = adapters_of("flawsmith-small-1", ["scratch"])
    image = read_canonical(next(scenes("scratch", 0)).frame.png)
    mask = np.ones((128, 128), np.bool_)
    shipped = Setting.shipped(scratch).asking(scratch)(image, mask, 3)
    assert (shipped.adapter.card, shipped.begins_on, shipped.seed) == (scratch.card, "sketch", 3)
    other = Setting(50, 0.6, 1.0).asking(scratch)(image, mask, 3)
    assert other.severity == other.adapter.card.severity == 0.6
    assert other.begins_on == "noise"
