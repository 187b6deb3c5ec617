"""What several benchmarks share: photos, tables and their JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.promises.pairs import read
from models.levels import Pixels
from models.masks import Mask

ALL_SETS = ("bsdata_ballscrew", "crackforest", "deeppcb", "fabric_hsst", "magnetic_tile", "visa_capsules")


def parser(name: str, doc: str | None, backbone: str = "flawsmith-small-1") -> argparse.ArgumentParser:
    """A benchmark's arguments: those that all have."""
    made = argparse.ArgumentParser(prog=f"python -m bench {name}", description=doc)
    made.add_argument("--backbone", default=backbone, help="a bundled name, or a folder")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--json", type=Path, help="also write the numbers here")
    return made


def add_lesson(made: argparse.ArgumentParser) -> None:
    """What types are taught otherwise than usual by a benchmark that teaches."""
    made.add_argument(
        "--lesson", nargs="*", default=[], type=_given, help="field=value, as JSON, of models.teaching.lesson"
    )


def _given(text: str) -> tuple[str, Any]:
    key, _, value = text.partition("=")
    return key, json.loads(value)


def read_photo(file: Path) -> Pixels:
    """(H, W) or (H, W, 3) in the order red, green, blue, as the method takes it."""
    read_as: Any = read(file)
    if read_as.ndim == 3:
        read_as = cv2.cvtColor(read_as, cv2.COLOR_BGR2RGB if read_as.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    pixels: Pixels = read_as
    return pixels


def read_mask(file: Path, shape: tuple[int, ...]) -> Mask:
    """The file's mask, (H, W) bool, fitted to (H, W) if it has another size."""
    mask = read(file, cv2.IMREAD_GRAYSCALE)
    if mask.shape != shape[:2]:
        mask = cv2.resize(mask, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST)
    return np.asarray(mask > 0)


def spread(things: Sequence[Any], count: int) -> list[Any]:
    """At most `count` of them, evenly spread."""
    places = np.linspace(0, len(things) - 1, min(count, len(things))).round().astype(int)
    return [things[i] for i in places]


def median(values: NDArray[np.float64]) -> float:
    return float(np.median(values))


def mean(values: NDArray[np.float64]) -> float:
    return float(np.mean(values))


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Print rows that have the same keys as a table."""
    if not rows:
        return
    cells = [[*rows[0]], *([_text(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    for line in cells:
        first, *others = zip(line, widths, strict=True)
        print("  ".join([first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)]), flush=True)
    print(flush=True)


def write(path: Path | None, arguments: argparse.Namespace, **tables: Any) -> None:
    """Write tables and what they were measured with, if a file was asked for."""
    if path is None:
        return
    knobs = {key: str(value) if isinstance(value, Path) else value for key, value in vars(arguments).items()}
    path.write_text(json.dumps({"arguments": knobs, **tables}, indent=1) + "\n", encoding="utf-8")


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, tuple | list):
        return " to ".join(_text(one) for one in value)
    return str(value)
