"""What a data set is built from: photos of good parts read in place, masks that people drew, lots, and a spec."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.data import data_root, entries
from bench.promises.pairs import read
from bench.shared import spread

SETS = ("magnetic_tile", "crackforest")
"""Small photos of many sizes, grey and in colour."""
SPLITS = ("teach", "extra", "test")
SPEC = "spec.json"
BROKEN = "broken.png"
"""A photo that cannot be read: a build goes on without it, and says so."""


@dataclass(frozen=True)
class Photo:
    """A good part and where a defect may appear on it.

    Attributes:
        lot: what must not be torn apart by a split.
        mask: (H, W) bool.
    """

    name: str
    file: Path
    lot: str
    mask: NDArray[np.bool_]


def real_photos(per_set: int, sets: Sequence[str] = SETS) -> list[Photo]:
    """So many normals of each set, evenly spread, each with a mask of the set fitted to its size.

    Raises:
        FileNotFoundError: the real images are not here.
    """
    found = []
    for name in sets:
        good = data_root() / name / "train" / "good"
        normals = [one for one in entries(name, "good", split=SPLITS) if one.image.parent == good]
        masks = sorted((data_root() / name / "ground_truth").glob("*/*.png"))
        for one, drawn in zip(spread(normals, per_set), spread(masks, per_set), strict=True):
            height, width = read(one.image).shape[:2]
            fitted = cv2.resize(read(drawn, cv2.IMREAD_GRAYSCALE), (width, height), interpolation=cv2.INTER_AREA)
            found.append(Photo(f"{name}/{one.image.name}", one.image, f"{name} {one.group}", fitted > 0))
    return found


def lay_out(folder: Path, photos: Sequence[Photo], spec: dict[str, Any]) -> None:
    """Write all that a build needs to an empty folder. Photos are linked, not copied."""
    with (folder / "lots.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file", "lot"])
        for one in photos:
            _parent(folder / "photos" / one.name).symlink_to(one.file)
            mask = _parent((folder / "masks" / one.name).with_suffix(".png"))
            cv2.imwrite(str(mask), one.mask.astype(np.uint8) * 255)
            table.writerow([one.name, one.lot])
    (folder / "photos" / BROKEN).write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    write_spec(folder, spec)


def write_spec(folder: Path, spec: dict[str, Any]) -> None:
    """Write a spec beside photos that lie there, in place of an earlier one."""
    files = {"normals": "photos", "masks": "masks", "normals_metadata": "lots.csv"}
    (folder / SPEC).write_text(json.dumps(files | spec, indent=1) + "\n", encoding="utf-8")


def _parent(path: Path) -> Path:
    """The path, whose folder is there now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
