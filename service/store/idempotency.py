"""Reservations: what a client asked for under an ``Idempotency-Key`` is done once, and answered the same again.

A reservation belongs to whoever holds its token, as long as its lease runs; it is done from the moment in which a
complete answer is kept with it. A job is made and its reservation done in one transaction, so that neither is
without the other; a holder whose lease was taken over can do neither.
"""

from __future__ import annotations

import json
import secrets
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from flawsmith.contract.manifests import IdempotencyRecord
from service.store.clock import redis_time
from service.store.connection import queue_errors

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import Pipeline

KEPT_S = 24 * 3600
LEASE_S = 15.0
"""Without a renewal for so long the request that made a reservation is taken for dead."""
SKEW_MS = 5000
"""How far the clocks of an API process and of Redis may be apart: by them it is told which job was promised."""


class IdempotencyMismatchError(Exception):
    """The key was used with another request."""


class IdempotencyInProgressError(Exception):
    """The first request with this key is still at work."""


class ReservationLostError(Exception):
    """The lease ran out and another request took the reservation over."""


@dataclass(frozen=True)
class StoredAnswer:
    """An answer to give again."""

    status: int
    body: bytes
    """JSON."""
    location: str | None = None
    job_id: str | None = None
    """The job that was made, if one was."""
    deleted: bool = False
    """That job was deleted since."""

    def packed(self) -> bytes:
        head = {"status": self.status, "location": self.location, "job_id": self.job_id}
        return zlib.compress(json.dumps(head).encode() + b"\n" + self.body)

    @classmethod
    def unpacked(cls, data: bytes, *, deleted: bool) -> StoredAnswer:
        head, _, body = zlib.decompress(data).partition(b"\n")
        return cls(body=body, deleted=deleted, **json.loads(head))


@dataclass(frozen=True)
class Reservation:
    """The right to do what was asked for under a key."""

    key: str
    """In Redis."""
    token: str
    key_sha256: str
    payload_sha256: str


class Reservations:
    """Reservations in Redis. Every method raises `QueueUnavailableError` when Redis cannot be reached."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._reserve = redis.register_script(_RESERVE)
        self._renew = redis.register_script(_RENEW)
        self._complete = redis.register_script(_COMPLETE)
        self._release = redis.register_script(_RELEASE)
        self._forget = redis.register_script(_FORGET)

    def reserve(self, tenant: str, key_sha256: str, payload_sha256: str) -> Reservation | StoredAnswer:
        """The reservation, if it is free or its holder is dead; the answer, if there is one.

        Raises:
            IdempotencyMismatchError: the key came with another payload before.
            IdempotencyInProgressError: another request holds it.
        """
        key = reservation_key(tenant, key_sha256)
        token = secrets.token_hex(16)
        with queue_errors():
            outcome, answer, deleted = self._reserve(keys=[key], args=[token, payload_sha256, _LEASE_MS, KEPT_S])
        match outcome:
            case b"reserved":
                return Reservation(key, token, key_sha256, payload_sha256)
            case b"done":
                return StoredAnswer.unpacked(cast(bytes, answer), deleted=bool(deleted))
            case b"mismatch":
                raise IdempotencyMismatchError
            case _:
                raise IdempotencyInProgressError

    def renew(self, reservation: Reservation) -> bool:
        """Lengthen the lease; False if it is another's by now."""
        with queue_errors():
            return bool(self._renew(keys=[reservation.key], args=[reservation.token, _LEASE_MS]))

    def complete(self, reservation: Reservation, answer: StoredAnswer) -> None:
        """Keep the answer, where none was kept with the job that was made.

        Raises:
            ReservationLostError: another request took the reservation over.
        """
        with queue_errors():
            kept = self._complete(keys=[reservation.key], args=[reservation.token, answer.packed()])
        if not kept:
            raise ReservationLostError

    def release(self, reservation: Reservation) -> None:
        """Let go, because nothing came of it.

        Perhaps the request of a job that was not accepted is left in storage. So it stays known since when the key
        is reserved, and that job is taken for one that was given up, and not for one that Redis had forgotten.
        """
        with queue_errors():
            self._release(keys=[reservation.key], args=[reservation.token])

    def forget(self, tenant: str, key_sha256: str, answer: StoredAnswer) -> None:
        """Let go of an answer that tells of a job which came to nothing, as `release` does."""
        with queue_errors():
            self._forget(keys=[reservation_key(tenant, key_sha256)], args=[answer.packed()])


def reservation_key(tenant: str, key_sha256: str) -> str:
    return f"flawsmith:{tenant}:idempotency:{key_sha256}"


def check_held(pipeline: Pipeline, reservation: Reservation) -> None:
    """Watch the reservation, so that the transaction to come fails if it changes hands.

    Raises:
        ReservationLostError: it has already.
    """
    pipeline.watch(reservation.key)  # type: ignore[no-untyped-call]
    token, answer = cast("list[bytes | None]", pipeline.hmget(reservation.key, ["token", "answer"]))
    if token != reservation.token.encode() or answer is not None:
        raise ReservationLostError


def is_free_for(pipeline: Pipeline, tenant: str, record: IdempotencyRecord, job_id: str, created_ms: int) -> bool:
    """Watch the reservation that a job was made under, and say whether it is the restored job's to answer.

    Raises:
        ReservationLostError: the job was given up before its client heard of it; what the client asked for again
            has been answered.
        IdempotencyInProgressError: a request holds the reservation, perhaps the one that is making this job.
    """
    key = reservation_key(tenant, record.key_sha256)
    pipeline.watch(key)  # type: ignore[no-untyped-call]
    if not pipeline.exists(key):
        return True
    fields = cast("list[bytes | None]", pipeline.hmget(key, ["answer", "lease", "since"]))
    answer, lease, since = fields
    if answer is not None and StoredAnswer.unpacked(answer, deleted=False).job_id == job_id:
        return True
    if int(since or 0) > created_ms + SKEW_MS:
        # Redis had forgotten the first reservation: both jobs were promised, and both are kept.
        return False
    if answer is not None:
        raise ReservationLostError
    if int(lease or 0) > redis_time(pipeline) * 1000:
        raise IdempotencyInProgressError
    return True


def complete_in(pipeline: Pipeline, reservation: Reservation, answer: StoredAnswer) -> None:
    """Keep the answer as a part of a transaction."""
    pipeline.hset(reservation.key, "answer", answer.packed())
    pipeline.hdel(reservation.key, "lease")
    pipeline.expire(reservation.key, KEPT_S)


def restore_in(pipeline: Pipeline, tenant: str, record: IdempotencyRecord, answer: StoredAnswer) -> None:
    """Keep an answer again that Redis has lost, as a part of a transaction."""
    key = reservation_key(tenant, record.key_sha256)
    pipeline.hsetnx(key, "payload", record.payload_sha256)
    pipeline.hsetnx(key, "answer", answer.packed())
    pipeline.expire(key, KEPT_S)


def mark_deleted_in(pipeline: Pipeline, tenant: str, record: IdempotencyRecord) -> None:
    """Note that the job of an answer was deleted, as a part of a transaction."""
    key = reservation_key(tenant, record.key_sha256)
    pipeline.hset(key, "deleted", 1)
    pipeline.expire(key, KEPT_S)


_LEASE_MS = int(LEASE_S * 1000)

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

_RESERVE = (
    _NOW
    + """
-- KEYS: reservation; ARGV: token, payload, lease in ms, seconds to keep. Returns an outcome, an answer or
-- false, and whether the job that it tells of was deleted.
local fields = redis.call('HMGET', KEYS[1], 'payload', 'answer', 'lease', 'token')
-- A client that did not hear the answer sends the same again.
if fields[4] == ARGV[1] and not fields[2] then return {'reserved', false, 0} end
if fields[1] and fields[1] ~= ARGV[2] then return {'mismatch', false, 0} end
if fields[2] then return {'done', fields[2], redis.call('HEXISTS', KEYS[1], 'deleted')} end
if fields[3] and tonumber(fields[3]) > now then return {'busy', false, 0} end
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'payload', ARGV[2], 'lease', now + ARGV[3])
redis.call('HSETNX', KEYS[1], 'since', now)
redis.call('EXPIRE', KEYS[1], ARGV[4])
return {'reserved', false, 0}
"""
)

_RENEW = (
    _NOW
    + """
-- KEYS: reservation; ARGV: token, lease in ms.
local fields = redis.call('HMGET', KEYS[1], 'token', 'answer')
if fields[1] ~= ARGV[1] or fields[2] then return 0 end
redis.call('HSET', KEYS[1], 'lease', now + ARGV[2])
return 1
"""
)

_COMPLETE = """
-- KEYS: reservation; ARGV: token, answer.
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'answer', ARGV[2])
redis.call('HDEL', KEYS[1], 'lease')
return 1
"""

_LET_GO = """
local function let_go()
    return redis.call('HDEL', KEYS[1], 'token', 'payload', 'lease', 'answer', 'deleted')
end
"""

_RELEASE = (
    _LET_GO
    + """
-- KEYS: reservation; ARGV: token.
local fields = redis.call('HMGET', KEYS[1], 'token', 'answer')
if fields[1] ~= ARGV[1] or fields[2] then return 0 end
return let_go()
"""
)

_FORGET = (
    _LET_GO
    + """
-- KEYS: reservation; ARGV: answer.
if redis.call('HGET', KEYS[1], 'answer') == ARGV[1] then return let_go() end
return 0
"""
)
