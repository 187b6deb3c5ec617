"""A job's results as files in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from flawsmith.client.calls import ItemPart
from flawsmith.contract.jobs import Item, ItemStatus, Job

JOB_FILE = "job.json"

PARTS: tuple[ItemPart, ...] = ("image", "mask", "preview")


@dataclass(frozen=True)
class DownloadedItem:
    """Where the files of one item are."""

    index: int
    image: Path
    mask: Path
    preview: Path


@dataclass(frozen=True)
class Download:
    """Where the files of a job are; items that did not succeed have none."""

    folder: Path
    job_file: Path
    items: list[DownloadedItem] = field(default_factory=list)


def finished_items(job: Job) -> Iterator[Item]:
    """The items of ``job`` that have files."""
    return (item for item in job.items if item.status is ItemStatus.SUCCEEDED)


def begin(job: Job, out_dir: str | os.PathLike[str]) -> Download:
    """Make the folder and write ``job.json`` into it."""
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    job_file = folder / JOB_FILE
    write(job_file, (job.model_dump_json(indent=2) + "\n").encode())
    return Download(folder, job_file)


def save_item(download: Download, item: Item, files: dict[ItemPart, bytes]) -> None:
    """Write the files of ``item`` and note where they are."""
    paths = {part: download.folder / f"{_stem(item, part)}{_suffix(data)}" for part, data in files.items()}
    for part, data in files.items():
        write(paths[part], data)
    download.items.append(DownloadedItem(item.index, paths["image"], paths["mask"], paths["preview"]))


def write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.part")
    partial.write_bytes(data)
    partial.replace(path)


def _stem(item: Item, part: ItemPart) -> str:
    stem = f"item-{item.index:02d}"
    return stem if part == "image" else f"{stem}-{part}"


def _suffix(data: bytes) -> str:
    return ".tif" if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") else ".png"
