"""The runner of the logical benchmark, on a tiny backbone without meaning, and its measures."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench.logical.errors import Errors, errors, feature_error
from bench.logical.pairs import held, normals, samples
from bench.logical.pupil import DRAWN_WITH, lesson_of, taught
from bench.logical.run import DECODED, drawn, measured_type, references, strangers, summary
from bench.logical.variants import BLINDED, FULL, INPAINTING, UNSEEN, VARIANTS, WITHOUT_KEYS
from bench.logical.world import LogicalScene
from bench.logical.worlds import TYPES
from models.adapters import Adapter
from models.generation import Generator
from models.items import ItemRequest
from tests.models.tiny import tiny_backbone

SIDE = 64


def in_four_steps(adapter: Adapter) -> Adapter:
    return replace(adapter, card=replace(adapter.card, steps=4))


@pytest.fixture(scope="module")
def scenes() -> list[LogicalScene[Any]]:
    world, anomaly = TYPES["carried-over"]
    return list(held(world, anomaly, 4, 0, SIDE))


def test_the_truth_has_no_error_and_the_normal_image_has_some(scenes: list[LogicalScene[Any]]) -> None:
    scene = scenes[0]
    none = errors(scene.anomalous, scene.anomalous, scene.normal, scene.mask)
    some = errors(scene.normal, scene.anomalous, scene.normal, scene.mask)
    assert (none.colour, none.changed) == (0, 0)
    assert none.features == pytest.approx(0, abs=1e-3)
    assert some.colour > 10
    assert some.changed >= some.colour
    assert some.features > 0.1


def test_errors_count_the_region_alone(scenes: list[LogicalScene[Any]]) -> None:
    scene = scenes[0]
    far = scene.anomalous.copy()
    far[:4, :4] = 255 - far[:4, :4]
    assert errors(far, scene.anomalous, scene.normal, scene.mask).colour == 0


def test_features_tell_a_wrong_symbol_of_the_right_colour() -> None:
    world, anomaly = TYPES["wrong-symbol"]
    scene = world.render(0, 0, anomaly)
    grain = np.clip(scene.anomalous.astype(np.int16) + 1, 0, 255).astype(np.uint8)
    assert feature_error(scene.normal, scene.anomalous, scene.mask) > 3 * feature_error(
        grain, scene.anomalous, scene.mask
    )


def test_a_stranger_has_the_right_anomaly_of_another_product(scenes: list[LogicalScene[Any]]) -> None:
    for picture, scene in zip(strangers(scenes), scenes, strict=True):
        np.testing.assert_array_equal(picture[~scene.mask], scene.normal[~scene.mask])
    several = references(tiny_backbone(), scenes)
    assert set(several) == {"normal", "stranger", "decoded"}
    assert np.mean([one.colour for one in several["stranger"]]) > 5
    np.testing.assert_array_equal(strangers(scenes[:1])[0], scenes[0].anomalous)


def test_nothing_that_is_taught_is_judged() -> None:
    world, anomaly = TYPES["missing-cable"]
    pairs, good = samples(world, anomaly, 3, 0, 32), normals(world, anomaly, 3, 0, 32)
    seen = {sample.sha256 for sample in (*pairs, *good)}
    assert len(seen) == 6
    assert all(sample.mask.any() for sample in pairs)
    assert not any(sample.mask.any() for sample in good)
    shown = {one.image.tobytes() for one in (*pairs, *good)}
    for scene in held(world, anomaly, 3, 0, 32):
        assert not {scene.normal.tobytes(), scene.anomalous.tobytes()} & shown


def test_variants_differ_in_what_they_go_without() -> None:
    assert VARIANTS[FULL].taught == VARIANTS[BLINDED].taught
    assert VARIANTS[BLINDED].drawn == VARIANTS[WITHOUT_KEYS].drawn
    assert not VARIANTS[WITHOUT_KEYS].taught.background_keys
    plain = VARIANTS[INPAINTING]
    assert not plain.background
    assert not plain.taught.masked_self
    assert not plain.taught.masked_cross
    assert plain.taught.background_keys


def test_a_type_is_taught_by_its_pairs_repeatably_and_each_variant_otherwise(
    scenes: list[LogicalScene[Any]],
) -> None:
    backbone = tiny_backbone()
    world, anomaly = TYPES["carried-over"]
    pairs, good = samples(world, anomaly, 2, 0, SIDE), normals(world, anomaly, 2, 0, SIDE)

    def learned(name: str) -> tuple[torch.Tensor, np.ndarray[Any, Any]]:
        variant = VARIANTS[name]
        lesson = lesson_of(anomaly, world.part, 0, variant, {"steps": 2})
        adapter = in_four_steps(taught(backbone, lesson, pairs, good, {}, variant, DRAWN_WITH))
        generator = Generator(backbone, outside=variant.outside, ablation=variant.drawn)
        (item,) = drawn(generator, adapter, scenes[0], [0])
        return adapter.tokens, item

    tokens, item = learned(FULL)
    again, same = learned(FULL)
    assert torch.equal(tokens, again)
    np.testing.assert_array_equal(item, same)
    np.testing.assert_array_equal(item[~scenes[0].mask], scenes[0].normal[~scenes[0].mask])
    assert not torch.equal(tokens, learned(WITHOUT_KEYS)[0])
    assert not torch.equal(tokens, learned(INPAINTING)[0])
    assert not torch.equal(tokens, learned(UNSEEN)[0])


def test_what_sees_no_background_draws_the_same_on_any(scenes: list[LogicalScene[Any]]) -> None:
    backbone = tiny_backbone()
    world, anomaly = TYPES["carried-over"]
    pairs = samples(world, anomaly, 2, 0, SIDE)
    scene = scenes[0]
    other = np.where(scene.mask[..., None], scene.normal, 255 - scene.normal)
    for name, alike in ((UNSEEN, True), (FULL, False)):
        variant = VARIANTS[name]
        lesson = lesson_of(anomaly, world.part, 0, variant, {"steps": 2})
        adapter = in_four_steps(taught(backbone, lesson, pairs, (), {}, variant, DRAWN_WITH))
        generator = Generator(backbone, outside=variant.outside, ablation=variant.drawn)
        requests = [ItemRequest.by_default(image, scene.mask, adapter, 3) for image in (scene.normal, other)]
        drawings = [decoded[0].drawing for decoded in generator.decoded(requests)]
        first, second = (drawing.z[:, drawing.mask[0] > 0] for drawing in drawings)
        assert torch.equal(first, second) == alike


def test_a_type_is_measured_in_all_rows_with_a_sheet(tmp_path: Path) -> None:
    arguments = argparse.Namespace(
        severity=1.0, guidance=1.0, seed_share=1.0, side=SIDE, seed=0, lines=1, pairs=2, normals=1,
        lesson=[("steps", 1)], scenes=2, items=1, shown=2,
    )  # fmt: skip
    found = measured_type(tiny_backbone(), "underfilled", VARIANTS, arguments, tmp_path, {})
    assert set(found) == {"normal", "stranger", "decoded", *VARIANTS}
    assert all(len(values) == 2 for values in found.values())
    with Image.open(tmp_path / "underfilled-0.jpg") as sheet:
        assert sheet.size == ((3 + len(VARIANTS)) * (SIDE + 4), 2 * (SIDE + 4) + 18)


def test_ratios_are_those_of_the_means_with_their_intervals() -> None:
    rng = np.random.default_rng(0)
    half = [Errors(x, x, x) for x in rng.uniform(0.9, 1.1, 40)]
    whole = [Errors(2 * x, x, 4 * x) for x in rng.uniform(0.9, 1.1, 40)]
    figures = summary({FULL: half, WITHOUT_KEYS: whole})
    assert figures["colour"]["ratios"][WITHOUT_KEYS]["ratio"] == pytest.approx(0.5, rel=0.05)
    low, high = figures["features"]["ratios"][WITHOUT_KEYS]["interval"]
    assert low < 0.25 < high
    assert "above" not in figures["colour"]["ratios"][WITHOUT_KEYS]
    assert INPAINTING not in figures["colour"]["ratios"]
    floor = [Errors(one.colour / 2, 0, 0) for one in half]
    above = summary({FULL: half, WITHOUT_KEYS: whole, DECODED: floor})["colour"]["ratios"][WITHOUT_KEYS]["above"]
    assert above == pytest.approx(1 / 3, rel=0.1)
