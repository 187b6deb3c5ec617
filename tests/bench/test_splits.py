"""No image and no group may both teach and judge: the split files, and what is learned from them."""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.data import NAMES, SPLITS, data_folder, entries
from bench.splits.sets import SOURCES, by_pattern, by_session
from bench.splits.thirds import manifest, split_file, thirds, thumbnails
from models.training.photos import read_teach

BACKBONES = Path(__file__).parents[2] / "models" / "backbones"
ALIKE = 0.97

by_set = pytest.mark.parametrize("name", sorted(SOURCES))


@pytest.fixture
def data() -> Path:
    folder = data_folder()
    if folder is None:
        pytest.skip("the real images are not here: set FLAWSMITH_DATA to their folder")
    return folder


def content(name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((SPLITS / f"{name}.json").read_text(encoding="utf-8"))
    return read


def hashes(*splits: str, permissive: bool | None = None) -> set[str]:
    return {
        entry["sha256"]
        for name in SOURCES
        if permissive in (None, content(name)["permissive"])
        for entry in content(name)["entries"]
        if entry["split"] in splits
    }


def test_there_is_one_file_for_each_set() -> None:
    assert {file.stem for file in SPLITS.glob("*.json")} == set(SOURCES)


@by_set
@pytest.mark.parametrize("key", ["group", "sha256", "file"])
def test_no_group_no_hash_and_no_file_lies_in_two_splits_whatever_its_type(name: str, key: str) -> None:
    splits = defaultdict(set)
    for entry in content(name)["entries"]:
        splits[entry[key]].add(entry["split"])
    assert {key: found for key, found in splits.items() if len(found) > 1} == {}


def test_no_hash_lies_in_two_splits_across_sets() -> None:
    teach, extra, test = (hashes(split) for split in NAMES)
    assert not teach & extra
    assert not teach & test
    assert not extra & test


@by_set
def test_each_type_is_split_in_thirds_as_far_as_its_groups_allow(name: str) -> None:
    listed = content(name)["entries"]
    for kind in {entry["type"] for entry in listed}:
        of_kind = [entry for entry in listed if entry["type"] == kind]
        largest = max(Counter(entry["group"] for entry in of_kind).values())
        shares = Counter(entry["split"] for entry in of_kind)
        for split in NAMES:
            assert abs(shares[split] - len(of_kind) / 3) <= max(1, largest, 0.05 * len(of_kind)), (kind, shares)


@by_set
def test_every_row_of_the_manifest_is_in_exactly_one_split(name: str, data: Path) -> None:
    with (data / name / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["file"], row["sha256"], row["mask"] or None) for row in csv.DictReader(file)]
    listed = content(name)["entries"]
    assert sorted(rows) == sorted((entry["file"], entry["sha256"], entry["mask"]) for entry in listed)
    assert {entry["split"] for entry in listed} <= set(NAMES)


@by_set
def test_the_files_on_disk_are_what_the_images_give_again(name: str, data: Path) -> None:
    assert (SPLITS / f"{name}.json").read_bytes() == split_file(name, data).encode()


@by_set
def test_images_that_look_alike_are_in_one_split(name: str, data: Path) -> None:
    if SOURCES[name].alike is None:
        pytest.skip("one camera and one spindle: all positions look alike, as decision 0011 says")
    rows = manifest(data / name)
    split_of = {entry["sha256"]: entry["split"] for entry in content(name)["entries"]}
    splits = np.array([split_of[row["sha256"]] for row in rows])
    flat = thumbnails(data / name, rows)
    across = (flat @ flat.T > ALIKE) & (splits[:, None] != splits[None])
    assert [(rows[i]["file"], rows[j]["file"]) for i, j in np.argwhere(across)] == []


def test_only_the_teaching_third_of_permissive_sets_is_read_for_training(data: Path) -> None:
    photos = read_teach(SPLITS, data)
    assert {photo.sha256 for photo in photos} == hashes("teach", permissive=True)
    assert not {photo.sha256 for photo in photos} & hashes("extra", "test")
    assert {photo.source for photo in photos} == {"deeppcb", "fabric_hsst", "visa_capsules"}


def test_bundled_weights_have_learned_from_the_teaching_third_of_permissive_sets_alone() -> None:
    allowed = hashes("teach", permissive=True)
    for card in sorted(BACKBONES.glob("*/data.json")):
        learned = {one["sha256"] for one in json.loads(card.read_text(encoding="utf-8"))}
        assert learned <= allowed, f"{card} lists images that may not teach: {sorted(learned - allowed)[:5]}"


def test_a_benchmark_names_its_split_and_gets_no_other(data: Path) -> None:
    judged = entries("deeppcb", "mixed", split="test")
    assert judged
    assert {(entry.split, entry.type) for entry in judged} == {("test", "mixed")}
    assert all(entry.image.is_file() and entry.mask is not None and entry.mask.is_file() for entry in judged)
    with pytest.raises(ValueError, match="no split"):
        entries("deeppcb", split="train")


def test_exposures_of_one_tile_are_one_group_and_interleaved_cuts_too() -> None:
    names = ["exp1_num_100", "exp3_num_130", "exp6_num_350", "exp1_num_500", "exp2_num_520", "exp2_num_522"]
    assert by_session(names) == ["000100"] * 3 + ["000500"] * 3


def test_a_name_that_tells_no_group_is_refused() -> None:
    with pytest.raises(ValueError, match="group is unknown"):
        by_pattern(r"board(\d+)")(["spindle7.jpg"])


def test_thirds_keep_groups_whole_and_do_not_depend_on_the_order_of_items() -> None:
    groups = [f"g{i % 10}" for i in range(40)]
    labels = [["good"] if i < 20 else ["scratch"] for i in range(40)]
    splits = thirds("some", groups, labels)
    again = thirds("some", groups[::-1], labels[::-1])
    assert splits == again
    assert sorted(Counter(splits[group] for group in groups).values()) == [12, 12, 16]
