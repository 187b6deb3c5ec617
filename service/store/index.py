"""The index of a tenant's jobs in Redis: by age, in pages."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from flawsmith.contract.jobs import JobStatus
from service.store import keys, records
from service.store.connection import queue_errors

if TYPE_CHECKING:
    from redis import Redis


def known_tenants(redis: Redis) -> list[str]:
    """Tenants that Redis knows, but nothing else that somebody may have put there.

    Raises:
        QueueUnavailableError: Redis cannot be reached.
    """
    with queue_errors():
        names = cast("set[bytes]", redis.smembers(records.TENANTS_KEY))
    return sorted(filter(keys.is_tenant, (name.decode(errors="replace") for name in names)))


class InvalidCursorError(ValueError):
    """A cursor that no page gave out."""


@dataclass(frozen=True)
class Position:
    """A place in the index."""

    created_ms: int
    job_id: str

    def before(self, other: Position) -> bool:
        return (self.created_ms, self.job_id) < (other.created_ms, other.job_id)

    def as_cursor(self) -> str:
        return base64.urlsafe_b64encode(f"{self.created_ms}:{self.job_id}".encode()).decode()

    @classmethod
    def from_cursor(cls, cursor: str) -> Position:
        """The place that a page ended at.

        Raises:
            InvalidCursorError: no page gave this out.
        """
        try:
            text = base64.b64decode(cursor, altchars=b"-_", validate=True).decode()
            created_ms, _, job_id = text.partition(":")
            position = cls(int(created_ms), job_id)
        except (binascii.Error, ValueError) as error:
            raise InvalidCursorError("this cursor comes from no page of jobs") from error
        if not keys.is_job_id(job_id):
            raise InvalidCursorError("this cursor comes from no page of jobs")
        return position


class Index:
    """Every method raises `QueueUnavailableError` when Redis cannot be reached."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def after(self, tenant: str, position: Position | None, limit: int) -> list[Position]:
        """Up to ``limit`` jobs older than ``position``, newest first."""
        found: list[Position] = []
        highest = "+inf" if position is None else str(position.created_ms)
        offset = 0
        while len(found) < limit:
            with queue_errors():
                entries = cast(
                    "list[tuple[bytes, float]]",
                    self._redis.zrevrangebyscore(
                        records.index_key(tenant), highest, "-inf", start=offset, num=limit, withscores=True
                    ),
                )
            if not entries:
                break
            offset += len(entries)
            candidates = (Position(int(score), job_id.decode(errors="replace")) for job_id, score in entries)
            found.extend(entry for entry in candidates if position is None or entry.before(position))
        return found[:limit]

    def unfinished(self, tenant: str, position: Position | None, limit: int) -> list[Position]:
        """The same of those jobs that Redis holds for unfinished."""
        with queue_errors():
            members = cast("set[bytes]", self._redis.smembers(records.open_key(tenant)))
            names = [name.decode(errors="replace") for name in members]
            scores = self._redis.zmscore(records.index_key(tenant), names) if names else []
        listed = zip(names, scores, strict=True)
        found = [Position(int(score), name) for name, score in listed if score is not None]
        found.sort(key=lambda entry: (entry.created_ms, entry.job_id), reverse=True)
        return [entry for entry in found if position is None or entry.before(position)][:limit]

    def with_status(self, tenant: str, entries: list[Position], status: JobStatus) -> list[Position]:
        """Those that have the status, or of which Redis does not know it."""
        with queue_errors(), self._redis.pipeline(transaction=False) as pipeline:
            for entry in entries:
                pipeline.hget(records.record_key(tenant, entry.job_id), "status")
            found = pipeline.execute()
        wanted = (None, status.value.encode())
        return [entry for entry, value in zip(entries, found, strict=True) if value in wanted]
