"""All results of a job as one ZIP, made while it is sent: no copy on disk, no more in memory than a block."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from flawsmith.contract.files import (
    EVALUATION_FILE,
    EXCLUDE_FILE,
    INPUT_FILE,
    JOB_FILE,
    MASK_FILE,
    REGION_FILE,
    SHEET_FILE,
    ItemPart,
    archive_defect,
    archive_member,
    defect_mask_file,
)
from flawsmith.contract.jobs import Item, ItemStatus, Job
from flawsmith.contract.manifests import AugmentationManifest, RequestManifest
from service.files import Kept
from service.problems import not_found
from service.store import keys
from service.store.storage import Storage
from service.streams import stored
from service.zips import MEDIA_TYPE, Zip, send_zip

_LAYOUT = 1
"""Changes whenever the same job would give other bytes."""


@dataclass(frozen=True)
class _Member:
    name: str
    key: str
    size: int


class Archive(Kept):
    """``job.json``, the inputs, and the files of every succeeded item of a final job; the sheet of a training;
    ``evaluation.json`` of an evaluation.

    The same job gives the same bytes: files are stored uncompressed (images are compressed already), in a fixed
    order and with the time at which the job ended.
    """

    def __init__(self, storage: Storage, manifest: RequestManifest, job: Job) -> None:
        """List what goes in.

        Raises:
            ProblemError: a file is gone.
            StorageError: storage cannot say.
        """
        assert job.finished_at is not None
        self._storage = storage
        self._moment = job.finished_at
        self._written = {JOB_FILE: _json(job)}
        if job.evaluation is not None and job.evaluation.result is not None:
            self._written[EVALUATION_FILE] = _json(job.evaluation.result)
        self._members = _members(storage, manifest, job)
        texts = [text.decode() for text in self._written.values()]
        contents = [_LAYOUT, *texts, [(member.name, member.size) for member in self._members]]
        etag = hashlib.sha256(json.dumps(contents).encode()).hexdigest()
        super().__init__(MEDIA_TYPE, etag, f'attachment; filename="{job.id}.zip"')
        self.headers["Accept-Ranges"] = "none"

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        archive = Zip(self._moment)
        for name, data in self._written.items():
            archive.add(data, name)
        for member in self._members:
            archive.add(stored(self._storage, member.key, 0, member.size), member.name, size=member.size)
        await send_zip(self, archive, scope, receive, send)


def _json(model: BaseModel) -> bytes:
    return (model.model_dump_json(indent=2) + "\n").encode()


def _members(storage: Storage, manifest: RequestManifest, job: Job) -> list[_Member]:
    names = _files_of_augmentation(manifest, job) if isinstance(manifest, AugmentationManifest) else {}
    if job.training is not None and job.training.sheet_sha256 is not None:
        names[SHEET_FILE] = keys.training_sheet(manifest.tenant, job.id, job.training.sheet_sha256)
    sizes = storage.sizes(keys.job_prefix(manifest.tenant, job.id))
    try:
        return [_Member(name, key, sizes[key]) for name, key in names.items()]
    except KeyError as error:
        raise not_found("files of this job are gone: it was deleted") from error


def _files_of_augmentation(manifest: AugmentationManifest, job: Job) -> dict[str, str]:
    """Key of each file by its name in the archive."""
    tenant, tiff = manifest.tenant, manifest.image.source_format == "tiff"
    names = {INPUT_FILE: keys.job_input(tenant, job.id)}
    if manifest.augmentation.masked:
        names[MASK_FILE] = keys.job_mask(tenant, job.id)
    if manifest.augmentation.several:
        names |= {
            defect_mask_file(number): keys.job_defect_mask(tenant, job.id, number)
            for number, defect in enumerate(manifest.augmentation.defects)
            if defect.mask == "sent"
        }
    if manifest.region_sha256 is not None:
        names[REGION_FILE] = keys.job_region(tenant, job.id)
    if manifest.exclude_sha256 is not None:
        names[EXCLUDE_FILE] = keys.job_exclude(tenant, job.id)
    for item in job.items:
        if item.status is ItemStatus.SUCCEEDED:
            names |= {
                archive_member(item.index, part, tiff=tiff): key for part, key in _keys(manifest, item).items()
            } | {
                archive_defect(item.index, defect.index, defect.defect_type): keys.item_defect_mask(
                    tenant, job.id, item, defect
                )
                for defect in item.defects or ()
            }
    return names


def _keys(manifest: AugmentationManifest, item: Item) -> dict[ItemPart, str]:
    """Where the files of an item are."""
    tenant, job_id = manifest.tenant, manifest.job_id
    found: dict[ItemPart, str] = {
        "image": keys.item_image(tenant, job_id, item, manifest.image),
        "mask": keys.item_mask(tenant, job_id, item),
        "preview": keys.item_preview(tenant, job_id, item),
    }
    if item.request_sha256 is not None:
        found["request"] = keys.item_request(tenant, job_id, item)
    return found
