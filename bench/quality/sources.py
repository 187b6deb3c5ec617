"""Sets of real images in thirds: those of the benchmarks, or a folder in MVTec layout."""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from bench.data import NAMES, SPLITS, read_sample, read_samples
from bench.promises.pairs import read
from bench.splits.sets import Grouping, by_pattern
from bench.splits.thirds import merged, sha256, thirds
from models.samples import Sample
from service.samples.folders import mvtec
from service.samples.layouts import FoundImage, Names

SETS: dict[str, tuple[str, tuple[str, ...]]] = {
    "magnetic_tile": ("magnetic tile", ("blowhole", "break", "crack", "fray", "uneven")),
    "bsdata_ballscrew": ("ball screw spindle", ("pitting",)),
    "visa_capsules": ("capsule", ("bubble", "combined")),
    "deeppcb": ("circuit board", ("mixed",)),
    "crackforest": ("road surface", ("crack",)),
}
"""Parts and types. Pitting of the other source of `bsdata_ballscrew` is another defect on another part."""

GOOD = "good"
"""What normal images have in place of a type."""


class Source(ABC):
    """A set of real images; each third is read once.

    Attributes:
        name: of the set.
        part: what the photos show.
        types: of its defects.
        shaped_by: all that decides what it holds, beside the code.
    """

    def __init__(self, name: str, part: str, types: Sequence[str], shaped_by: Mapping[str, str]) -> None:
        self.name = name
        self.part = part
        self.types = tuple(types)
        self.shaped_by = shaped_by
        self._known: dict[tuple[str, str], list[Sample]] = {}

    def samples(self, type_: str, split: str) -> list[Sample]:
        """The pairs of a type, or the normal images (`GOOD`), of "teach", "extra" or "test"."""
        if (type_, split) not in self._known:
            self._known[type_, split] = self._read(type_, split)
        return self._known[type_, split]

    @abstractmethod
    def _read(self, type_: str, split: str) -> list[Sample]: ...


class BuiltIn(Source):
    """One of `SETS`, split as bench/splits has it."""

    def __init__(self, name: str) -> None:
        part, types = SETS[name]
        super().__init__(name, part, types, {"set": name, "split": sha256(SPLITS / f"{name}.json")})

    def _read(self, type_: str, split: str) -> list[Sample]:
        return read_samples(self.name, type_, split)


@dataclass(frozen=True)
class _Entry:
    image: Path
    masks: tuple[Path, ...]
    type: str
    sha256: str
    group: str
    split: str


class Folder(Source):
    """A folder in MVTec layout: train/good, test/TYPE and ground_truth/TYPE/…_mask.png.

    Images are shared out among the thirds by groups, evenly for each type, the same whenever the folder holds the
    same. Images of the same bytes are one group.

    Args:
        path: of the folder.
        part: what its photos show.
        pattern: a regular expression, whose first bracket that matches finds an image's group in its name within
            the folder; images of one part or board must be one group. None makes each image a group of its own.

    Attributes:
        notes: what of the folder was left out, and why.

    Raises:
        ValueError: the folder is in another layout, a mask is empty, the group of an image is unknown, or a third
            lacks a type.
    """

    def __init__(self, path: Path, part: str, pattern: str | None = None) -> None:
        files = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
        layout = mvtec(Names(files))
        if layout is None:
            raise ValueError(
                f"--data {path} is in no MVTec layout: it needs train/good, test/TYPE, and ground_truth/TYPE with "
                "a mask NAME_mask.png for each test image NAME"
            )
        self.notes = tuple(layout.notes)
        name = re.sub(r"[^\w-]+", "_", path.resolve().name)
        self._entries = _entries(path, sorted(layout.images, key=lambda image: image.name), name, pattern)
        types = {one.type for one in self._entries}
        for type_ in sorted({GOOD} | types):
            of_type = [one for one in self._entries if one.type == type_]
            if lacking := [split for split in NAMES if split not in {one.split for one in of_type}]:
                groups = len({one.group for one in of_type})
                raise ValueError(
                    f"--data {path}: {groups} groups of {type_!r} leave none for {' and '.join(lacking)}; a type "
                    "needs at least three, and so do the normal images"
                )
        for one in self._entries:
            if one.masks and not any(read(file, cv2.IMREAD_GRAYSCALE).any() for file in one.masks):
                raise ValueError(
                    f"--data: the mask of {one.image} is empty; draw the defect or leave the image out"
                )
        content = [
            [one.sha256, one.type, one.group, *(sha256(mask) for mask in one.masks)] for one in self._entries
        ]
        digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
        super().__init__(name, part, sorted(types - {GOOD}), {"set": name, "part": part, "content": digest})

    def _read(self, type_: str, split: str) -> list[Sample]:
        return [
            read_sample(entry.image, entry.masks, entry.sha256, entry.group)
            for entry in self._entries
            if (entry.type, entry.split) == (type_, split)
        ]


def _entries(path: Path, images: Sequence[FoundImage], name: str, pattern: str | None) -> list[_Entry]:
    files = [image.name for image in images]
    types = [image.regions[0].label if image.regions else GOOD for image in images]
    hashes = [sha256(path / file) for file in files]
    rows = [{"file": file, "sha256": digest} for file, digest in zip(files, hashes, strict=True)]
    groups = merged(rows, _grouping(pattern)(files), path)
    splits = thirds(name, groups, [[type_] for type_ in types])
    masks = [tuple(path / region.mask for region in image.regions if region.mask) for image in images]
    return [
        _Entry(path / file, own, type_, digest, group, splits[group])
        for file, own, type_, digest, group in zip(files, masks, types, hashes, groups, strict=True)
    ]


def _grouping(pattern: str | None) -> Grouping:
    if pattern is None:
        return list
    try:
        brackets = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"--group {pattern} is no regular expression: {error}") from error
    if not brackets:
        raise ValueError(
            f"--group {pattern} has no bracket; put one around what tells parts apart, as in part(\\d+)_"
        )
    return by_pattern(pattern)
