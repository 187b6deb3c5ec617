"""Data sets as heavy consumers read them: each in an environment of its own, made for the test."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from service.store.folder import FolderStorage
from tests.service.exports import made
from tests.service.exports.archives import archive_of

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(3600)]

TRUTH = """
import sys
from pathlib import Path
import numpy as np

root, made = Path(sys.argv[1]), Path(sys.argv[2])


def truth(stem):
    with np.load(made / f"{stem}.npz") as one:
        return one["pixels"], one["mask"], one["classes"]


def same(seen, stem):
    \"\"\"Whether it is the image that was made; of 16 bits a reader may keep 8, and of grey make colour.\"\"\"
    pixels = truth(stem)[0]
    seen = np.asarray(seen)
    if pixels.ndim == 2 and seen.ndim == 3:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    return seen.shape == pixels.shape and (pixels.dtype != np.uint8 or np.array_equal(seen, pixels))
"""

DATASETS = """
import json
from datasets import load_dataset

names = {split: f"{split}.jsonl" for split in ("train", "val", "test")}
sides = load_dataset(
    "imagefolder",
    data_files={split: str(root / name) for split, name in names.items()},
    metadata_filenames=list(names.values()),
    cache_dir=str(root.parent / "cache"),
)
for split, name in names.items():
    lines = [json.loads(line) for line in (root / name).read_text().splitlines()]
    rows = {row["name"]: row for row in sides[split]}
    assert rows.keys() == {line["name"] for line in lines}, split
    for line in lines:
        row, stem = rows[line["name"]], Path(line["file_name"]).stem
        assert same(row["image"], stem), line
        assert np.array_equal(np.asarray(row["mask"]), truth(stem)[1] * np.uint8(255)), line
        assert truth(stem)[1].any() == row["is_defect"], line
"""

ULTRALYTICS = """
from ultralytics.data.dataset import YOLODataset
from ultralytics.data.utils import check_det_dataset, polygon2mask

data = check_det_dataset(str(root / "data.yaml"), autodownload=False)
assert list(data["names"].values()) == ["scratch", "dent", "pit"], data["names"]
numbers = [2, 5, 9]
inexact = {line.split()[0] for line in (root / "yolo-inexact.txt").read_text().splitlines()}
for split in ("train", "val", "test"):
    side = YOLODataset(img_path=data[split], data=data, task="segment", augment=False, cache=False)
    assert len(side.labels) == len(list((root / "images" / split).iterdir())), split
    for label in side.labels:
        stem = Path(label["im_file"]).stem
        classes = truth(stem)[2]
        height, width = label["shape"]
        assert (height, width) == classes.shape, stem
        found = np.zeros((height, width), np.uint8)
        for kind, outline in zip(label["cls"][:, 0].astype(int), label["segments"], strict=True):
            corners = [(outline * [width, height]).reshape(-1)]
            found[polygon2mask((height, width), corners).astype(bool)] = numbers[kind]
        union = np.count_nonzero(found | classes)
        iou = np.count_nonzero((found == classes) & (found > 0)) / union if union else 1.0
        assert iou >= 0.98 or f"labels/{split}/{stem}.txt" in inexact, (stem, iou)
"""

ANOMALIB = """
from anomalib.data.datasets.image.mvtecad import MVTecADDataset

for split in ("train", "test"):
    side = MVTecADDataset(root=root / "mvtec", category="parts", split=split)
    there = list((root / "mvtec" / "parts" / split).glob("*/*.png"))
    assert len(side) == len(there), (split, len(side), len(there))
    for number in range(len(side)):
        item = side[number]
        path = Path(item.image_path)
        stem, good = path.stem.partition("-")[2], path.parent.name == "good"
        assert same((np.asarray(item.image) * 255).round().astype(np.uint8).transpose(1, 2, 0), stem), path
        assert bool(item.gt_label) is not good, path
        if not good:
            assert np.array_equal(np.asarray(item.gt_mask).squeeze().astype(bool), truth(stem)[1]), path
"""


@pytest.mark.parametrize(
    ("packages", "script", "formats"),
    [
        (["datasets", "pillow"], DATASETS, ["jsonl"]),
        (["ultralytics-opencv-headless"], ULTRALYTICS, ["yolo", "classes"]),
        (["anomalib", "opencv-python-headless"], ANOMALIB, ["mvtec"]),
    ],
    ids=["datasets", "ultralytics", "anomalib"],
)
def test_a_consumer_reads_the_layout(packages: list[str], script: str, formats: list[str], tmp_path: Path) -> None:
    python = environment(tmp_path / "venv", packages)
    items = [one for one in made.zoo() if not (one.tiff and formats == ["mvtec"])]
    storage = FolderStorage(tmp_path / "storage")
    with zipfile.ZipFile(archive_of(storage, made.keep(storage, items), *formats)) as archive:
        archive.extractall(tmp_path / "data")
    (tmp_path / "made").mkdir()
    for one in made.exported(items):
        np.savez(tmp_path / "made" / one.name, pixels=one.pixels, mask=one.mask, classes=one.classes)

    command = [python, "-c", TRUTH + script, tmp_path / "data", tmp_path / "made"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    assert done.returncode == 0, done.stderr[-4000:]


def environment(folder: Path, packages: list[str]) -> Path:
    """Python of a new environment with these packages; skips the test where they cannot be had."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    try:
        done = subprocess.run(install, capture_output=True, text=True, timeout=2400, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{', '.join(packages)} were not installed in 40 minutes")
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["pip says nothing"]
        pytest.skip(f"{', '.join(packages)} cannot be installed here: {lines[-1]}")
    return python
