"""``Idempotency-Key``: a request that is sent again under the same key is done once and answered the same.

A key belongs to its tenant and is kept for a day. What counts as the same request is what was understood, not its
bytes: a form may be sent again with another boundary.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from fastapi import Response
from fastapi.concurrency import run_in_threadpool
from pydantic import JsonValue
from starlette.requests import Request

from flawsmith.contract import problems
from flawsmith.contract.ids import IDEMPOTENCY_KEY
from flawsmith.contract.manifests import IdempotencyRecord
from service.problems import ProblemError
from service.resources import Resources
from service.store.connection import QueueUnavailableError
from service.store.idempotency import (
    LEASE_S,
    IdempotencyInProgressError,
    IdempotencyMismatchError,
    Reservation,
    StoredAnswer,
)

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
RETRY_AFTER_S = 1

PARAMETER = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "Chosen by you, 1 to 255 printable ASCII characters, such as a UUID. The same request under "
    "the same key is done once and answered the same for 24 hours; another request under it is refused with 422, "
    "and the same with 409 while the first is at work.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
"""For ``openapi_extra`` of an operation."""

_KEY = re.compile(IDEMPOTENCY_KEY)


@dataclass
class Attempt:
    """One request, alone or the first or a later one under its key."""

    replay: Response | None = None
    """The answer that was given already."""
    reservation: Reservation | None = None
    kept: bool = False
    """The answer is kept, or there is nothing to keep it under."""
    _has: Resources | None = None

    @property
    def record(self) -> IdempotencyRecord | None:
        """For the manifest of a job that is made."""
        if self.reservation is None:
            return None
        return IdempotencyRecord(
            key_sha256=self.reservation.key_sha256, payload_sha256=self.reservation.payload_sha256
        )

    async def keep(self, status: int, body: bytes, location: str | None = None) -> Response:
        """Answer, the same whenever the request comes again.

        Raises:
            ReservationLostError: another request took the key over.
        """
        answer = StoredAnswer(status, body, location)
        if self.reservation is not None and self._has is not None:
            await run_in_threadpool(self._has.reservations.complete, self.reservation, answer)
        self.kept = True
        return respond(answer)


@asynccontextmanager
async def once(
    request: Request, tenant: str, has: Resources, payload: Mapping[str, JsonValue]
) -> AsyncIterator[Attempt]:
    """Hold the request's key, if it has one, while the block does what was asked for.

    Args:
        payload: what was understood of the request; method and path are added.

    Raises:
        ProblemError: the key is none, came with another request, or the first request is still at work.
    """
    key = _key(request)
    if key is None:
        yield Attempt(kept=True)
        return
    found = await run_in_threadpool(_reserve, has, tenant, _digest(key), _digest(_canonical(request, payload)))
    if isinstance(found, StoredAnswer):
        yield Attempt(replay=respond(found, {REPLAYED: "true"}), kept=True)
        return
    attempt = Attempt(reservation=found, _has=has)
    renewing = asyncio.create_task(_renew(has, found))
    try:
        yield attempt
    finally:
        renewing.cancel()
        if not attempt.kept:
            with suppress(QueueUnavailableError):  # its lease runs out
                await asyncio.shield(run_in_threadpool(has.reservations.release, found))


def respond(answer: StoredAnswer, headers: Mapping[str, str] | None = None) -> Response:
    location = {"Location": answer.location} if answer.location else {}
    return Response(answer.body, answer.status, {**location, **(headers or {})}, "application/json")


def _key(request: Request) -> str | None:
    given = request.headers.getlist(HEADER)
    if not given:
        return None
    if len(given) > 1 or not _KEY.fullmatch(given[0]):
        raise ProblemError(
            problems.INVALID_REQUEST,
            f"{HEADER} must be sent once, as 1 to 255 printable ASCII characters without spaces; take a UUID",
            field=HEADER,
        )
    return given[0]


def _reserve(has: Resources, tenant: str, key_sha256: str, payload_sha256: str) -> Reservation | StoredAnswer:
    while True:
        try:
            found = has.reservations.reserve(tenant, key_sha256, payload_sha256)
        except IdempotencyMismatchError:
            raise ProblemError(
                problems.IDEMPOTENCY_MISMATCH,
                f"this {HEADER} came with another request before; take a new key for a new request",
                field=HEADER,
            ) from None
        except IdempotencyInProgressError:
            raise ProblemError(
                problems.IDEMPOTENCY_IN_PROGRESS,
                f"the first request with this {HEADER} is still at work; send this one again in a moment",
                field=HEADER,
                retry_after_s=RETRY_AFTER_S,
            ) from None
        if isinstance(found, Reservation) or found.job_id is None or found.deleted:
            return found
        if has.jobs.exists(tenant, found.job_id):
            return found
        # Its acceptance failed after Redis had taken it: nothing was done.
        has.reservations.forget(tenant, key_sha256, found)


async def _renew(has: Resources, reservation: Reservation) -> None:
    while True:
        await asyncio.sleep(LEASE_S / 3)
        with suppress(QueueUnavailableError):
            await run_in_threadpool(has.reservations.renew, reservation)


def _canonical(request: Request, payload: Mapping[str, JsonValue]) -> str:
    whole = {"method": request.method, "path": request.url.path, "payload": payload}
    return json.dumps(whole, sort_keys=True, separators=(",", ":"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
