"""Normal images of data sets, sent as ZIPs, read without an API."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from flawsmith.contract.specs import Align
from service.images.door import Door
from service.images.limits import Limits
from service.normals.reading import NormalSet, read_zips
from service.samples.limits import SampleLimits
from tests.service.samples.sets import photo, zipped


def normals(*names: str) -> dict[str, bytes]:
    """Photos by name, no two alike."""
    return {name: photo(number) for number, name in enumerate(names)}


def read(
    folder: Path,
    limits: SampleLimits | None = None,
    most_bytes: int = 10**8,
    align: Align | None = None,
    max_rotation: float | None = None,
    **sent: Mapping[str, bytes] | bytes,
) -> NormalSet:
    """What is read of the files of a form: ZIPs of files by name, or files as they are."""
    (folder / "door").mkdir()
    (folder / "set").mkdir()
    files = {}
    for name, content in sent.items():
        if not content:
            continue
        files[name] = folder / name
        if isinstance(content, bytes):
            files[name].write_bytes(content)
        else:
            zipped(files[name], content)
    door = Door(
        Limits(max_bytes=most_bytes), byte_budget=10**9, max_children=2, timeout_s=60, folder=folder / "door"
    )
    return asyncio.run(read_zips(files, folder / "set", door, limits or SampleLimits(), align, max_rotation))
