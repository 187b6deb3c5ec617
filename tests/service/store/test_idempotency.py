"""Reservations: done once, answered the same, never lost between two holders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from flawsmith.contract.manifests import AugmentationManifest, IdempotencyRecord
from service.store import idempotency, records
from service.store.acceptance import TooManyOpenJobsError, answer_of
from service.store.connection import connect_redis
from service.store.folder import FolderStorage
from service.store.idempotency import (
    IdempotencyInProgressError,
    IdempotencyMismatchError,
    Reservation,
    ReservationLostError,
    Reservations,
    StoredAnswer,
)
from service.store.jobs import Jobs
from service.store.settings import StoreSettings
from tests.service.store.test_jobs import FILES, TENANT, finish, got, manifest

KEY, PAYLOAD = 64 * "a", 64 * "b"
ANSWER = StoredAnswer(201, b'{"id": 1}', "/v1/uploads/1")


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path)


@pytest.fixture
def reservations(redis: Redis) -> Reservations:
    return Reservations(redis)


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Holders are taken for dead at once."""
    monkeypatch.setattr(idempotency, "_LEASE_MS", 0)


def reserved(reservations: Reservations, tenant: str = TENANT, payload: str = PAYLOAD) -> Reservation:
    found = reservations.reserve(tenant, KEY, payload)
    assert isinstance(found, Reservation)
    return found


def promised(reservation: Reservation) -> AugmentationManifest:
    record = IdempotencyRecord(key_sha256=reservation.key_sha256, payload_sha256=reservation.payload_sha256)
    return manifest().model_copy(update={"idempotency": record})


def test_a_kept_answer_is_given_again(reservations: Reservations) -> None:
    reservations.complete(reserved(reservations), ANSWER)
    assert reservations.reserve(TENANT, KEY, PAYLOAD) == ANSWER


def test_while_the_first_is_at_work_the_second_waits(reservations: Reservations) -> None:
    reserved(reservations)
    with pytest.raises(IdempotencyInProgressError):
        reservations.reserve(TENANT, KEY, PAYLOAD)


def test_who_does_not_hear_that_the_key_is_its_own_still_has_it(
    reservations: Reservations, settings: StoreSettings, lose_answer: Callable[[], None]
) -> None:
    lose_answer()
    with connect_redis(settings) as client:
        holder = reserved(Reservations(client))
    with pytest.raises(IdempotencyInProgressError):
        reservations.reserve(TENANT, KEY, PAYLOAD)
    reservations.complete(holder, ANSWER)


@pytest.mark.parametrize("kept", [True, False])
def test_another_payload_under_the_key_is_refused(reservations: Reservations, kept: bool) -> None:
    first = reserved(reservations)
    if kept:
        reservations.complete(first, ANSWER)
    with pytest.raises(IdempotencyMismatchError):
        reservations.reserve(TENANT, KEY, 64 * "c")


def test_a_released_key_is_free_for_whatever_comes(reservations: Reservations) -> None:
    reservations.release(reserved(reservations))
    reserved(reservations, payload=64 * "c")


def test_keys_of_tenants_do_not_meet(reservations: Reservations) -> None:
    reserved(reservations)
    reserved(reservations, tenant="other")


def test_a_kept_answer_is_forgotten_after_a_day(reservations: Reservations, redis: Redis) -> None:
    reservations.complete(reserved(reservations), ANSWER)
    ttl = redis.ttl(idempotency.reservation_key(TENANT, KEY))
    assert 24 * 3600 - 10 < ttl <= 24 * 3600


def test_who_does_not_renew_loses_the_key_and_can_keep_nothing(
    reservations: Reservations, short_lease: None
) -> None:
    dead = reserved(reservations)
    heir = reserved(reservations)
    assert not reservations.renew(dead)
    with pytest.raises(ReservationLostError):
        reservations.complete(dead, ANSWER)
    reservations.release(dead)
    reservations.complete(heir, ANSWER)


def test_a_renewed_lease_holds(reservations: Reservations, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(idempotency, "_LEASE_MS", 0)
        holder = reserved(reservations)
    assert reservations.renew(holder)
    with pytest.raises(IdempotencyInProgressError):
        reservations.reserve(TENANT, KEY, PAYLOAD)


def test_a_job_and_its_promise_are_made_together(reservations: Reservations, jobs: Jobs) -> None:
    holder = reserved(reservations)
    request = promised(holder)
    jobs.accept(request, FILES, reservation=holder)
    assert reservations.reserve(TENANT, KEY, PAYLOAD) == answer_of(request)


def test_a_holder_that_was_overtaken_makes_no_job(
    reservations: Reservations, jobs: Jobs, storage: FolderStorage, short_lease: None
) -> None:
    dead, heir = reserved(reservations), reserved(reservations)
    with pytest.raises(ReservationLostError):
        jobs.accept(promised(dead), FILES, reservation=dead)
    assert list(storage.list("")) == []
    assert jobs.page(TENANT, 10).jobs == []
    jobs.accept(promised(heir), FILES, reservation=heir)


def test_a_promise_outlives_its_job_and_says_so(reservations: Reservations, jobs: Jobs) -> None:
    holder = reserved(reservations)
    request = promised(holder)
    jobs.accept(request, FILES, reservation=holder)
    jobs.cancel(TENANT, request.job_id)
    jobs.delete(TENANT, request.job_id)
    answer = reservations.reserve(TENANT, KEY, PAYLOAD)
    assert isinstance(answer, StoredAnswer)
    assert answer.deleted


def test_no_more_jobs_are_open_than_the_quota_allows(jobs: Jobs, storage: FolderStorage) -> None:
    first, second = manifest(count=1), manifest(count=1)
    jobs.accept(first, FILES, quota=1)
    with pytest.raises(TooManyOpenJobsError):
        jobs.accept(second, FILES, quota=1)
    assert list(storage.folders("default/jobs/")) == [first.job_id]
    finish(jobs, first.job_id, 0)
    jobs.accept(second, FILES, quota=1)


def test_the_quota_holds_where_many_come_at_once(jobs: Jobs, redis: Redis) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def attempt(_: int) -> bool:
        try:
            jobs.accept(manifest(count=1), FILES, quota=3)
        except TooManyOpenJobsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(attempt, range(16)))
    assert sum(outcomes) == 3
    assert redis.scard(records.open_key(TENANT)) == 3


def test_the_place_in_the_queue_and_the_time_it_takes_are_told(jobs: Jobs, redis: Redis) -> None:
    first, second = manifest(count=4), manifest(count=2)
    for request in (first, second):
        jobs.accept(request, FILES)
    assert got(jobs, first.job_id).queue_position == 0
    seen = got(jobs, second.job_id)
    assert (seen.queue_position, seen.eta) == (2, None)

    jobs.note_pace(3.0)
    redis.sadd("rq:workers:flawsmith-compute", "rq:worker:w")
    redis.hset("rq:worker:w", "state", "busy")
    seen = got(jobs, second.job_id)
    assert seen.eta is not None
    ahead_and_own = 2 * jobs._settings.shard_size + 2
    assert (seen.eta - seen.created_at).total_seconds() == pytest.approx(3.0 * ahead_and_own, abs=2)
