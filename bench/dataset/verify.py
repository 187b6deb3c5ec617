"""``python -m bench.dataset.verify DIR``: what a data set promises, recomputed from its files alone.

This script imports nothing of Flawsmith. Every image has a label in each of five layouts, read as their consumers
read them, and all must say the same of each pixel: files named in the manifest are there and have their digests,
nothing else lies about, and no photo and no group is on two sides of a split.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray
from pycocotools import mask as coco

LEAST_IOU = 0.98
"""Of outlines with the label, unless they are listed as inexact."""
_TEXTS = {
    *("manifest.jsonl", "flawsmith.lock", "dataset.json", "README.txt", "report.html", "report.json"),
    *("classes.json", "classes.txt", "data.yaml", "yolo-inexact.txt"),
}

Label = NDArray[np.uint8]
"""(H, W): the number of a class, or 0."""


@dataclass
class Verdict:
    """What was counted, and what is wrong, in words."""

    wrong: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def must(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.wrong.append(otherwise)


def verify(root: Path) -> Verdict:
    """Judge a data set in all five layouts, unpacked in a folder."""
    verdict = Verdict()
    rows = _lines(root / "manifest.jsonl")
    shown = [row for row in rows if row["image"]]
    lock = json.loads((root / "flawsmith.lock").read_text("utf-8"))
    for row in rows:
        verdict.counts[f"rows: {row['status']}"] += 1
    _sides(rows, verdict)
    listed = set(_TEXTS)
    for split in ("train", "val", "test"):
        of_side = {Path(row["image"]).stem: row for row in shown if row["split"] == split}
        if of_side:
            verdict.counts[f"images: {split}"] += len(of_side)
            side = _Side(root, split, lock["classes"])
            listed |= side.judge(of_side, verdict)
    listed |= _Mvtec(root, lock["classes"]).judge(shown, verdict)
    there = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    verdict.must(there == listed, f"files that nothing names, or that are not there: {sorted(there ^ listed)[:9]}")
    verdict.counts["files"] += len(there)
    return verdict


def _sides(rows: Iterable[dict[str, Any]], verdict: Verdict) -> None:
    """No photo and no group is on two sides."""
    for what in ("source_sha256", "group"):
        sides: dict[str, set[str]] = defaultdict(set)
        for row in rows:
            sides[row[what]].add(row["split"])
        torn = [name for name, found in sides.items() if len(found) > 1]
        verdict.must(not torn, f"{what} on several sides of the split: {torn[:9]}")
        verdict.counts[f"different {what}"] = len(sides)


class _Side:
    """What four layouts say of the images of one side."""

    def __init__(self, root: Path, split: str, classes: dict[str, int]) -> None:
        self._root, self._split, self._classes = root, split, classes
        described = yaml.safe_load((root / "data.yaml").read_text("utf-8"))
        self._yolo = [classes[described["names"][number]] for number in sorted(described["names"])]
        self._inexact = dict(line.split() for line in (root / "yolo-inexact.txt").read_text("utf-8").splitlines())

    def judge(self, rows: dict[str, dict[str, Any]], verdict: Verdict) -> set[str]:
        """Judge the images by their stems; every file that there should be."""
        root, split = self._root, self._split
        lines = {Path(line["file_name"]).stem: line for line in _lines(root / f"{split}.jsonl")}
        regions = self._coco(rows, verdict)
        verdict.must(lines.keys() == rows.keys(), f"jsonl {split}: other images than in the manifest")
        files = {f"{split}.jsonl", f"annotations/instances_{split}.json"}
        for stem, row in rows.items():
            names = {
                "image": row["image"],
                "label": f"masks/{split}/{stem}.png",
                "outlines": f"labels/{split}/{stem}.txt",
                "mask": f"binary-masks/{split}/{stem}.png",
            }
            files |= set(names.values())
            if missing := [name for name in names.values() if not (root / name).is_file()]:
                verdict.wrong.append(f"{stem}: not there: {missing}")
                continue
            _image(root / row["image"], row, verdict)
            label = _read(root / names["label"])
            verdict.must(label.dtype == np.uint8 and label.ndim == 2, f"{stem}: the label is not 8-bit grey")
            painted = np.zeros_like(label)
            for category, region in regions.get(stem, ()):
                painted[region] = category
            verdict.must(np.array_equal(painted, label), f"{stem}: COCO's regions are not the label of classes")
            self._outlines(stem, names["outlines"], label, verdict)
            line = lines.get(stem, {"mask_file_name": "", "labels": []})
            verdict.must(line["mask_file_name"] == names["mask"], f"{stem}: jsonl names another mask")
            _mask(root / names["mask"], row, label, verdict)
            wanted = {self._classes[name] for name in _types(row)}
            seen = set(np.unique(label).tolist()) - {0}
            verdict.must(seen == wanted, f"{stem}: shows classes {seen}, and is of {wanted}")
            verdict.must(
                {self._classes[name] for name in line["labels"] if name != "good"} == wanted,
                f"{stem}: jsonl says {line['labels']}",
            )
            for number in seen:
                verdict.counts[f"images of class {number}"] += 1
            verdict.counts[f"images: {row['kind']}"] += 1
        return files

    def _coco(
        self, rows: dict[str, dict[str, Any]], verdict: Verdict
    ) -> dict[str, list[tuple[int, NDArray[np.bool_]]]]:
        """Category and pixels of every region, by stem."""
        said = json.loads((self._root / f"annotations/instances_{self._split}.json").read_text("utf-8"))
        stems = {image["id"]: Path(image["file_name"]).stem for image in said["images"]}
        verdict.must(set(stems.values()) == rows.keys(), f"coco {self._split}: other images than in the manifest")
        verdict.must(
            {one["name"]: one["id"] for one in said["categories"]} == self._classes,
            f"coco {self._split}: other categories than in the lock",
        )
        found: dict[str, list[tuple[int, NDArray[np.bool_]]]] = defaultdict(list)
        for one in said["annotations"]:
            region = coco.decode(one["segmentation"]).astype(bool)
            stem = stems[one["image_id"]]
            verdict.must(int(region.sum()) == one["area"], f"{stem}: an area of {one['area']} is {region.sum()}")
            found[stem].append((one["category_id"], region))
            verdict.counts["regions"] += 1
        return found

    def _outlines(self, stem: str, name: str, label: Label, verdict: Verdict) -> None:
        painted = np.zeros_like(label)
        for line in (self._root / name).read_text("utf-8").splitlines():
            number, *shares = line.split()
            corners = np.array(shares, np.float64).reshape(-1, 2) * label.shape[::-1]
            cv2.fillPoly(painted, [np.floor(corners).astype(np.int32)], self._yolo[int(number)])
        union = np.count_nonzero(painted | label)
        iou = np.count_nonzero((painted == label) & (label > 0)) / union if union else 1.0
        verdict.counts["outlines that are not exact"] += name in self._inexact
        verdict.must((iou < LEAST_IOU) == (name in self._inexact), f"{stem}: outlines meet the label by {iou:.4f}")


class _Mvtec:
    """What the layout of MVTec says; it has no sides, and images lie in it a second time."""

    def __init__(self, root: Path, classes: dict[str, int]) -> None:
        (self._home,) = (root / "mvtec").iterdir()
        self._root, self._classes = root, classes

    def judge(self, shown: list[dict[str, Any]], verdict: Verdict) -> set[str]:
        """Judge all images; every file that there should be."""
        there = {path.name.partition("-")[2]: path for path in self._home.glob("t*/*/*")}
        verdict.must(len(there) == len(shown), f"mvtec: {len(there)} images, and {len(shown)} in the manifest")
        files = set()
        for row in shown:
            name = Path(row["image"]).name
            path = there.get(name)
            if path is None:
                verdict.wrong.append(f"{name}: not in mvtec")
                continue
            files.add(path.relative_to(self._root).as_posix())
            verdict.must(_sha256(path) == row["image_sha256"], f"{name}: another image in mvtec")
            types = _types(row)
            verdict.must(path.parent.name == ("+".join(types) or "good"), f"{name}: mvtec says {path.parent.name}")
            if types:
                mask = self._home / "ground_truth" / path.parent.name / f"{path.stem}_mask.png"
                files.add(mask.relative_to(self._root).as_posix())
                label = _read(self._root / f"masks/{row['split']}/{Path(name).stem}.png")
                _mask(mask, row, label, verdict)
        return files


def _types(row: dict[str, Any]) -> list[str]:
    """Names of the types that an item shows; none of a good part."""
    return [one.partition("@")[0] for one in row["defect_types"]] if row["kind"] == "defect" else []


def _image(path: Path, row: dict[str, Any], verdict: Verdict) -> None:
    verdict.must(_sha256(path) == row["image_sha256"], f"{path.name}: another digest than in the manifest")
    pixels = _read(path)
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if channels > 1:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if channels == 3 else cv2.COLOR_BGRA2RGBA)
    header = f"{pixels.shape[0]}x{pixels.shape[1]}x{channels} {pixels.dtype.name}\n".encode()
    digest = hashlib.sha256(header + pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()).hexdigest()
    verdict.must(digest == row["pixels_sha256"], f"{path.name}: other pixels than in the manifest")


def _mask(path: Path, row: dict[str, Any], label: Label, verdict: Verdict) -> None:
    """A two-valued mask is set exactly where the label of classes is."""
    if not path.is_file():
        verdict.wrong.append(f"{path}: not there")
        return
    mask = _read(path)
    verdict.must(set(np.unique(mask).tolist()) <= {0, 255}, f"{path}: other values than 0 and 255")
    verdict.must(np.array_equal(mask > 0, label > 0), f"{path}: is not set where the label of classes is")
    if row["mask_sha256"] is not None:
        verdict.must(_sha256(path) == row["mask_sha256"], f"{path}: another digest than in the manifest")


def _read(path: Path) -> NDArray[Any]:
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError(f"{path} cannot be read")
    return np.asarray(pixels)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.dataset.verify", description=__doc__)
    parser.add_argument("folder", type=Path)
    verdict = verify(parser.parse_args().folder)
    for what, count in sorted(verdict.counts.items()):
        print(f"{count:>8}  {what}")
    for what in verdict.wrong:
        print(f"WRONG {what}")
    sys.exit(1 if verdict.wrong else 0)


if __name__ == "__main__":
    main()
