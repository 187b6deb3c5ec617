"""The evidence: every method's pairs, the same detector, stages that are done once."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from bench.data import NAMES, read_samples
from bench.distances import Vectors, energy, kernel_distance
from bench.intervals import half_sampled
from bench.promises.pairs import data_folder
from bench.quality.chores import work
from bench.quality.costs import Cost, costs, metered
from bench.quality.figures import figures
from bench.quality.kit import Kit
from bench.quality.likeness import Reality, Seen, likeness
from bench.quality.methods import OURS, PASTE, Studio, Taught
from bench.quality.perlin import perlin
from bench.quality.plan import hours_left, steps_left
from bench.quality.run import sources
from bench.quality.sources import GOOD, BuiltIn, Folder, Source
from bench.quality.stages import (
    ASKING,
    DESCRIBING,
    FLATTENING,
    LEARNING,
    MAKING,
    ROOT,
    Stage,
    keep_outcomes,
    keep_pair,
    kept_outcomes,
    kept_pairs,
    missing_pairs,
)
from bench.quality.table import BESIDE, TEACH, Table, arms
from models.backbone import Backbone
from models.evaluation.metrics import METRICS
from models.evaluation.outcomes import Outcomes
from models.evaluation.segmenter import Pair
from models.samples import Sample

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
        device="cpu",
        out=out,
    )


@with_photos
@pytest.mark.slow
def test_a_table_is_made_once_and_goes_on_where_it_was(tmp_path: Path) -> None:
    table = Table(BuiltIn("crackforest"), arguments(tmp_path))
    assert table.to_do() == (3, 3)
    left = [steps_left(table)]
    backbone = Backbone.load("flawsmith-small-1")
    work(table.making(backbone), tmp_path / "begun")
    lost = next(tmp_path.glob("pairs-*-paste-*/0001.mask.png"))
    before = lost.read_bytes()
    lost.unlink()
    cost = table.costs()[PASTE]
    assert (cost["items"], "times" in cost) == (3, False)
    assert cost["seconds"] > 0
    assert table.to_do() == (1, 3)
    work(table.making(backbone), tmp_path / "begun")
    assert lost.read_bytes() == before
    left.append(steps_left(table))
    found = table.judge()
    assert table.to_do() == (0, 0)
    left.append(steps_left(table))
    assert left[0] > left[1] > left[2]
    assert left[1] - left[2] == 3 * 2  # steps of three detectors
    assert set(found) == {arm.name for arm in arms([PASTE])} - {"all real"}
    (row,) = table.likeness()["crack"].values()
    assert (row["pairs"], row["by"]) == (3, "energy")
    assert row["real"] == len(read_samples("crackforest", "crack", "extra"))
    other = Table(BuiltIn("crackforest"), arguments(tmp_path))
    assert other.likeness()["crack"] == {PASTE: row}
    again = other.judge()
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
    one, other = (Stage(tmp_path, "stage", {"seed": seed}, MAKING) for seed in (1, 2))
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


def cloud(count: int, centre: float, seed: int, width: float = 1.0) -> Vectors:
    """(count, 6) around a centre."""
    return np.random.default_rng(seed).normal(centre, width, (count, 6))


def seen(vectors: Vectors) -> Seen:
    return Seen(vectors, np.arange(len(vectors)))


def reality(count: int) -> Reality:
    return Reality(cloud(count, 0.0, 1), tuple(map(str, range(count))), np.full(6, 2.0))


@pytest.mark.parametrize(("count", "by", "distance"), [(50, "KID", kernel_distance), (49, "energy", energy)])
def test_the_nearer_method_and_the_more_various_one_are_told_from_the_others(
    count: int, by: str, distance: Callable[[Vectors, Vectors], float]
) -> None:
    real = reality(60)
    ours, far, alike = cloud(count, 0.1, 2), cloud(count, 2.0, 3), cloud(count, 0.0, 4, width=0.2)
    rows = likeness(real, {OURS: seen(ours), "far": seen(far), "alike": seen(alike)}, count)
    assert {one["by"] for one in rows.values()} == {by}
    assert rows[OURS]["distance"]["value"] == pytest.approx(distance(ours / 2, real.vectors / 2))
    assert rows["far"]["distance"]["its interval"][1] < 0
    assert rows["alike"]["diversity"]["its interval"][0] > 0
    low, high = rows[OURS]["diversity"]["interval"]
    assert low < rows[OURS]["diversity"]["value"] < high
    assert rows[OURS]["diversity"]["value"] == pytest.approx(1, abs=0.2)
    assert "ours less" not in rows[OURS]["distance"]


def test_methods_are_compared_by_one_measure_alone_and_pairs_without_a_label_are_left_out() -> None:
    few = Seen(cloud(40, 0.0, 5), np.arange(0, 80, 2))
    none = Seen(np.empty((0, 6)), np.arange(0))
    rows = likeness(reality(60), {OURS: seen(cloud(80, 0.0, 2)), "few": few, "none": none}, 80)
    assert (rows["few"]["by"], rows["few"]["pairs"]) == ("energy", 40)
    assert rows["few"]["distance"]["value"] == pytest.approx(energy(few.vectors / 2, reality(60).vectors / 2))
    assert "ours less" not in rows["few"]["distance"]
    assert "ours less" in rows["few"]["diversity"]
    assert np.isnan(rows["none"]["distance"]["value"])


def test_an_interval_by_halves_is_as_wide_as_a_mean_varies() -> None:
    means = np.array([cloud(200, 0.0, seed)[:, 0].mean() for seed in range(300)])
    values = cloud(200, 0.0, 1)[:, 0]
    ((low, high), *_) = half_sampled([200], lambda rows: np.array([values[rows].mean()]), draws=1000)
    assert high - low == pytest.approx(4 * means.std(), rel=0.2)


@pytest.mark.parametrize("count", [2, 3, 5, 6, 7])
def test_halves_of_a_few_units_vary_as_much_as_their_mean(count: int) -> None:
    values = np.random.default_rng(count).normal(size=count)
    means: list[float] = []

    def figure(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        means.append(float(values[rows].mean()))
        return np.array(means[-1:])

    half_sampled([count], figure, draws=4000)
    assert np.std(means) == pytest.approx(values.std(ddof=1) / np.sqrt(count), rel=0.05)


def test_one_unit_alone_has_no_interval() -> None:
    assert np.isnan(half_sampled([20, 1], lambda rows, one: rows[:1] + one.mean())).all()


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are forgotten on Linux alone")
def test_a_cost_is_of_its_own_piece_of_work_alone() -> None:
    def big() -> int:
        return int(np.ones(200 << 20, np.uint8).sum())

    done, expensive = metered(big)
    _, idle = metered(lambda: time.sleep(0.05))
    assert done == 200 << 20
    assert expensive.peak_bytes > idle.peak_bytes + (150 << 20)
    assert 0.05 <= idle.seconds < 1


def test_seconds_are_told_as_multiples_of_the_reference_and_teaching_as_items() -> None:
    rng = np.random.default_rng(1)
    ours, other = ([Cost(float(s), size) for s in rng.uniform(1, 3, 40) * k] for k, size in ((1.0, 70), (2.0, 80)))
    rows = costs({OURS: ours, "other": other}, {OURS: [Cost(100.0, 90), Cost(300.0, 60)]}, OURS)
    assert rows[OURS]["times"] == 1
    low, high = rows["other"]["its interval"]
    assert low < 2 < high
    assert rows["other"]["peak bytes"] == 80
    assert rows[OURS]["teaching in items"] == pytest.approx(200 / rows[OURS]["seconds"])
    assert "teaching in items" not in rows["other"]
    assert "times" not in costs({"other": other}, {}, OURS)["other"]


@pytest.mark.parametrize("shape", [(70, 90), (70, 90, 3)])
def test_textures_lie_in_their_mask_alone(shape: tuple[int, ...]) -> None:
    image = np.full(shape, 120, np.uint8)
    drawn, mask = perlin(image, np.random.default_rng(1))
    assert drawn.shape == shape
    assert mask.sum() >= 20
    assert (drawn[~mask] == 120).all()
    assert (drawn[mask] != 120).any()


def write_mvtec(folder: Path, good: int, scratched: int) -> Path:
    """A set of noise, of which two parts show in each image number: part 0 in 0 and 1, part 1 in 2 and 3, …"""
    rng = np.random.default_rng(3)
    names = [f"train/good/{n:03d}_part{n // 2}.png" for n in range(good)]
    names += [f"test/scratch/{n:03d}_part{n // 2 + 100}.png" for n in range(scratched)]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), rng.integers(256, size=(96, 96, 3)).astype(np.uint8))
        if "scratch" in name:
            mask = np.zeros((96, 96), np.uint8)
            mask[40:44, 20 + len(name) % 7 : 70] = 255
            truth = folder / "ground_truth" / "scratch" / f"{Path(name).stem}_mask.png"
            truth.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(truth), mask)
    return folder


def test_a_folder_is_split_in_thirds_by_groups_alike_each_time(tmp_path: Path) -> None:
    path = write_mvtec(tmp_path / "metal nut", 24, 12)
    source, again = (Folder(path, "metal nut", r"part(\d+)") for _ in range(2))
    assert (source.name, source.part, source.types) == ("metal_nut", "metal nut", ("scratch",))
    assert source.shaped_by == again.shaped_by
    groups: dict[str, set[str]] = {}
    for type_, count in ((GOOD, 24), ("scratch", 12)):
        for split in NAMES:
            found = source.samples(type_, split)
            assert len(found) == count // 3
            assert [one.sha256 for one in found] == [one.sha256 for one in again.samples(type_, split)]
            assert all(one.mask.any() == (type_ != GOOD) for one in found)
            groups.setdefault(split, set()).update(one.group for one in found)
    teach, extra, test = groups.values()
    assert not teach & extra
    assert not (teach | extra) & test
    assert len(teach | extra | test) == 18
    (path / "train" / "good" / "000_part0.png").write_bytes((path / "train/good/002_part1.png").read_bytes())
    changed = Folder(path, "metal nut", r"part(\d+)")
    assert changed.shaped_by != source.shaped_by
    assert len({one.group for split in NAMES for one in changed.samples(GOOD, split)}) == 11


def test_a_folder_that_cannot_be_split_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="in no MVTec layout: it needs train/good"):
        Folder(tmp_path, "nut")
    path = write_mvtec(tmp_path / "set", 6, 4)
    with pytest.raises(ValueError, match=r"2 groups of 'scratch' leave none for .*at least three"):
        Folder(path, "nut", r"part(\d+)")
    with pytest.raises(ValueError, match="is no regular expression"):
        Folder(path, "nut", "part(")
    with pytest.raises(ValueError, match="has no bracket"):
        Folder(path, "nut", "part")
    with pytest.raises(ValueError, match="its group is unknown"):
        Folder(path, "nut", r"board(\d+)")
    assert Folder(path, "nut").samples("scratch", "test")
    truth = next(path.glob("ground_truth/*/*.png"))
    cv2.imwrite(str(truth), np.zeros((96, 96), np.uint8))
    with pytest.raises(ValueError, match=f"the mask of .*{truth.stem[:-5]}.png is empty"):
        Folder(path, "nut")


def test_a_folder_needs_the_name_of_its_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    given = argparse.Namespace(sets=["crackforest"], data=None, part=None, group=None)
    assert [one.name for one in sources(parser, given)] == ["crackforest"]
    for wrong in ({"data": tmp_path}, {"part": "nut"}):
        with pytest.raises(SystemExit):
            sources(parser, argparse.Namespace(**vars(given) | wrong))
    assert "--data needs --part" in capsys.readouterr().err
    given.data, given.part = write_mvtec(tmp_path / "set", 6, 6), "nut"
    assert [one.part for one in sources(parser, given)] == ["nut"]


@pytest.mark.slow
def test_a_table_of_a_folder_goes_the_same_way(tmp_path: Path) -> None:
    table = Table(Folder(write_mvtec(tmp_path / "set", 9, 9), "nut"), arguments(tmp_path / "out"))
    assert 0 < hours_left(table) < 0.1
    table.work(Backbone.load("flawsmith-small-1"))
    assert (table.to_do(), hours_left(table)) == ((0, 0), 0)
    kept = {path for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert set(figures(table.judge())) == {TEACH, PASTE, BESIDE + PASTE}
    assert table.likeness()["scratch"][PASTE]["real"] == 3
    assert table.backgrounds()[PASTE] == {"after": 0.0, "after at most": 0.0}
    flat = table.flatness()
    assert set(flat) == {TEACH, PASTE, BESIDE + PASTE}
    assert all(one["loss"] > 0 for one in flat.values())
    assert str(flat) == str(table.flatness())  # intervals of one seed are NaN, which equal nothing
    assert kept == {path for path in (tmp_path / "out").rglob("*") if path.is_file()}


@with_photos
def test_what_is_taught_the_same_is_planned_to_be_taught_once(tmp_path: Path) -> None:
    def left(*methods: str) -> float:
        given = arguments(tmp_path)
        given.methods = list(methods)
        return steps_left(Table(BuiltIn("crackforest"), given))

    ours = left(OURS)
    assert left(OURS, "no refinement") - ours < ours / 5
    assert left(OURS, "no disentanglement") - ours > ours / 2


@with_photos
@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_type_is_taught_once_for_all_that_only_draw_otherwise(tmp_path: Path) -> None:
    class Few(Source):
        def _read(self, type_: str, split: str) -> list[Sample]:
            return BuiltIn("crackforest").samples(type_, split)[:3]

    kit = Kit(Few("few", "road surface", ["crack"], {}), "crack", 0)
    heard: list[int] = []
    studio = Studio(Backbone.load("flawsmith-small-1"), tmp_path, lambda done, _: heard.append(done))
    (place,) = kit.places(1)
    lesson = {"steps": 1, "places": 1, "items": 1, "crops": 1, "normal_crops": 4}
    ready = Taught(lesson)(studio, kit)
    assert heard
    heard.clear()
    again = Taught(lesson, refined=False)(studio, kit)
    assert not heard
    assert again.teaching == ready.teaching
    assert ready.decoded_error is not None
    assert ready.decoded_error(0, place) > 0
    assert ready.teaching is not None
    assert ready.teaching.seconds > 0
    (pair,), (labelled_as_asked,) = (one.draw([(0, place)]) for one in (ready, again))
    assert np.array_equal(labelled_as_asked.image, pair.image)
    assert np.array_equal(labelled_as_asked.mask, place.mask)
    assert (pair.mask <= labelled_as_asked.mask).all()


@with_photos
def test_pairs_are_of_the_backbone_that_lies_under_its_name(tmp_path: Path) -> None:
    table = Table(BuiltIn("crackforest"), arguments(tmp_path))
    digest = Backbone.load("flawsmith-small-1").digest
    (kit,) = table.kits
    for stage in (table.pairs_stage(PASTE, kit), table.controls_stage(kit)):
        assert stage.shaped_by["backbone"] == digest


def test_what_is_done_later_by_other_code_makes_nothing_anew() -> None:
    making, learning, asking, flattening, describing = (
        {path.relative_to(ROOT).as_posix() for pattern in code for path in ROOT.glob(pattern)}
        for code in (MAKING, LEARNING, ASKING, FLATTENING, DESCRIBING)
    )
    for code in (ASKING, FLATTENING, DESCRIBING):
        assert all(list(ROOT.glob(pattern)) for pattern in code), "a pattern names nothing"
    assert making < learning < asking
    assert learning < flattening
    assert making < describing
    assert learning - making >= {"models/evaluation/schooling.py"}
    assert asking - learning >= {"models/evaluation/asking.py"}
    assert not asking & {"models/evaluation/verdict.py", "bench/quality/table.py", "bench/quality/figures.py"}
    assert {"bench/taught.py", "models/placement/distribution.py"} <= making
    assert {"models/paste.py", "models/teaching/trials.py", "models/rendering/camera.py"} <= making
