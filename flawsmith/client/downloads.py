"""A job's results as files: in a folder, or in one archive."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from flawsmith.client.errors import CorruptDownloadError
from flawsmith.client.transfers import partial_file
from flawsmith.contract.files import (
    INPUT_FILE,
    JOB_FILE,
    MASK_FILE,
    SHEET_FILE,
    ItemPart,
    archive_member,
    item_file,
)
from flawsmith.contract.jobs import Item, ItemStatus, Job

_CHUNK_BYTES = 1 << 20
_TIFF_BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True)
class DownloadedItem:
    """Where the files of one item are."""

    index: int
    image: Path
    mask: Path
    preview: Path
    request: Path | None = None
    """The mask that was drawn for it, if none was sent."""


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
    with partial_file(job_file) as file:
        file.write((job.model_dump_json(indent=2) + "\n").encode())
    return Download(folder, job_file)


def targets(download: Download, item: Item) -> dict[ItemPart, Path]:
    """Where the files of ``item`` go."""
    return {part: download.folder / item_file(item.index, part) for part in item.parts}


def end_item(download: Download, item: Item, files: dict[ItemPart, Path]) -> None:
    """Note that the files of ``item`` are there; an image that proves to be a TIFF is called one."""
    image = files["image"]
    with image.open("rb") as file:
        is_tiff = file.read(4) in _TIFF_BEGINNINGS
    if is_tiff:
        image = image.replace(download.folder / item_file(item.index, "image", tiff=True))
    download.items.append(DownloadedItem(item.index, image, files["mask"], files["preview"], files.get("request")))


def input_sha256(job: Job | str) -> str | None:
    return None if isinstance(job, str) else job.input_sha256


def mask_sha256(job: Job | str) -> str | None:
    return None if isinstance(job, str) else job.mask_sha256


def part_sha256(job: Job | str, index: int, part: ItemPart) -> str | None:
    """What the job says about the digest of a file, if it is known here."""
    if isinstance(job, str):
        return None
    digests: list[str | None] = [getattr(item, f"{part}_sha256") for item in job.items if item.index == index]
    return digests[0] if digests else None


def check_archive(job: Job, path: Path) -> None:
    """Hold an archive against the digests that the job names.

    Raises:
        CorruptDownloadError: it is broken, lacks a file, or a file is another one.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            for name, sha256 in _digests(job, names).items():
                with archive.open(name) as member:
                    digest = hashlib.sha256()
                    while chunk := member.read(_CHUNK_BYTES):
                        digest.update(chunk)
                if sha256 is not None and digest.hexdigest() != sha256:
                    raise CorruptDownloadError(f"{name} in the archive of {job.id} is not what the job says")
    except (zipfile.BadZipFile, KeyError) as error:
        raise CorruptDownloadError(f"the archive of {job.id} is broken: {error}") from error


def _digests(job: Job, names: set[str]) -> dict[str, str | None]:
    """Files that the archive must hold, and their digests where these are known."""
    if job.training is not None:
        return {SHEET_FILE: job.training.sheet_sha256} if job.training.sheet_sha256 else {}
    digests = {INPUT_FILE: job.input_sha256}
    if job.request.get("mask") != "drawn":
        digests[MASK_FILE] = job.mask_sha256
    for item in finished_items(job):
        tiff = archive_member(item.index, "image", tiff=True) in names
        for part in item.parts:
            digests[archive_member(item.index, part, tiff=tiff)] = part_sha256(job, item.index, part)
    return digests
