"""Sets of samples made in code."""

from __future__ import annotations

import asyncio
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.images.door import Door
from service.images.limits import Limits
from service.samples.archive import Archive
from service.samples.limits import SampleLimits
from service.samples.reading import SampleSet, read_hold_out, read_zip
from service.samples.recognising import recognise
from tests.service.images import files

HEIGHT, WIDTH = 48, 64


def photo(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> bytes:
    """A PNG file, another one for each seed."""
    return files.png(files.noise(height, width, 3, seed=seed))


def mask(
    top: int = 10, left: int = 12, height: int = 12, width: int = 20, of: tuple[int, int] = (HEIGHT, WIDTH)
) -> bytes:
    """A PNG file with a white rectangle on black."""
    return files.png(mask_pixels(top, left, height, width, of))


def mask_pixels(
    top: int = 10, left: int = 12, height: int = 12, width: int = 20, of: tuple[int, int] = (HEIGHT, WIDTH)
) -> NDArray[np.uint8]:
    pixels = np.zeros(of, np.uint8)
    pixels[top : top + height, left : left + width] = 255
    return pixels


EMPTY = mask(height=0)
OF_CLASSES = files.png(mask_pixels() // 255 + mask_pixels(width=9) // 255)
"""Classes 0, 1 and 2: of more than two values none is in the upper half."""


def pairs(count: int, first: int = 0) -> dict[str, bytes]:
    """Files of so many pairs in ``images/`` and ``masks/``, no two alike."""
    found = {}
    for number in range(first, first + count):
        found[f"images/{number:03d}.png"] = photo(number)
        found[f"masks/{number:03d}.png"] = mask(left=number % 40)
    return found


def normals(count: int) -> dict[str, bytes]:
    return {f"good/{number:03d}.png": photo(1000 + number) for number in range(count)}


def zipped(path: Path, content: Mapping[str, bytes | str | dict[str, Any]]) -> Path:
    """A ZIP of files by name; dicts become JSON."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, json.dumps(data) if isinstance(data, dict) else data)
    return path


def layout(folder: Path, content: Mapping[str, bytes | str | dict[str, Any]]) -> Any:
    """What a ZIP of these files is recognised as."""
    with Archive(zipped(folder / "set.zip", content), SampleLimits(), "samples", 10**8) as archive:
        return recognise(archive, SampleLimits())


def read(
    folder: Path,
    content: Mapping[str, bytes | str | dict[str, Any]] | Path,
    normal: Mapping[str, bytes] | None = None,
    limits: SampleLimits | None = None,
    label: str | None = None,
    *,
    hold_out: bool = False,
) -> SampleSet:
    """A ZIP of these files, read as samples, or as a hold-out."""
    (folder / "door").mkdir(exist_ok=True)
    (folder / "set").mkdir()
    door = Door(Limits(), byte_budget=10**9, max_children=2, timeout_s=60, folder=folder / "door")
    path = content if isinstance(content, Path) else zipped(folder / "samples.zip", content)
    more = None if normal is None else zipped(folder / "normals.zip", normal)

    async def run() -> SampleSet:
        if hold_out:
            return await read_hold_out(path, folder / "set", door, limits or SampleLimits())
        return await read_zip(path, folder / "set", door, limits or SampleLimits(), normals=more, label=label)

    return asyncio.run(run())
