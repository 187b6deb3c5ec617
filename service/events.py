"""``/v1/jobs/{id}/events``: what happens to a job, as server-sent events.

A client that comes back with ``Last-Event-ID`` hears what it missed. If Redis has forgotten the job's events, it
hears all outcomes once more: each event tells how things are, so that hearing it twice does no harm.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from fastapi import APIRouter, Depends, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import format_sse_event
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import StreamingResponse

from flawsmith.contract.evaluations import EvaluationState
from flawsmith.contract.jobs import ItemStatus, Job, Progress
from flawsmith.contract.trainings import TrainingState
from service.fields import no_query
from service.jobs import JobPath, find, with_urls
from service.openapi.responses import Responses, problem
from service.resources import Has, Resources, Tenant
from service.store.events import Event

router = APIRouter(prefix="/v1/jobs/{job_id}/events", tags=["jobs"], dependencies=[Depends(no_query)])

HEARTBEAT_S = 15.0
_PROGRESS_EVERY_S = 1.0
_RETRY_MS = 2000
_LAST_EVENT_ID = "Last-Event-ID"

_EXAMPLE = """\
event: item
id: 1764106400123-0
data: {"index": 0, "status": "succeeded", …}

event: status
id: 1764106400125-0
data: {"id": "job_…", "status": "succeeded", …}
"""
_EVENT = {
    "type": "object",
    "properties": {
        "event": {"type": "string", "enum": ["status", "progress", "item"]},
        "id": {"type": "string"},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"oneOf": [{"$ref": f"#/components/schemas/{model}"} for model in ("Job", "Item")]},
        },
        "retry": {"type": "integer", "minimum": 0},
    },
    "required": ["event", "data"],
}
ANSWERS: Responses = {
    200: {
        "description": "The events, until the job is final. `status` and `progress` (which has no id) hold the "
        "job without its items, `item` holds an item that has an outcome; comments keep the connection.",
        "content": {"text/event-stream": {"itemSchema": _EVENT, "example": _EXAMPLE}},
    },
    204: {"description": "The job is final, and Last-Event-ID is its last event: there is nothing more to come."},
}
_PARAMETER = {
    "name": _LAST_EVENT_ID,
    "in": "header",
    "required": False,
    "description": "Id of the last event that was heard; only later ones are sent.",
    "schema": {"type": "string"},
}


@router.get(
    "",
    operation_id="streamJobEvents",
    summary="Watch a job",
    response_class=Response,
    openapi_extra={"parameters": [_PARAMETER]},
    responses=ANSWERS | problem(404),
)
async def stream_events(request: Request, job_id: JobPath, tenant: Tenant, has: Has) -> Response:
    """What happens to a job, as server-sent events; reconnecting clients go on where they stopped."""
    job = await run_in_threadpool(find, has, tenant, job_id)
    watch = _Watch(has, tenant, job_id, request.headers.get(_LAST_EVENT_ID))
    if job.status.is_final and await run_in_threadpool(watch.heard_all):
        return Response(status_code=204)
    return StreamingResponse(
        watch.stream(),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


class _Watch:
    """One client watching one job."""

    def __init__(self, has: Resources, tenant: str, job_id: str, last: str | None) -> None:
        self._has = has
        self._tenant = tenant
        self._job_id = job_id
        self._last = last
        """Id of the last event that the client has heard."""
        self._told: Job | None = None

    def heard_all(self) -> bool:
        """Whether the client has heard all that Redis remembers, and Redis remembers something."""
        return self._last is not None and not self._events(self._last) and bool(self._events(None))

    async def stream(self) -> AsyncIterator[bytes]:
        """The events as bytes; ends with the job, or with the process."""
        silent_since = time.monotonic()
        async with self._has.changes.of(self._job_id) as ear:
            while not self._has.changes.closing.is_set():
                job, news = await run_in_threadpool(self._look)
                if news:
                    silent_since = time.monotonic()
                for event in news:
                    yield event
                if job is None or job.status.is_final:
                    return
                if time.monotonic() - silent_since >= HEARTBEAT_S:
                    silent_since = time.monotonic()
                    yield format_sse_event(comment="still here")
                await ear.wait(_PROGRESS_EVERY_S if job.progress.step else HEARTBEAT_S)

    def _look(self) -> tuple[Job | None, list[bytes]]:
        """The job as it is, and what there is to say; no job if it was deleted."""
        events = self._events(self._last)
        job = self._has.jobs.get(self._tenant, self._job_id)
        if job is None:
            return None, []
        if job.status.is_final:  # it may have ended between the two
            events = self._events(self._last)
        job = with_urls(job)
        news = [
            _event("status", _summary(job), event.id)
            if event.item is None
            else _event("item", job.items[event.item], event.id)
            for event in _not_outdated(events)
            if event.item is None or event.item < len(job.items)
        ]
        if events:
            self._last = events[-1].id
        elif self._told is None and (self._last is None or job.status.is_final):
            # Redis has forgotten what happened; how things are, storage knows.
            news = [_event("item", item) for item in job.items if item.status is not ItemStatus.PENDING]
            news.append(_event("status", _summary(job)))
        elif self._told is not None and _place(self._told) != _place(job):
            news.append(_event("progress", _summary(job)))
        self._told = job
        return job, news

    def _events(self, after: str | None) -> list[Event]:
        return self._has.jobs.events(self._tenant, self._job_id, after)


def _not_outdated(events: list[Event]) -> list[Event]:
    """Without changes of status that another one followed: each tells the status as it is now."""
    last = max((place for place, event in enumerate(events) if event.item is None), default=None)
    return [event for place, event in enumerate(events) if event.item is not None or place == last]


def _place(job: Job) -> tuple[Progress, int | None, TrainingState | EvaluationState | None]:
    return job.progress, job.queue_position, job.training or job.evaluation


def _summary(job: Job) -> Job:
    return job.model_copy(update={"items": []})


def _event(name: str, data: BaseModel, event_id: str | None = None) -> bytes:
    retry = _RETRY_MS if name == "status" else None
    return format_sse_event(event=name, data_str=data.model_dump_json(), id=event_id, retry=retry)
