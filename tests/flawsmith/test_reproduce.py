"""`flawsmith reproduce`: the request of a row is sent again, and what comes is held against the row."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from flawsmith import Flawsmith
from flawsmith.client.errors import InvalidParameterError
from flawsmith.client.reproducing import iou, needs_mask, wish
from flawsmith.contract.datasets import Alignment
from flawsmith.contract.specs import DatasetFormat
from tests.flawsmith.dataset_server import LABEL, NORMAL, REQUEST, DatasetServer, dataset_server, png, row, sha256
from tests.flawsmith.running import run_here
from tests.flawsmith.test_training import written

JOB = "job_" + "1".zfill(26)
WORDS = ("defect_type", "part", "method")
GIVEN = REQUEST | {"mask": "sent"}


@pytest.fixture
def server() -> Iterator[DatasetServer]:
    with dataset_server() as server:
        yield server


def unpacked(server: DatasetServer, folder: Path) -> Path:
    """A downloaded data set; its manifest."""
    with Flawsmith(server.url) as client:
        return client.download_dataset(JOB, folder / "set").manifest


def reproduce(server: DatasetServer, manifest: Path, index: int, *arguments: str | Path) -> Any:
    return run_here("reproduce", manifest, "--row", str(index), *arguments, "--url", server.url)


def test_the_same_pixels_exit_with_0(server: DatasetServer, tmp_path: Path) -> None:
    done = reproduce(server, unpacked(server, tmp_path), 1)
    assert done.returncode == 0, done.stderr
    assert "part-defect-1: same: the same pixels, under the same execution fingerprint" in done.stdout
    assert server.files == {"image": NORMAL}
    assert {name: text if name in WORDS else json.loads(text) for name, text in server.texts.items()} == {
        "defect_type": "scratch@1",
        "method": "diffusion",
        "count": 1,
        "seed": 77,
        "severity": 0.5,
        "guidance": 1.5,
        "steps": 20,
        "part": "a plate",
        "min_quality": 0.0,
        "pixel_size_um": 20.0,
        "control": False,
        "metadata": {"lot": "A"},
    }


def test_other_pixels_under_the_same_fingerprint_exit_with_1(server: DatasetServer, tmp_path: Path) -> None:
    manifest = unpacked(server, tmp_path)
    server.pixels = sha256(b"others")
    done = reproduce(server, manifest, 1)
    assert done.returncode == 1
    assert "different: other pixels under the same execution fingerprint" in done.stdout


@pytest.mark.parametrize(
    ("label", "status", "agreement"),
    [
        (png(0, (4, 4, 23, 13)), 6, "within_tolerance"),
        (png(0, (4, 4, 22, 13)), 1, "different"),
        (png(0), 1, "different"),
    ],
)
@pytest.mark.parametrize("layouts", [["classes"], ["jsonl"], ["mvtec"], ["coco", "mvtec"]], ids="+".join)
def test_under_another_fingerprint_labels_must_agree(
    server: DatasetServer, tmp_path: Path, label: bytes, status: int, agreement: str, layouts: list[DatasetFormat]
) -> None:
    with Flawsmith(server.url) as client:
        manifest = client.download_dataset(JOB, tmp_path / "set", formats=layouts).manifest
    server.fingerprint, server.pixels, server.label = "gpu-1", sha256(b"others"), label
    done = reproduce(server, manifest, 1, "--json")
    assert done.returncode == status, done.stderr
    said = json.loads(done.stdout)
    assert said["agreement"] == agreement
    assert said["iou"] == pytest.approx(1.0 if status == 6 else 0.95 if label != png(0) else 0.0)


@pytest.mark.parametrize("layouts", [["classes"], ["mvtec"], ["coco"]], ids="+".join)
def test_a_control_has_no_label_that_must_agree(
    server: DatasetServer, tmp_path: Path, layouts: list[DatasetFormat]
) -> None:
    """The service's mask of it is where it was drawn anew."""
    with Flawsmith(server.url) as client:
        manifest = client.download_dataset(JOB, tmp_path / "set", formats=layouts).manifest
    server.fingerprint = "gpu-1"
    done = reproduce(server, manifest, 3, "--json")
    assert done.returncode == 6, done.stderr
    said = json.loads(done.stdout)
    assert (said["agreement"], said["iou"]) == ("within_tolerance", None)
    assert "a control has no label" in said["reason"]


def test_a_control_must_have_the_same_pixels_under_the_same_fingerprint(
    server: DatasetServer, tmp_path: Path
) -> None:
    manifest = unpacked(server, tmp_path)
    assert reproduce(server, manifest, 3).returncode == 1
    server.pixels = sha256(b"pixels 3")
    assert reproduce(server, manifest, 3).returncode == 0


def test_another_fingerprint_with_the_same_pixels_is_the_same(server: DatasetServer, tmp_path: Path) -> None:
    manifest = unpacked(server, tmp_path)
    server.fingerprint = "gpu-1"
    done = reproduce(server, manifest, 1)
    assert done.returncode == 0
    assert "under another execution fingerprint" in done.stdout


def test_without_a_label_there_is_nothing_to_compare(server: DatasetServer, tmp_path: Path) -> None:
    with Flawsmith(server.url) as client:
        manifest = client.download_dataset(JOB, tmp_path / "set", formats=["coco"]).manifest
    server.fingerprint, server.pixels = "gpu-1", sha256(b"others")
    done = reproduce(server, manifest, 1)
    assert done.returncode == 2
    assert "--format classes, jsonl or mvtec" in done.stderr


def test_the_normal_image_is_found_by_its_content(server: DatasetServer, tmp_path: Path) -> None:
    photos = written(tmp_path / "photos", {"line/part.png": png(3), "renamed.png": NORMAL})
    manifest = unpacked(server, tmp_path)
    assert reproduce(server, manifest, 1, "--normals", photos).returncode == 0
    assert server.files == {"image": NORMAL}
    (photos / "renamed.png").unlink()
    done = reproduce(server, manifest, 1, "--normals", photos)
    assert done.returncode == 2
    assert "is line/part.png as it was sent" in done.stderr


def test_a_data_set_without_normal_images_asks_for_them(server: DatasetServer, tmp_path: Path) -> None:
    server.rows = server.rows[1:]
    done = reproduce(server, unpacked(server, tmp_path), 1)
    assert done.returncode == 2
    assert "--normals" in done.stderr


@pytest.mark.parametrize("view", [{"crop": (4, 2, 20, 20)}, {"black_level": 0, "white_level": 4095}])
def test_a_normal_image_that_is_exported_otherwise_is_asked_for(
    server: DatasetServer, tmp_path: Path, view: dict[str, Any]
) -> None:
    server.rows[0] = server.rows[0].model_copy(update=view)
    done = reproduce(server, unpacked(server, tmp_path), 1)
    assert done.returncode == 2
    assert "does not have its normal image line/part.png as it was sent" in done.stderr


def test_what_was_carried_over_to_the_normal_image_is_in_the_data_set(
    server: DatasetServer, tmp_path: Path
) -> None:
    how = Alignment(x_px=3, y_px=-1.5, angle_deg=0, residual_px=0.25)
    region = png(8)
    server.rows[1] = row(1, "defect", source_region_sha256=sha256(region), alignment=how)
    server.spoilt = {f"carried/{sha256(region)}.png": region}
    manifest = unpacked(server, tmp_path)
    assert reproduce(server, manifest, 1).returncode == 0
    assert server.files == {"image": NORMAL, "region": region}
    (manifest.parent / "carried" / f"{sha256(region)}.png").unlink()
    assert reproduce(server, manifest, 1).returncode == 2


def test_what_was_sent_beside_the_normal_image_is_sent_again(server: DatasetServer, tmp_path: Path) -> None:
    server.rows[1] = row(
        1, "defect", request=GIVEN, source_mask_sha256=64 * "1", source_region_sha256=64 * "2",
        source_exclude_sha256=64 * "3",
    )  # fmt: skip
    beside = written(tmp_path / "beside", {"line/part.jpg": png(5), "part.png": png(6)})
    manifest = unpacked(server, tmp_path)
    everything = ("--masks", beside, "--regions", beside / "part.png", "--excludes", beside)
    assert reproduce(server, manifest, 1, *everything).returncode == 0
    assert server.files == {"image": NORMAL, "mask": png(5), "region": png(6), "exclude": png(5)}
    for left in range(0, 6, 2):
        done = reproduce(server, manifest, 1, *everything[:left], *everything[left + 2 :])
        assert done.returncode == 2
        assert f"name them with {everything[left]}" in done.stderr
    done = reproduce(server, manifest, 1, *everything[2:], "--masks", manifest.parent)
    assert done.returncode == 2
    assert "no image that is called as line/part.png" in done.stderr


@pytest.mark.parametrize(
    ("index", "complaint"),
    [(0, "is the normal image line/part.png"), (9, "has no row 9"), (4, "failed, so there is nothing")],
)
def test_rows_of_which_nothing_can_be_made_again_exit_with_2(
    server: DatasetServer, tmp_path: Path, index: int, complaint: str
) -> None:
    server.rows[4] = row(4, "defect", status="failed", accepted=None)
    done = reproduce(server, unpacked(server, tmp_path), index)
    assert done.returncode == 2
    assert complaint in done.stderr


def test_a_file_that_is_no_manifest_exits_with_2(server: DatasetServer, tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text("{}\n")
    done = reproduce(server, tmp_path / "manifest.jsonl", 0)
    assert done.returncode == 2
    assert "name the manifest.jsonl" in done.stderr


def test_what_is_made_again_is_kept_and_other_parameters_are_told(server: DatasetServer, tmp_path: Path) -> None:
    server.rows[1] = row(1, "defect", request=REQUEST | {"steps": 30})
    done = reproduce(server, unpacked(server, tmp_path), 1, "--out", tmp_path / "out")
    assert "understands steps otherwise" in done.stderr
    assert (tmp_path / "out" / "item-00-mask.png").read_bytes() == LABEL


def test_several_defects_are_asked_for_with_what_they_share() -> None:
    scratch = {
        name: GIVEN[name] for name in ("severity", "guidance", "steps", "seed_share", "part", "min_quality")
    }
    scratch |= {"defect_type": "scratch", "defect_type_version": 1, "mask": "sent"}
    dent = scratch | {
        "defect_type": "dent",
        "defect_type_version": 3,
        "mask": "drawn",
        "severity": 0.25,
        "steps": 10,
        "size": {"min": 4.0, "max": 9.0, "unit": "px"},
    }
    shared = {"method": "diffusion", "count": 1, "seed": 4, "control": False, "metadata": {}}
    several = row(1, "defect", request={"defects": [scratch, dent], **shared})
    assert needs_mask(several)
    defect_type, defects, options = wish(several, Path("mask.png"))
    assert defect_type is None
    assert defects is not None
    assert [(one.defect_type, one.mask, one.severity) for one in defects] == [
        ("scratch@1", Path("mask.png"), 0.5),
        ("dent@3", None, 0.25),
    ]
    assert [(one.size, one.contrast) for one in defects] == [(None, None), (dent["size"], None)]
    assert options == {**shared, "guidance": 1.5, "part": "a plate", "min_quality": 0.0}

    of_bin = scratch | {"size": {"min": 4.0, "max": 9.0, "unit": "um"}, "contrast": {"min": 0.1, "max": 0.2}}
    _, _, alone = wish(row(1, "defect", request=of_bin | shared), Path("mask.png"))
    assert (alone["size"], alone["contrast"], alone["severity"]) == (of_bin["size"], of_bin["contrast"], 0.5)


def test_labels_are_compared_where_they_are_not_black() -> None:
    classes = Image.open(io.BytesIO(LABEL)).point(lambda level: 2 if level else 0)
    buffer = io.BytesIO()
    classes.save(buffer, format="PNG")
    assert iou(LABEL, buffer.getvalue()) == 1.0
    assert iou(LABEL, png(1)) == pytest.approx(20 * 10 / (32 * 24))
    assert iou(png(0), png(0)) == 1.0
    cropped = io.BytesIO()
    Image.open(io.BytesIO(LABEL)).crop((2, 3, 14, 20)).save(cropped, format="PNG")
    assert iou(cropped.getvalue(), LABEL) == 0.0
    assert iou(cropped.getvalue(), LABEL, (2, 3, 12, 17)) == 1.0
    with pytest.raises(InvalidParameterError, match="no image"):
        iou(LABEL, b"x")
