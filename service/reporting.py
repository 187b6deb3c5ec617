"""``/v1/jobs/{id}/report``: what a data set came to, as a page or as JSON."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from flawsmith.contract import problems
from flawsmith.contract.base import Schema
from flawsmith.contract.files import REPORT_FILES
from flawsmith.contract.jobs import Job
from flawsmith.contract.manifests import DatasetManifest
from flawsmith.contract.reports import DatasetReport, ReportFormat
from service.fields import query, query_parameters
from service.files import Kept, file_route
from service.jobs import JobPath, find
from service.openapi.responses import CONDITION_HEADERS, Responses, problem, whole_file
from service.problems import ProblemError, not_found
from service.reports.gathering import gathered, thumbnails
from service.reports.page import POLICY, page
from service.resources import Has, Tenant
from service.store.storage import Storage

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

_MEDIA_TYPES: dict[ReportFormat, str] = {"html": "text/html", "json": "application/json"}
_PAGE = whole_file("text/html")
ANSWERS: Responses = _PAGE | {200: _PAGE[200] | {"model": DatasetReport, "description": "The report."}}
_LAYOUT = 1
"""Changes whenever the same data set would give another report."""


class ReportQuery(Schema):
    """Which form of a report is wanted."""

    format: ReportFormat | None = None
    """``html``, a page that needs nothing else, or ``json``; what `Accept` asks for if absent, else JSON."""


class Report(Kept):
    """The report of a data set that has ended, made when it is sent."""

    def __init__(self, storage: Storage, manifest: DatasetManifest, job: Job, wanted: ReportFormat) -> None:
        etag = hashlib.sha256(json.dumps([_LAYOUT, job.id, wanted]).encode()).hexdigest()
        media_type = f"{_MEDIA_TYPES[wanted]}; charset=utf-8" if wanted == "html" else _MEDIA_TYPES[wanted]
        super().__init__(media_type, etag, f'inline; filename="{job.id}-{REPORT_FILES[wanted]}"')
        self._storage = storage
        self._manifest = manifest
        self._job = job
        self._wanted = wanted
        self.headers["Accept-Ranges"] = "none"
        self.headers["Vary"] = "Authorization, Accept"
        self.headers["X-Content-Type-Options"] = "nosniff"
        if wanted == "html":
            self.headers["Content-Security-Policy"] = POLICY

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        if scope["method"] != "HEAD":
            body = await run_in_threadpool(self._made)
            self.headers["Content-Length"] = str(len(body))
            digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
            self.headers["Repr-Digest"] = f"sha-256=:{digest}:"
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    def _made(self) -> bytes:
        report = gathered(self._storage, self._manifest, self._job.status)
        if self._wanted == "json":
            return (report.model_dump_json(indent=2) + "\n").encode()
        return "".join(page(report, thumbnails(self._storage, self._manifest, report))).encode()


@file_route(
    router,
    "/{job_id}/report",
    operation_id="getJobReport",
    summary="Report on a data set",
    openapi_extra={"parameters": [*query_parameters(ReportQuery), *CONDITION_HEADERS]},
    responses=ANSWERS | problem(404, 409, 412),
)
def get_report(
    request: Request,
    job_id: JobPath,
    wanted: Annotated[ReportQuery, Depends(query(ReportQuery))],
    tenant: Tenant,
    has: Has,
) -> Response:
    """What a final data set came to: some items of each type with their labels outlined, the best and the worst,
    how scores and sizes are spread, where labels lie, what was rejected and why, near-duplicates, verdicts of
    evaluations that the data set names, and what to know before training on it.

    As `text/html` it is one page without scripts that needs nothing else; as JSON it has no pictures. The same
    data set gives the same bytes; both are in its archive too.
    """
    job = find(has, tenant, job_id)
    manifest = has.jobs.manifest(tenant, job_id)
    if not isinstance(manifest, DatasetManifest):
        raise not_found(f"{job_id} is no data set and has no report")
    if not job.status.is_final:
        raise ProblemError(
            problems.NOT_FINISHED,
            f"{job_id} is {job.status}; ask again when GET /v1/jobs/{job_id} says that it is final",
        )
    return Report(has.storage, manifest, job, wanted.format or _accepted(request.headers.get("accept", "")))


def _accepted(header: str) -> ReportFormat:
    """What an ``Accept`` asks for: the page if it is named, and not after JSON; JSON if neither is."""
    weights: dict[str, float] = {}
    for part in header.split(","):
        name, _, rest = part.partition(";")
        quality = rest.strip().removeprefix("q=")
        try:
            weights[name.strip().lower()] = float(quality) if quality else 1.0
        except ValueError:
            weights[name.strip().lower()] = 1.0
    page_weight = weights.get(_MEDIA_TYPES["html"], 0.0)
    return "html" if page_weight > weights.get(_MEDIA_TYPES["json"], 0.0) else "json"
