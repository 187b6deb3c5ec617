"""What happened to a job, in the order in which it happened: a stream in Redis.

An entry says only what kind of thing changed; what it changed to is read from the job. Entries are written in the
same step as the change itself, see `service.store.records`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from service.store import records
from service.store.connection import queue_errors

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import Pipeline

MAX_ENTRIES = 1000
_ID = re.compile(r"[0-9]{1,19}-[0-9]{1,19}")


@dataclass(frozen=True)
class Event:
    """One change."""

    id: str
    item: int | None
    """The item that has an outcome now; None if the job's status changed."""


class Events:
    """Streams of jobs. Every method raises `QueueUnavailableError` when Redis cannot be reached."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def after(self, tenant: str, job_id: str, event_id: str | None) -> list[Event]:
        """What happened after ``event_id``, oldest first; since the beginning if that is no id of an event."""
        start = f"({event_id}" if event_id is not None and _ID.fullmatch(event_id) else "-"
        with queue_errors():
            entries = cast(
                "list[tuple[bytes, dict[bytes, bytes]]]",
                self._redis.xrange(records.events_key(tenant, job_id), start, "+"),
            )
        return [Event(entry.decode(), _item(fields)) for entry, fields in entries]


def tell_status(pipeline: Pipeline, tenant: str, job_id: str) -> None:
    """Say that the job's status changed, as a part of a transaction."""
    pipeline.xadd(records.events_key(tenant, job_id), {"event": "status"}, maxlen=MAX_ENTRIES, approximate=True)
    pipeline.publish(records.CHANGES, job_id)


def _item(fields: dict[bytes, bytes]) -> int | None:
    index = fields.get(b"index")
    return None if index is None else int(index)
