"""The evidence: every method's pairs, the same detector, stages that are done once."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from bench.promises.pairs import data_folder
from bench.quality.figures import figures
from bench.quality.kit import Kit, loosened
from bench.quality.methods import OURS, PASTE, Studio, Taught
from bench.quality.perlin import perlin
from bench.quality.stages import Stage, keep_outcomes, keep_pair, kept_outcomes, kept_pairs, missing_pairs
from bench.quality.table import BESIDE, TEACH, Table, arms
from models.backbone import Backbone
from models.evaluation.metrics import METRICS
from models.evaluation.outcomes import Outcomes
from models.evaluation.segmenter import Pair

with_photos = pytest.mark.skipif(data_folder() is None, reason="the real images are not here")


def arguments(out: Path) -> argparse.Namespace:
    return argparse.Namespace(
        backbone="flawsmith-small-1",
        seed=0,
        methods=[PASTE],
        count=3,
        seeds=1,
        steps=2,
        on="extra",
        controls=2,
        out=out,
    )


@with_photos
@pytest.mark.slow
def test_a_table_is_made_once_and_goes_on_where_it_was(tmp_path: Path) -> None:
    table = Table("crackforest", arguments(tmp_path))
    assert table.to_do() == (3, 3)
    backbone = Backbone.load("flawsmith-small-1")
    table.make(backbone)
    lost = next(tmp_path.glob("pairs-*-paste-*/0001.mask.png"))
    before = lost.read_bytes()
    lost.unlink()
    assert table.to_do() == (1, 3)
    table.make(backbone)
    assert lost.read_bytes() == before
    found = table.judge()
    assert table.to_do() == (0, 0)
    assert set(found) == {arm.name for arm in arms([PASTE])} - {"all real"}
    again = Table("crackforest", arguments(tmp_path)).judge()
    rows = figures(found)
    assert rows == figures(again)
    for row in rows.values():
        assert set(row) > {*METRICS, "escapes of crack", "escapes of small"}
        for one in row.values():
            low, high = one["interval"]
            assert low <= one["value"] <= high or np.isnan(one["value"])


def outcomes(skill: float, seed: int) -> Outcomes:
    rng = np.random.default_rng(7)
    noise = np.random.default_rng([7, seed]).normal(size=40)
    areas = np.repeat([5.0, 0.0], 20)
    nothing = np.zeros((40, 4))
    return Outcomes(
        hits=rng.random((40, 4)) * (areas > 0)[:, None],
        alarms=rng.random((40, 4)),
        overlaps=nothing,
        regions=np.ones(40),
        image=noise + skill * (areas > 0),
        types=("a",) * 20 + (None,) * 20,
        named=("a",) * 40,
        areas=areas,
        groups=tuple(map(str, range(40))),
    )


def test_a_better_method_is_ahead_and_an_equal_one_is_not() -> None:
    found = {
        BESIDE + OURS: [outcomes(3.0, 1)],
        TEACH: [outcomes(0.3, 2)],
        BESIDE + PASTE: [outcomes(3.0, 3)],
    }
    rows = figures(found)
    low, _ = rows[TEACH]["image AUROC"]["its interval"]
    assert low > 0
    low, high = rows[BESIDE + PASTE]["image AUROC"]["its interval"]
    assert low < 0 < high
    assert "ours less" not in rows[BESIDE + OURS]["image AUROC"]


def test_outcomes_and_pairs_are_kept_as_they_are(tmp_path: Path) -> None:
    one, other = (Stage(tmp_path, "stage", {"seed": seed}) for seed in (1, 2))
    assert one.folder != other.folder
    assert kept_outcomes(one) is None
    keep_outcomes(one, outcomes(1.0, 1))
    read = kept_outcomes(one)
    assert read is not None
    for key, value in vars(outcomes(1.0, 1)).items():
        assert np.array_equal(getattr(read, key), value), key
    assert read.types == outcomes(1.0, 1).types
    for image in (np.arange(48, dtype=np.uint8).reshape(4, 4, 3), np.arange(16, dtype=np.uint16).reshape(4, 4)):
        mask = np.eye(4, dtype=np.bool_)
        keep_pair(other, 1, Pair(image, mask, "a"))
        assert missing_pairs(other, 2) == [0]
        keep_pair(other, 0, Pair(image, mask, "a"))
        pair = list(kept_pairs(other, "a", 2))[1]
        assert np.array_equal(pair.image, image)
        assert np.array_equal(pair.mask, mask)
        for file in other.folder.iterdir():
            file.unlink()


@pytest.mark.parametrize("times", [2.0, 3.5])
def test_a_request_holds_the_mask_and_has_so_many_times_its_area(times: float) -> None:
    mask = np.zeros((60, 80), np.bool_)
    mask[20:30, 30:50] = True
    loose = loosened(mask, times)
    assert loose[mask].all()
    assert loose.sum() == pytest.approx(times * mask.sum(), rel=0.2)
    assert loosened(mask, 1000.0).all()


@pytest.mark.parametrize("shape", [(70, 90), (70, 90, 3)])
def test_textures_lie_in_their_mask_alone(shape: tuple[int, ...]) -> None:
    image = np.full(shape, 120, np.uint8)
    drawn, mask = perlin(image, np.random.default_rng(1))
    assert drawn.shape == shape
    assert mask.sum() >= 20
    assert (drawn[~mask] == 120).all()
    assert (drawn[mask] != 120).any()


@with_photos
@pytest.mark.nightly
def test_a_type_is_taught_once_for_all_that_only_draw_otherwise(tmp_path: Path) -> None:
    kit = Kit("crackforest", "road surface", "crack", 0)
    kit.__dict__ |= {"samples": kit.samples[:3], "few_normals": kit.normals[:2]}
    heard: list[int] = []
    studio = Studio(Backbone.load("flawsmith-small-1"), tmp_path, lambda done, _: heard.append(done))
    places = list(enumerate(kit.places(1)))
    lesson = {"steps": 1, "places": 1, "items": 1, "crops": 1, "normal_crops": 4}
    (pair,) = Taught(lesson)(studio, kit, places)
    assert heard
    heard.clear()
    (labelled_as_asked,) = Taught(lesson, refined=False)(studio, kit, places)
    assert not heard
    assert np.array_equal(labelled_as_asked.image, pair.image)
    assert np.array_equal(labelled_as_asked.mask, places[0][1].mask)
    assert (pair.mask <= labelled_as_asked.mask).all()
