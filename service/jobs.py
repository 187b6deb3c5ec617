"""``/v1/jobs``: the work behind augmentations."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response
from pydantic import Field

from flawsmith.contract import problems
from flawsmith.contract.base import Schema
from flawsmith.contract.ids import JobId
from flawsmith.contract.jobs import ItemStatus, Job, JobPage, JobStatus
from service.fields import no_query, query, query_parameters
from service.files import StoredFile
from service.openapi import file, problem
from service.problems import ProblemError, not_found
from service.resources import Has, Resources, Tenant
from service.store import keys
from service.store.jobs import InvalidCursorError, JobNotFinalError

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

ITEM_PARTS = ("image", "mask", "preview")

JobPath = Annotated[JobId, Path(description="Id of the job.", examples=["job_01kq6h3v9c4m8z2x7t5r1n0p6w"])]


class JobsQuery(Schema):
    """Which jobs to list."""

    limit: Annotated[int, Field(ge=1, le=100)] = 20
    """How many jobs at most."""
    cursor: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """``next_cursor`` of the page before; the newest jobs if absent."""
    status: JobStatus | None = None
    """Only jobs in this status."""


@router.get(
    "",
    operation_id="listJobs",
    summary="List jobs",
    response_description="A page of jobs.",
    openapi_extra={"parameters": query_parameters(JobsQuery)},
)
def list_jobs(wanted: Annotated[JobsQuery, Depends(query(JobsQuery))], tenant: Tenant, has: Has) -> JobPage:
    """Jobs, newest first, without their items."""
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
    dependencies=[Depends(no_query)],
    responses=problem(404),
)
def get_job(job_id: JobPath, tenant: Tenant, has: Has) -> Job:
    """Status, progress and items of a job."""
    return find(has, tenant, job_id)


@router.post(
    "/{job_id}/cancel",
    operation_id="cancelJob",
    summary="Cancel a job",
    response_description="The job as it is now.",
    dependencies=[Depends(no_query)],
    responses=problem(404),
)
def cancel_job(job_id: JobPath, tenant: Tenant, has: Has) -> Job:
    """Cancel a job: at once if it is queued, within a denoising step if it is running.

    Finished items stay. A job that is final already is answered as it is.
    """
    job = has.jobs.cancel(tenant, job_id)
    if job is None:
        raise _unknown(job_id)
    return with_urls(job)


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


@router.get(
    "/{job_id}/input",
    operation_id="getJobInput",
    summary="Download a job's input",
    response_class=Response,
    dependencies=[Depends(no_query)],
    responses=file("image/png") | problem(404),
)
def get_input(job_id: JobPath, tenant: Tenant, has: Has) -> Response:
    """The canonical input as PNG: the image sent, decoded once, its EXIF orientation applied.

    Outside the requested mask every item equals it, bit for bit.
    """
    find(has, tenant, job_id)
    return StoredFile(has.storage, keys.job_input(tenant, job_id), "image/png", f"{job_id}-input")


@router.get(
    "/{job_id}/mask",
    operation_id="getJobMask",
    summary="Download a job's requested mask",
    response_class=Response,
    dependencies=[Depends(no_query)],
    responses=file("image/png") | problem(404),
)
def get_mask(job_id: JobPath, tenant: Tenant, has: Has) -> Response:
    """The requested mask as understood: 8-bit grey PNG, 255 where the defect may appear, else 0."""
    find(has, tenant, job_id)
    return StoredFile(has.storage, keys.job_mask(tenant, job_id), "image/png", f"{job_id}-mask")


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
        item.model_copy(
            update={f"{part}_url": f"/v1/jobs/{job.id}/items/{item.index}/{part}" for part in ITEM_PARTS}
        )
        if item.status is ItemStatus.SUCCEEDED
        else item
        for item in job.items
    ]
    return job.model_copy(update={"items": items})


def _unknown(job_id: str) -> ProblemError:
    return not_found(f"no job has the id {job_id}; GET /v1/jobs lists those there are")
