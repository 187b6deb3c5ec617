"""Rendered lines: what is shown keeps the rule or breaks it, and the truth is that of the same image."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest

from bench.logical.bottles import PRODUCTS, Bottles
from bench.logical.colours import lab
from bench.logical.connectors import CABLES, Connectors
from bench.logical.labels import NONE, Label, Labels, count_of
from bench.logical.studio import Studio
from bench.logical.symbols import SYMBOLS, symbol
from bench.logical.trays import Trays
from bench.logical.world import STREAM, LogicalScene, World
from bench.logical.worlds import TYPES, WORLDS
from models.windows import plan


@pytest.fixture(scope="module", params=TYPES)
def scene(request: pytest.FixtureRequest) -> LogicalScene[Any]:
    world, anomaly = TYPES[request.param]
    return world.render(3, 1, anomaly)


def studio(world: World[Any], index: int, line: int) -> Studio:
    return Studio((STREAM, world.number, line), (STREAM, world.number, line, index))


@pytest.mark.parametrize("name", WORLDS)
def test_the_same_image_of_a_line_has_the_same_bits_and_another_has_not(name: str) -> None:
    world = WORLDS[name]
    once, again, other = (world.render(i, 2, world.anomalies[0]) for i in (5, 5, 6))
    for field in ("normal", "anomalous", "mask", "cue"):
        np.testing.assert_array_equal(getattr(once, field), getattr(again, field))
    assert (once.kept, once.broken) == (again.kept, again.broken)
    assert (once.normal != other.normal).any()


@pytest.mark.parametrize("name", TYPES)
def test_normal_images_keep_the_rule_and_anomalous_ones_break_it(name: str) -> None:
    world, anomaly = TYPES[name]
    for index in range(40):
        where = studio(world, index, index % 4)
        kept = world.arranged(where)
        broken = world.breaking(where, kept, anomaly)
        assert world.holds(kept)
        assert not world.holds(broken)


@pytest.mark.parametrize("name", ["carried-over", "underfilled", "label-swapped", "wrong-kit", "thing-for-cap",
                                  "wrong-ink", "wrong-symbol", "missing-mark", "extra-mark"])  # fmt: skip
def test_what_the_rest_of_the_image_shows_tells_the_anomaly(name: str) -> None:
    world, anomaly = TYPES[name]
    found = defaultdict(set)
    for index in range(40):
        where = studio(world, index, 0)
        kept = world.arranged(where)
        found[kept].add(world.breaking(where, kept, anomaly))
    assert len(found) >= 3
    assert all(len(broken) == 1 for broken in found.values())
    assert len({one for broken in found.values() for one in broken}) == len(found)


def test_the_truth_is_the_normal_image_outside_the_region(scene: LogicalScene[Any]) -> None:
    differs = (scene.anomalous != scene.normal).any(axis=2)
    assert not (differs & ~scene.mask).any()
    assert (differs & scene.mask).sum() > 0.1 * scene.mask.sum()
    assert 0.01 < scene.mask.mean() < 0.5


def test_the_change_fades_out_within_the_region(scene: LogicalScene[Any]) -> None:
    inner = scene.mask.copy()
    for axis in (0, 1):
        for step in (-1, 1):
            inner &= np.roll(scene.mask, step, axis)
    edge = scene.mask & ~inner
    change = np.abs(scene.anomalous.astype(np.int16) - scene.normal).max(axis=2)
    assert np.quantile(change[edge], 0.9) <= 8


def test_the_cue_lies_outside_the_region_and_in_the_window_in_which_it_is_drawn(scene: LogicalScene[Any]) -> None:
    assert scene.cue.any()
    assert not (scene.cue & scene.mask).any()
    (plot,) = plan(scene.mask, 128, 32, whole=True)
    (window,) = plot.windows
    seen = scene.cue[window.y : window.y + window.side, window.x : window.x + window.side]
    assert seen.sum() == scene.cue.sum()


def test_a_larger_image_shows_the_same_scene() -> None:
    for world in WORLDS.values():
        small, large = (world.render(0, 0, side=side) for side in (64, 128))
        assert large.normal.shape == (128, 128, 3)
        assert small.kept == large.kept
        assert small.mask.mean() == pytest.approx(large.mask.mean(), rel=0.25)


def test_anomalies_take_turns_and_unknown_ones_are_refused() -> None:
    world = Labels()
    assert [world.render(i, side=32).anomaly for i in range(4)] == list(world.anomalies)
    with pytest.raises(ValueError, match="wrong-ink"):
        world.render(0, anomaly="upside-down")


def test_products_of_a_line_look_different_and_its_words_do_not_tell_them() -> None:
    world = Bottles()
    where = studio(world, 0, 0)
    palette = lab(where.palette(PRODUCTS))
    assert min(np.linalg.norm(palette[i] - palette[j]) for i in range(PRODUCTS) for j in range(i)) > 15
    scenes = [world.render(i, 0, side=32) for i in range(12)]
    assert len({scene.kept.label for scene in scenes}) > 1
    assert len({scene.part for scene in scenes}) == 1


def test_the_juice_in_the_picture_is_the_one_that_the_state_names() -> None:
    world = Bottles()
    for index in range(6):
        scene = world.render(index, 3, "carried-over")
        hues = _hues(studio(world, index, 3).palette(PRODUCTS, (0.4, 0.82)))
        region = scene.mask & (scene.normal != scene.anomalous).any(axis=2)
        for picture, juice in ((scene.normal, scene.kept.juice), (scene.anomalous, scene.broken.juice)):
            (hue,) = _hues(np.median(picture[region] / 255, axis=0)[None])
            assert int(np.argmin(_turn(hues, hue))) == juice


def test_a_doubled_cable_has_the_hue_of_the_cable_above_it() -> None:
    world = Connectors()
    for index in range(4):
        scene = world.render(index, 1, "doubled-colour")
        (wrong,) = (i for i in range(CABLES) if scene.kept.cables[i] != scene.broken.cables[i])
        assert scene.broken.cables[wrong] == scene.kept.cables[wrong - 1]
        change = scene.mask & (np.abs(scene.anomalous.astype(np.int16) - scene.normal).max(axis=2) > 8)
        above, here = (
            _hues(np.median(scene.anomalous[where] / 255, axis=0)[None])[0] for where in (scene.cue, change)
        )
        assert _turn(above, here) < 0.5


def test_a_missing_thing_leaves_its_place_empty_and_others_full() -> None:
    scene = Trays().render(0, 0, "missing-thing", side=32)
    assert len(set(scene.kept.things)) == 1
    assert sum(a != b for a, b in zip(scene.kept.things, scene.broken.things, strict=True)) == 1


def test_as_many_marks_as_dots_is_the_rule_of_labels() -> None:
    count = count_of(2)
    right = tuple(2 if slot < count else NONE for slot in range(5))
    assert Labels().holds(Label(2, right, right))
    assert not Labels().holds(Label(2, right[:1] + right, right[:1] + right))
    assert not Labels().holds(Label(1, right, right))


@pytest.mark.parametrize("name", SYMBOLS)
def test_symbols_fill_their_circle_and_stay_in_it(name: str) -> None:
    y, x = (np.mgrid[-30:31, -30:31] + 0.0).astype(np.float32)
    inside = symbol(name, y, x, 20) < 0
    reach = np.hypot(y, x)[inside].max()
    assert 14 < reach <= 27
    assert 0.1 < inside.sum() / (np.pi * 20**2) < 0.9


def _hues(rgb: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(n,) in radians."""
    a, b = lab(rgb)[:, 1:].T
    return np.arctan2(b, a)


def _turn(one: Any, other: Any) -> Any:
    return np.abs((one - other + np.pi) % (2 * np.pi) - np.pi)
