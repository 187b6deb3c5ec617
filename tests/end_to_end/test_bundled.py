"""The bundled backbone through service, worker, client and command: two defects in one image, and a data set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from flawsmith import Defect, Flawsmith
from flawsmith.contract.jobs import Job, JobStatus
from tests.flawsmith.running import Up, run_flawsmith, run_here, running_up

TYPES = ("scratch", "hole")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("up"), Path("flawsmith-small-1")) as up:
        up.wait_until_ready()
        yield up


def pixels(path: Path) -> NDArray[Any]:
    with Image.open(path) as image:
        return np.asarray(image)


def photo() -> NDArray[np.uint8]:
    """Brushed metal, more or less: (160, 224, 3)."""
    noise = np.random.default_rng(0).normal(0, 6, (160, 1, 1)) + np.random.default_rng(1).normal(
        0, 3, (160, 224, 3)
    )
    return np.asarray(np.clip(130 + noise, 0, 255), dtype=np.uint8)


def test_each_defect_lies_inside_its_own_mask_and_the_same_request_gives_the_same_bytes(
    up: Up, tmp_path: Path
) -> None:
    image, masks = tmp_path / "part.png", [tmp_path / f"{name}.png" for name in TYPES]
    Image.fromarray(photo()).save(image)
    for path, columns in zip(masks, (slice(20, 100), slice(100, 180)), strict=True):  # they touch
        mask = np.zeros((160, 224), dtype=np.uint8)
        mask[50:110, columns] = 255
        Image.fromarray(mask).save(path)
    defects = [Defect(name, mask) for name, mask in zip(TYPES, masks, strict=True)]

    with Flawsmith(up.url) as client:

        def drawn(*wanted: Defect) -> Job:
            asked = client.augment(image, defects=wanted, seed=11, steps=12, min_quality=0.0)
            job = client.wait(asked, timeout=240)
            assert job.status is JobStatus.SUCCEEDED
            return job

        job, repeated, first = drawn(*defects), drawn(*defects), drawn(defects[0])
        alone = client.augment(image, masks[0], TYPES[0], seed=11, steps=12, min_quality=0.0)
        alone = client.wait(alone, timeout=240)
        (item,) = client.download(job, tmp_path / "out").items
        (single,) = client.download(first, tmp_path / "single").items

    requested = [pixels(mask) > 0 for mask in masks]
    labels = [pixels(path) > 0 for path in item.defect_masks]
    for label, mask in zip(labels, requested, strict=True):
        assert label.any()
        assert not (label & ~mask).any()
    assert np.array_equal(pixels(item.mask) > 0, labels[0] | labels[1])
    after, background = pixels(item.image), ~(requested[0] | requested[1])
    assert np.array_equal(after[background], photo()[background])
    scores = job.items[0].scores
    assert scores is not None
    assert scores.background_max_abs_diff == 0
    assert scores.quality == min(one.scores.quality for one in job.items[0].defects or ())

    assert repeated.items[0].image_sha256 == job.items[0].image_sha256
    assert repeated.items[0].mask_sha256 == job.items[0].mask_sha256
    assert first.items[0].image_sha256 == alone.items[0].image_sha256, "a list of one is the single form"
    assert np.array_equal(after[requested[0]], pixels(single.image)[requested[0]]), (
        "others change nothing of the first"
    )


SPEC = """\
normals: photos
masks: masks
entries:
  - {defect_type: hole, per_image: 1, masks: given, steps: 6}
  - {defect_type: scratch, count: 1, masks: given, steps: 6}
min_quality: 0
split: {train: 0.5, test: 0.5}
"""


def test_a_spec_becomes_a_folder_in_which_labels_say_what_changed_and_another_build_makes_nothing(
    up: Up, tmp_path: Path
) -> None:
    mask = np.zeros((160, 224), dtype=np.bool_)
    mask[50:110, 60:140] = True
    photos = {f"{number}.png": photo()[:, :: 1 - 2 * number] for number in range(2)}
    for name, image in photos.items():
        for folder, written in (("photos", image), ("masks", mask.astype(np.uint8) * 255)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(np.ascontiguousarray(written)).save(tmp_path / folder / name)
    (tmp_path / "spec.yaml").write_text(SPEC)
    (tmp_path / "photos" / "broken.png").write_bytes(b"no photo")

    def built(out: str, run: Any) -> dict[str, Any]:
        typed = ("dataset", "build", tmp_path / "spec.yaml", "--wait", "--out", tmp_path / out, "--json")
        done = run(*typed, "--url", up.url)
        assert done.returncode == 0, done.stderr
        summary: dict[str, Any] = json.loads(done.stdout)["summary"]
        return summary

    first = built("first", run_flawsmith)
    with Flawsmith(up.url) as client:
        client.delete(first["job"])
    again = built("again", run_here)

    assert (first["made"], first["reused"], first["failed"], first["below_quality"]) == (5, 0, 0, 0)
    assert [one["name"] for one in first["left_out"]] == ["broken.png"]
    assert (again["made"], again["reused"], again["job"] == first["job"]) == (0, 5, False)
    files = {path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*") if path.is_file()}
    for file in files:
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "first" / file).read_bytes(), file
    numbers = json.loads((tmp_path / "flawsmith.lock").read_text())["classes"]
    rows = [json.loads(line) for line in (tmp_path / "first" / "manifest.jsonl").read_text().splitlines()]
    assert sorted("".join(row["defect_types"]) for row in rows) == ["", "", "hole@3", "hole@3", "scratch@3"]
    for row in rows:
        seen = pixels(tmp_path / "first" / row["image"])
        label = pixels(tmp_path / "first" / "masks" / row["split"] / f"{Path(row['image']).stem}.png")
        wanted = {0} | {numbers[one.partition("@")[0]] for one in row["defect_types"]}
        assert set(np.unique(label)) == wanted
        assert not (label[~mask] > 0).any()
        outside = ~mask if row["kind"] == "defect" else np.ones_like(mask)
        assert np.array_equal(seen[outside], photos[row["source"]][outside])
