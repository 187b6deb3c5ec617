"""``/v1/jobs``: the work behind augmentations, trainings and evaluations."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from flawsmith.contract import problems
from flawsmith.contract.base import Schema
from flawsmith.contract.files import INPUT_FILE, MASK_FILE, SHEET_FILE
from flawsmith.contract.ids import JobId
from flawsmith.contract.jobs import Item, ItemStatus, Job, JobKind, JobPage, JobStatus
from flawsmith.contract.manifests import DatasetManifest
from flawsmith.contract.specs import DatasetFormat
from service import idempotency
from service.archives import Archive
from service.exports import formats
from service.exports.archive import DatasetArchive
from service.fields import no_query, query, query_parameters
from service.files import StoredFile, file_route
from service.openapi.responses import CONDITION_HEADERS, FILE_HEADERS, Responses, file, problem, whole_file
from service.problems import ProblemError, not_found
from service.resources import Has, Resources, Tenant
from service.store import keys
from service.store.index import InvalidCursorError
from service.store.jobs import JobNotFinalError

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

CANCELED: Responses = {200: {"model": Job, "description": "The job as it is now."}}

JobPath = Annotated[JobId, Path(description="Id of the job.", examples=["job_01kq6h3v9c4m8z2x7t5r1n0p6w"])]


class JobsQuery(Schema):
    """Which jobs to list."""

    limit: Annotated[int, Field(ge=1, le=100)] = 20
    """How many jobs at most."""
    cursor: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """``next_cursor`` of the page before; the newest jobs if absent."""
    status: JobStatus | None = None
    """Only jobs in this status."""


class JobQuery(Schema):
    """How to ask for a job."""

    wait: Annotated[float, Field(ge=0, le=60)] = 0
    """Seconds to wait for the job to be final; it is answered as it is when it ends, or when they are over."""


@router.get(
    "",
    operation_id="listJobs",
    summary="List jobs",
    response_description="A page of jobs.",
    openapi_extra={"parameters": query_parameters(JobsQuery)},
)
def list_jobs(wanted: Annotated[JobsQuery, Depends(query(JobsQuery))], tenant: Tenant, has: Has) -> JobPage:
    """Jobs, newest first, without their items.

    A page may be shorter than `limit`, even empty, and not be the last: there are more as long as it has a
    `next_cursor`.
    """
    try:
        return has.jobs.page(tenant, wanted.limit, wanted.cursor, wanted.status)
    except InvalidCursorError as error:
        raise ProblemError(
            problems.INVALID_REQUEST,
            "cursor comes from no page of jobs; send next_cursor of the page before, or none",
            field="cursor",
        ) from error


@router.get(
    "/{job_id}",
    operation_id="getJob",
    summary="Get a job",
    response_description="The job.",
    openapi_extra={"parameters": query_parameters(JobQuery)},
    responses=problem(404),
)
async def get_job(
    job_id: JobPath, wanted: Annotated[JobQuery, Depends(query(JobQuery))], tenant: Tenant, has: Has
) -> Job:
    """Status, progress and items of a job; with `wait`, as soon as it is final."""
    deadline = time.monotonic() + wanted.wait
    async with has.changes.of(job_id) as ear:
        job = await run_in_threadpool(find, has, tenant, job_id)
        while not job.status.is_final:
            left = deadline - time.monotonic()
            if left <= 0 or has.changes.closing.is_set():
                break
            await ear.wait(left)
            # Each item is a change, and to read a job takes as long as it has items.
            over = deadline <= time.monotonic() or has.changes.closing.is_set()
            if over or await run_in_threadpool(has.jobs.has_ended, tenant, job_id):
                job = await run_in_threadpool(find, has, tenant, job_id)
        return job


@router.post(
    "/{job_id}/cancel",
    operation_id="cancelJob",
    summary="Cancel a job",
    response_model=None,
    dependencies=[Depends(no_query)],
    openapi_extra={"parameters": [idempotency.PARAMETER]},
    responses=CANCELED | problem(404, 409),
)
async def cancel_job(request: Request, job_id: JobPath, tenant: Tenant, has: Has) -> Response:
    """Cancel a job: at once if it is queued, within a denoising step if it is running.

    Finished items stay. A job that is final already is answered as it is.
    """
    async with idempotency.once(request, tenant, has, {}) as attempt:
        if attempt.replay is not None:
            return attempt.replay
        job = await run_in_threadpool(has.jobs.cancel, tenant, job_id)
        if job is None:
            raise _unknown(job_id)
        return await attempt.keep(200, with_urls(job).model_dump_json().encode())


@router.delete(
    "/{job_id}",
    operation_id="deleteJob",
    summary="Delete a job",
    response_description="The job is gone.",
    status_code=204,
    dependencies=[Depends(no_query)],
    responses=problem(404, 409),
)
def delete_job(job_id: JobPath, tenant: Tenant, has: Has) -> Response:
    """Delete a final job with its input, items and results. Uploads stay."""
    try:
        if not has.jobs.delete(tenant, job_id):
            raise _unknown(job_id)
    except JobNotFinalError as error:
        raise ProblemError(
            problems.NOT_FINISHED,
            f"{job_id} is not final; cancel it with POST /v1/jobs/{job_id}/cancel, then delete it",
        ) from error
    return Response(status_code=204)


@file_route(
    router,
    "/{job_id}/input",
    operation_id="getJobInput",
    summary="Download a job's input",
    dependencies=[Depends(no_query)],
    openapi_extra={"parameters": FILE_HEADERS},
    responses=file("image/png") | problem(404, 412, 416),
)
def get_input(job_id: JobPath, tenant: Tenant, has: Has) -> Response:
    """The canonical input as PNG: the image sent, decoded once, its EXIF orientation applied.

    Outside the requested mask every item equals it, bit for bit.
    """
    job = _augmentation(has, tenant, job_id)
    return _file(has, keys.job_input(tenant, job_id), job_id, INPUT_FILE, job.input_sha256)


@file_route(
    router,
    "/{job_id}/mask",
    operation_id="getJobMask",
    summary="Download a job's requested mask",
    dependencies=[Depends(no_query)],
    openapi_extra={"parameters": FILE_HEADERS},
    responses=file("image/png") | problem(404, 412, 416),
)
def get_mask(job_id: JobPath, tenant: Tenant, has: Has) -> Response:
    """The requested mask as understood: 8-bit grey PNG, 255 where a defect may appear, else 0.

    Of several defects it is all their masks in one. There is none if each item has one of its own.
    """
    job = _augmentation(has, tenant, job_id)
    if job.draws_masks:
        raise not_found(
            f"no mask was sent with {job_id} that its items share; each one's own is at"
            f" /v1/jobs/{job_id}/items/{{n}}/request"
        )
    return _file(has, keys.job_mask(tenant, job_id), job_id, MASK_FILE, job.mask_sha256)


@file_route(
    router,
    "/{job_id}/sheet",
    operation_id="getJobSheet",
    summary="Download a training's sheet",
    dependencies=[Depends(no_query)],
    openapi_extra={"parameters": FILE_HEADERS},
    responses=file("image/png") | problem(404, 409, 412, 416),
)
def get_sheet(job_id: JobPath, tenant: Tenant, has: Has) -> Response:
    """A picture of what a training draws so far; it changes while the training goes on."""
    job = find(has, tenant, job_id)
    if job.training is None:
        raise not_found(f"{job_id} is no training and has no sheet")
    digest = job.training.sheet_sha256
    if digest is None:
        raise ProblemError(problems.ITEM_NOT_READY, f"nothing of {job_id} is drawn yet; ask again later")
    key = keys.training_sheet(tenant, job_id, digest)
    return StoredFile(
        has.storage,
        key,
        "image/png",
        etag=digest,
        name=f"{job_id}-{SHEET_FILE}",
        sha256=digest,
        lasting=job.status.is_final,
    )


@file_route(
    router,
    "/{job_id}/archive",
    operation_id="getJobArchive",
    summary="Download all results of a job",
    openapi_extra={"parameters": [formats.PARAMETER, *CONDITION_HEADERS]},
    responses=whole_file("application/zip") | problem(404, 409, 412),
)
def get_archive(
    job_id: JobPath, wanted: Annotated[list[DatasetFormat], Depends(formats.asked)], tenant: Tenant, has: Has
) -> Response:
    """A ZIP of a final job: `job.json`, `input.png`, `mask.png`, and of every item that succeeded its files in
    `images/`, `masks/` and `previews/`, and the labels of single defects in `defect-masks/`; of a training
    `job.json` and `sheet.png`; of an evaluation `job.json` and, once it has found something, `evaluation.json`.

    Of a data set it holds `manifest.jsonl`, a row an item, `flawsmith.lock`, `dataset.json`, `README.txt`, and its
    images and labels in each `format`; `dataset.json` of one that was canceled says `"partial": true`. Two builds
    of an unchanged request give the same bytes.

    The same job gives the same bytes. It is made while it is sent and offers no ranges.
    """
    job = find(has, tenant, job_id)
    if not job.status.is_final:
        raise ProblemError(
            problems.NOT_FINISHED,
            f"{job_id} is {job.status}; ask again when GET /v1/jobs/{job_id} says that it is final",
        )
    manifest = has.jobs.manifest(tenant, job_id)
    chosen = formats.chosen(manifest, wanted)
    if isinstance(manifest, DatasetManifest):
        return DatasetArchive(has.storage, manifest, job, chosen, has.settings.spool_dir)
    return Archive(has.storage, manifest, job)


def _file(has: Resources, key: str, job_id: str, name: str, sha256: str | None) -> StoredFile:
    """A PNG of the job; without a digest (jobs made before they were kept) its name tells it from all others."""
    etag = sha256 or f"{job_id}-{name.removesuffix('.png')}"
    return StoredFile(has.storage, key, "image/png", etag=etag, name=f"{job_id}-{name}", sha256=sha256)


def _augmentation(has: Resources, tenant: str, job_id: str) -> Job:
    """The tenant's augmentation.

    Raises:
        ProblemError: there is none.
    """
    job = find(has, tenant, job_id)
    if job.kind is not JobKind.AUGMENTATION:
        raise not_found(f"{job_id} is no augmentation, and has no image or mask of its own")
    return job


def find(has: Resources, tenant: str, job_id: str) -> Job:
    """The tenant's job.

    Raises:
        ProblemError: there is none.
    """
    job = has.jobs.get(tenant, job_id)
    if job is None:
        raise _unknown(job_id)
    return with_urls(job)


def with_urls(job: Job) -> Job:
    """The job with the addresses of the files that its items have."""
    items = [
        _item_with_urls(item, f"/v1/jobs/{job.id}/items/{item.index}")
        if item.status is ItemStatus.SUCCEEDED
        else item
        for item in job.items
    ]
    return job.model_copy(update={"items": items})


def _item_with_urls(item: Item, url: str) -> Item:
    urls: dict[str, object] = {f"{part}_url": f"{url}/{part}" for part in item.parts}
    if item.defects is not None:
        urls["defects"] = [
            defect.model_copy(update={"mask_url": f"{url}/defects/{defect.index}/mask"}) for defect in item.defects
        ]
    return item.model_copy(update=urls)


def _unknown(job_id: str) -> ProblemError:
    return not_found(f"no job has the id {job_id}; GET /v1/jobs lists those there are")
