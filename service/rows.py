"""``/v1/jobs/{id}/rows``: the items of a data set, page by page, while it is made and after."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field

from flawsmith.contract import problems
from flawsmith.contract.base import Schema
from flawsmith.contract.manifests import DatasetManifest
from flawsmith.contract.rows import DatasetRowPage
from service.exports.rows import outcomes, row
from service.fields import query, query_parameters
from service.jobs import JobPath, find
from service.openapi.responses import problem
from service.problems import ProblemError, not_found
from service.resources import Has, Tenant
from service.store.storage import ObjectNotFoundError

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_CURSOR = "row:"


class RowsQuery(Schema):
    """Which rows to list."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    """How many rows at most."""
    cursor: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """``next_cursor`` of the page before; the first rows if absent."""


@router.get(
    "/{job_id}/rows",
    operation_id="listJobRows",
    summary="List a data set's items",
    response_description="A page of rows.",
    openapi_extra={"parameters": query_parameters(RowsQuery)},
    responses=problem(404),
)
def list_rows(
    job_id: JobPath, wanted: Annotated[RowsQuery, Depends(query(RowsQuery))], tenant: Tenant, has: Has
) -> DatasetRowPage:
    """Rows as `manifest.jsonl` of the archive has them, in the order of items; those not made yet are pending."""
    job = find(has, tenant, job_id)
    manifest = has.jobs.manifest(tenant, job_id)
    if not isinstance(manifest, DatasetManifest):
        raise not_found(f"{job_id} is no data set and has no rows")
    first = _position(wanted.cursor) if wanted.cursor else 0
    indices = range(min(first, manifest.count), min(first + wanted.limit, manifest.count))
    try:
        rows = [
            row(manifest, found, manifest.dataset.formats, final=job.status.is_final)
            for found in outcomes(has.storage, manifest, indices)
        ]
    except ObjectNotFoundError as error:
        raise not_found(f"rows of {job_id} are gone: it was deleted") from error
    return DatasetRowPage(rows=rows, next_cursor=_cursor(indices.stop) if indices.stop < manifest.count else None)


def _cursor(index: int) -> str:
    return base64.urlsafe_b64encode(f"{_CURSOR}{index}".encode()).decode()


def _position(cursor: str) -> int:
    """Index of the item that a page begins with."""
    try:
        text = base64.b64decode(cursor, altchars=b"-_", validate=True).decode()
        if text.startswith(_CURSOR) and text.removeprefix(_CURSOR).isdecimal():
            return int(text.removeprefix(_CURSOR))
    except (binascii.Error, ValueError):
        pass
    raise ProblemError(
        problems.INVALID_REQUEST,
        "cursor comes from no page of rows; send next_cursor of the page before, or none",
        field="cursor",
    )
