"""Data sets as heavy consumers read them: each in an environment of its own, made for the test."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from service.store.folder import FolderStorage
from tests.service.exports import made
from tests.service.exports.archives import archive_of

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(3600)]

DATASETS = """
import json, sys
from pathlib import Path
import numpy as np
from datasets import load_dataset

root = Path(sys.argv[1])
sides = load_dataset("imagefolder", data_dir=str(root / "images"), cache_dir=str(root.parent / "cache"))
wanted = {"train": "train", "val": "validation", "test": "test"}
for split, side in wanted.items():
    lines = [json.loads(line) for line in (root / "images" / split / "metadata.jsonl").read_text().splitlines()]
    rows = {row["name"]: row for row in sides[side]}
    assert rows.keys() == {line["name"] for line in lines}, split
    for line in lines:
        row = rows[line["name"]]
        image, mask = np.asarray(row["image"]), np.asarray(row["mask"])
        assert image.shape[:2] == mask.shape, line
        assert bool(mask.any()) is row["is_defect"], line
        assert set(np.unique(mask)) <= {0, 255}, line
"""

ULTRALYTICS = """
import sys
from pathlib import Path
import cv2
import numpy as np
from ultralytics.data.dataset import YOLODataset
from ultralytics.data.utils import check_det_dataset, polygon2mask

root = Path(sys.argv[1])
data = check_det_dataset(str(root / "data.yaml"), autodownload=False)
assert list(data["names"].values()) == ["scratch", "dent", "pit"], data["names"]
inexact = {line.split()[0] for line in (root / "yolo-inexact.txt").read_text().splitlines()}
for split in ("train", "val", "test"):
    side = YOLODataset(img_path=data[split], data=data, task="segment", augment=False, cache=False)
    images = [path for path in (root / "images" / split).iterdir() if path.suffix != ".jsonl"]
    assert len(side.labels) == len(images), split
    for label in side.labels:
        stem = Path(label["im_file"]).stem
        truth = cv2.imread(str(root / "masks" / split / f"{stem}.png"), cv2.IMREAD_UNCHANGED) > 0
        height, width = label["shape"]
        found = np.zeros((height, width), bool)
        for outline in label["segments"]:
            found |= polygon2mask((height, width), [(outline * [width, height]).reshape(-1)]).astype(bool)
        union = (found | truth).sum()
        iou = (found & truth).sum() / union if union else 1.0
        assert iou >= 0.98 or f"labels/{split}/{stem}.txt" in inexact, (stem, iou)
"""

ANOMALIB = """
import sys
from pathlib import Path
import cv2
import numpy as np
from anomalib.data.datasets.image.mvtecad import MVTecADDataset

root = Path(sys.argv[1]) / "mvtec"
for split in ("train", "test"):
    side = MVTecADDataset(root=root, category="parts", split=split)
    there = list((root / "parts" / split).glob("*/*.png"))
    assert len(side) == len(there), (split, len(side), len(there))
    for number in range(len(side)):
        item = side[number]
        good = Path(item.image_path).parent.name == "good"
        assert bool(item.gt_label) is not good, item.image_path
        if not good:
            folder = Path(item.image_path).parent.name
            name = f"{Path(item.image_path).stem}_mask.png"
            truth = cv2.imread(str(root / "parts" / "ground_truth" / folder / name), cv2.IMREAD_UNCHANGED) > 0
            assert np.array_equal(np.asarray(item.gt_mask).squeeze().astype(bool), truth), item.image_path
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

    done = subprocess.run(
        [python, "-c", script, tmp_path / "data"], capture_output=True, text=True, cwd=tmp_path, check=False
    )

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
