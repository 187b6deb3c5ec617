"""Accepting a job: the end of every request that makes one."""

from __future__ import annotations

from fastapi import Response
from fastapi.concurrency import run_in_threadpool

from flawsmith.contract.manifests import RequestManifest
from service.idempotency import Attempt, respond
from service.resources import Resources
from service.store.acceptance import answer_of
from service.store.stored import JobFiles
from service.telemetry import catalog, context, traces


async def accept(
    has: Resources, manifest: RequestManifest, files: JobFiles, quota: int | None, attempt: Attempt
) -> Response:
    """Take a job with its files, and answer with it; from here on it will be worked on, whatever restarts.

    Raises:
        What `Jobs.accept` raises: nothing was accepted then.
    """
    context.bind(job_id=manifest.job_id)
    with traces.span("accept", job_id=manifest.job_id):
        await run_in_threadpool(has.jobs.accept, manifest, files, quota=quota, reservation=attempt.reservation)
    has.metrics.count(catalog.JOBS_ACCEPTED, kind=manifest.kind.value)
    attempt.kept = True
    return respond(answer_of(manifest))
