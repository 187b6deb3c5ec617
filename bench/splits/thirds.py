"""Groups and thirds of a set: pure functions of its manifest and thumbnails."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.data import NAMES
from bench.splits.sets import SOURCES

FORMAT_VERSION = 1
THUMBNAIL = 16

Row = Mapping[str, str]


def split_file(name: str, data: Path) -> str:
    """The text of a set's split file.

    Raises:
        ValueError: an image on disk is not the one that the manifest names.
    """
    source, folder = SOURCES[name], data / name
    rows = manifest(folder)
    for row in rows:
        if sha256(folder / row["file"]) != row["sha256"]:
            raise ValueError(
                f"{folder / row['file']} is not the file that manifest.csv names: restore the original"
            )
    groups = merged(rows, source.grouping([row["origin"] for row in rows]), folder, source.alike)
    splits = thirds(name, groups, [_labels(row) for row in rows])
    head = {
        "format_version": FORMAT_VERSION,
        "set": name,
        "part": source.part,
        "licence": source.licence,
        "permissive": source.permissive,
        "attribution": source.attribution,
    }
    lines = [
        json.dumps(
            {
                "file": row["file"],
                "mask": row["mask"] or None,
                "type": row["folder_type"],
                "defects": _defects(row),
                "sha256": row["sha256"],
                "group": group,
                "split": splits[group],
            }
        )
        for row, group in sorted(zip(rows, groups, strict=True), key=lambda pair: pair[0]["file"])
    ]
    return json.dumps(head, indent=1)[:-2] + ',\n "entries": [\n  ' + ",\n  ".join(lines) + "\n ]\n}\n"


def manifest(folder: Path) -> list[Row]:
    """The rows of a set's manifest.csv."""
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def thirds(name: str, groups: Sequence[str], labels: Sequence[Sequence[str]]) -> dict[str, str]:
    """Assign each group to a split so that each label is spread evenly.

    Large groups first, ties in the order of a hash of set and group: what comes last evens out what came before.

    Args:
        name: the set. groups: of each item. labels: of each item.

    Returns:
        The split of each group.
    """
    members: dict[str, Counter[str]] = defaultdict(Counter)
    for group, of_item in zip(groups, labels, strict=True):
        members[group].update(of_item)
    totals = Counter(label for of_item in labels for label in of_item)
    counts: dict[str, Counter[str]] = {split: Counter() for split in NAMES}
    splits = {}
    for group in sorted(members, key=lambda g: (-members[g].total(), _hash(name, g))):
        own = members[group]
        costs = {  # what the sum of squared shares grows by
            split: sum(own[label] * (2 * counts[split][label] + own[label]) / totals[label] ** 2 for label in own)
            for split in NAMES
        }
        splits[group] = min(NAMES, key=lambda split: round(costs[split], 12))
        counts[splits[group]].update(own)
    return splits


def thumbnails(folder: Path, rows: Sequence[Row]) -> NDArray[np.float64]:
    """(n, 256): grey averages over a grid, mean 0 and norm 1, so that a product is a correlation."""
    flat = np.empty((len(rows), THUMBNAIL * THUMBNAIL))
    for i, row in enumerate(rows):
        with Image.open(folder / row["file"]) as image:
            small = image.convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
        flat[i] = np.asarray(small, dtype=np.float64).ravel()
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)
    return flat


def merged(rows: Sequence[Row], groups: Sequence[str], folder: Path, alike: float | None = None) -> list[str]:
    """Groups joined where they share a file's bytes or look alike; the joined group has its least name.

    Args:
        rows: with "file" and "sha256". groups: of each.
        alike: correlation of thumbnails from which two images are one group; None asks for equal bytes alone.
    """
    parent = {group: group for group in groups}

    def root(group: str) -> str:
        while parent[group] != group:
            group = parent[group]
        return group

    def join(a: str, b: str) -> None:
        low, high = sorted((root(a), root(b)))
        parent[high] = low

    first_of: dict[str, str] = {}
    for row, group in zip(rows, groups, strict=True):
        join(group, first_of.setdefault(row["sha256"], group))
    if alike is not None:
        flat = thumbnails(folder, rows)
        for i, j in np.argwhere(np.triu(flat @ flat.T > alike, 1)):
            join(groups[i], groups[j])
    return [root(group) for group in groups]


def _defects(row: Row) -> list[str]:
    named = row["defect_types"].replace(",", "+").replace(";", "+").split("+")
    return sorted({text.strip() for text in named if text.strip()})


def _labels(row: Row) -> list[str]:
    return [row["folder_type"], *(f"shows {defect}" for defect in _defects(row))]


def _hash(name: str, group: str) -> str:
    return hashlib.sha256(f"{name}|{group}".encode()).hexdigest()
