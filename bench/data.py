"""Real images for benchmarks: where they lie, and which of them a benchmark may use (bench/splits)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.promises.pairs import data_folder
from bench.shared import read_mask, read_photo
from models.samples import Sample

SPLITS = Path(__file__).parent / "splits"
NAMES = ("teach", "extra", "test")


@dataclass(frozen=True)
class Entry:
    """One image of a set.

    Attributes:
        image, mask: paths on this disk; good images have no mask.
        type: the defect type, or "good". defects: the types seen in the image, where its authors named them.
        group: board, spindle, tile or part; it lies in one split.
    """

    image: Path
    mask: Path | None
    type: str
    defects: tuple[str, ...]
    sha256: str
    group: str
    split: str


def data_root() -> Path:
    """Where the real images lie.

    Raises:
        FileNotFoundError: they are not here.
    """
    folder = data_folder()
    if folder is None:
        raise FileNotFoundError("the real images are not here: set FLAWSMITH_DATA to their folder")
    return folder


def entries(name: str, type: str | None = None, *, split: str | Sequence[str]) -> list[Entry]:
    """The images of a set in one split or several, in the order of its split file.

    Args:
        name: the set.
        type: only this defect type, or "good".
        split: "teach", "extra" or "test"; there is no default, so that no benchmark scores by oversight on what
            it chose its thresholds with.

    Raises:
        FileNotFoundError: no such set, or the images are not here.
        ValueError: no such split.
    """
    wanted = {split} if isinstance(split, str) else set(split)
    if unknown := wanted - set(NAMES):
        raise ValueError(f"no split {sorted(unknown)}; there are {', '.join(NAMES)}")
    folder = data_root() / name
    listed = json.loads((SPLITS / f"{name}.json").read_text(encoding="utf-8"))["entries"]
    return [
        Entry(
            image=folder / one["file"],
            mask=folder / one["mask"] if one["mask"] else None,
            type=one["type"],
            defects=tuple(one["defects"]),
            sha256=one["sha256"],
            group=one["group"],
            split=one["split"],
        )
        for one in listed
        if one["split"] in wanted and type in (None, one["type"])
    ]


def read_samples(name: str, type_: str, split: str) -> list[Sample]:
    """The pairs of a type, or the normals ("good"), of a split."""
    return [
        read_sample(entry.image, [entry.mask] if entry.mask else [], entry.sha256, entry.group)
        for entry in entries(name, type_, split=split)
    ]


def read_sample(file: Path, masks: Sequence[Path], sha256: str, group: str) -> Sample:
    """A photo with all that its masks hold; empty without any."""
    image = read_photo(file)
    mask = np.zeros(image.shape[:2], np.bool_)
    for one in masks:
        mask |= read_mask(one, image.shape)
    return Sample(image, mask, sha256, group)
