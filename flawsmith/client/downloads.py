"""A job's results as files: in a folder, or in one archive."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from flawsmith.client import unpacking
from flawsmith.client.errors import CorruptDownloadError
from flawsmith.client.transfers import partial_file
from flawsmith.contract.files import (
    EVALUATION_FILE,
    INPUT_FILE,
    JOB_FILE,
    MASK_FILE,
    SHEET_FILE,
    archive_defect,
    archive_member,
    item_defect_file,
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
    """Its requested mask, if one was drawn because none was sent."""
    defect_masks: tuple[Path, ...] = ()
    """The label of each of its defects, if it has several."""


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
    """Make the folder and write ``job.json`` into it, in place of another job with its items."""
    folder = Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    download = Download(folder, folder / JOB_FILE)
    _remove_other(job, download)
    with partial_file(download.job_file) as file:
        file.write((job.model_dump_json(indent=2) + "\n").encode())
    return download


def _remove_other(job: Job, download: Download) -> None:
    """Remove the items of the job that ``job.json`` names, if it is another one.

    An image of the one beside a label of the other would pass for a pair.
    """
    other = another_job(job, download.folder)
    if other is None:
        return
    for item in finished_items(other):
        as_tiff = download.folder / item_file(item.index, "image", tiff=True)
        for path in (as_tiff, *targets(download, item).values()):
            if path.parent == download.folder:
                path.unlink(missing_ok=True)


def another_job(job: Job, folder: Path) -> Job | None:
    """The job that ``job.json`` in ``folder`` names, if that is another one."""
    try:
        other = Job.model_validate_json((folder / JOB_FILE).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    return None if other.id == job.id else other


def defect_mask(defect: int) -> str:
    """What the label of one of an item's defects is called, as `targets` names files."""
    return f"defects/{defect}/mask"


def targets(download: Download, item: Item) -> dict[str, Path]:
    """Where the files of ``item`` go, by what the service calls them below the item."""
    names: dict[str, str] = {part: item_file(item.index, part) for part in item.parts}
    for defect in item.defects or ():
        names[defect_mask(defect.index)] = item_defect_file(item.index, defect.index, defect.defect_type)
    return {name: download.folder / file for name, file in names.items()}


def end_item(download: Download, item: Item, files: Mapping[str, Path]) -> None:
    """Note that the files of ``item`` are there; an image that proves to be a TIFF is called one."""
    image = files["image"]
    with image.open("rb") as file:
        is_tiff = file.read(4) in _TIFF_BEGINNINGS
    if is_tiff:
        image = image.replace(download.folder / item_file(item.index, "image", tiff=True))
    labels = tuple(files[defect_mask(defect.index)] for defect in item.defects or ())
    download.items.append(
        DownloadedItem(item.index, image, files["mask"], files["preview"], files.get("request"), labels)
    )


def input_sha256(job: Job | str) -> str | None:
    return None if isinstance(job, str) else job.input_sha256


def mask_sha256(job: Job | str) -> str | None:
    return None if isinstance(job, str) else job.mask_sha256


def file_sha256(job: Job | str, index: int, name: str) -> str | None:
    """What the job says about the digest of an item's file, named as `targets` does, if it is known here."""
    if isinstance(job, str):
        return None
    found: dict[str, str | None] = {}
    for item in job.items:
        if item.index == index:
            found = {part: getattr(item, f"{part}_sha256") for part in item.parts}
            found |= {defect_mask(defect.index): defect.mask_sha256 for defect in item.defects or ()}
    return found.get(name)


def check_archive(job: Job, path: Path) -> None:
    """Hold an archive against the digests that the job names.

    Raises:
        CorruptDownloadError: it is broken, lacks a file, or a file is another one.
    """
    if job.dataset is not None:
        with path.open("rb") as file:
            unpacking.check(file)
        return
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
    if job.evaluation is not None:
        return {EVALUATION_FILE: None} if job.evaluation.result else {}
    digests = {INPUT_FILE: job.input_sha256}
    if not job.draws_masks:
        digests[MASK_FILE] = job.mask_sha256
    for item in finished_items(job):
        tiff = archive_member(item.index, "image", tiff=True) in names
        for part in item.parts:
            digests[archive_member(item.index, part, tiff=tiff)] = file_sha256(job, item.index, part)
        for defect in item.defects or ():
            digests[archive_defect(item.index, defect.index, defect.defect_type)] = defect.mask_sha256
    return digests
