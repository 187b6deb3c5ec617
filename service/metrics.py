"""``/metrics``: what Prometheus scrapes. Each API process tells the same, for all of them and all workers."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse
from prometheus_client.exposition import choose_encoder
from starlette.responses import Response

from flawsmith.contract.access import Scope
from service import exposition
from service.access import require
from service.health import within_patience
from service.resources import Has

router = APIRouter(tags=["health"])

_TEXT = {"schema": {"type": "string"}}


@router.get(
    "/metrics",
    operation_id="getMetrics",
    summary="Metrics for Prometheus",
    response_class=PlainTextResponse,
    response_description="The metrics of the whole deployment.",
    dependencies=[require(Scope.ADMIN)],
    responses={200: {"content": {"text/plain": _TEXT, "application/openmetrics-text": _TEXT}}},
)
async def get_metrics(request: Request, has: Has) -> Response:
    """Counters, histograms and gauges of all API processes and workers together, in the text format of Prometheus
    or, where `Accept` asks for it, of OpenMetrics. Ask any one process, and only one: each tells the same totals.

    No label names a tenant, a job or anything that a client sent.
    """
    read = partial(exposition.read, has.probe_redis, has.probe, has.readings)
    found = await within_patience(read, has.probe_threads)
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    text = await run_in_threadpool(encode, exposition.Scrape(found))
    return Response(text, media_type=content_type)
