"""Real image/mask pairs, read in place: normals of four sets with masks drawn by people on others of the set."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SETS = ("visa_capsules", "magnetic_tile", "deeppcb", "bsdata_ballscrew")


@dataclass(frozen=True, eq=False)
class Pair:
    """A photo as it lies on disk and a mask of its size, (H, W) bool."""

    name: str
    image: Path
    mask: NDArray[np.bool_]


def data_folder() -> Path | None:
    """Where the real images lie: ``FLAWSMITH_DATA``, else ``shared/data`` beside the project; None elsewhere."""
    beside = Path(__file__).parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("FLAWSMITH_DATA", beside))
    return folder if folder.is_dir() else None


def pairs(data: Path, per_set: int) -> Iterator[Pair]:
    """The first ``per_set`` normals of each set, evenly spread, each with a mask of the set fitted to its size."""
    for name in SETS:
        images = _spread(sorted((data / name / "train" / "good").glob("*")), per_set)
        masks = _spread(sorted((data / name / "ground_truth").glob("*/*.png")), per_set)
        for number, (image, mask_file) in enumerate(zip(images, masks, strict=True)):
            height, width = read(image).shape[:2]
            mask = read(mask_file, cv2.IMREAD_GRAYSCALE)
            fitted = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST) > 0
            if fitted.any():
                yield Pair(f"{name}-{number:03d}", image, fitted)


def read(file: Path, flags: int = cv2.IMREAD_UNCHANGED) -> NDArray[Any]:
    """Pixels of a file that must be readable."""
    pixels = cv2.imread(str(file), flags)
    if pixels is None:
        raise ValueError(f"{file} cannot be read")
    return np.asarray(pixels)


def _spread(files: list[Path], count: int) -> list[Path]:
    return [files[i] for i in np.linspace(0, len(files) - 1, count).round().astype(int)]
