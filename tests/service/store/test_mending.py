"""What Redis loses comes back from storage, and what no queue holds is queued again."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from redis import Redis
from rq.job import Job as QueueJob

from flawsmith.contract.base import now
from flawsmith.contract.ids import job_id_before
from flawsmith.contract.jobs import ItemStatus, JobStatus
from flawsmith.contract.manifests import AugmentationManifest, IdempotencyRecord
from service.store import idempotency, keys, records
from service.store.acceptance import answer_of
from service.store.idempotency import Reservation, Reservations
from service.store.jobs import Jobs
from service.store.mending import Mended, Mender
from service.store.settings import StoreSettings
from service.store.storage import Storage, StorageUnavailableError
from tests.service.store.test_jobs import FILES, TENANT, accepted, done, finish, got, manifest, queued

KEY, PAYLOAD = 64 * "a", 64 * "b"


@pytest.fixture
def mender(redis: Redis, storage: Storage, settings: StoreSettings) -> Mender:
    return Mender(redis, storage, settings, grace_s=0, orphan_age_s=0)


def promised(age_s: float = 0) -> AugmentationManifest:
    record = IdempotencyRecord(key_sha256=KEY, payload_sha256=PAYLOAD)
    return manifest(age_s=age_s).model_copy(update={"idempotency": record})


def begun(age_s: float) -> AugmentationManifest:
    """A job whose id was made some time ago."""
    return manifest(age_s=age_s).model_copy(update={"job_id": job_id_before(now() - timedelta(seconds=age_s))})


def test_an_emptied_redis_gets_all_unfinished_jobs_back(jobs: Jobs, redis: Redis, mender: Mender) -> None:
    waiting, begun, ended = accepted(jobs), accepted(jobs), accepted(jobs, manifest(count=1))
    finish(jobs, begun, 0)
    finish(jobs, ended, 0)
    redis.flushall()

    assert not mender.redis_remembers()
    mended = mender.rebuild()

    assert (mended.restored, mended.listed) == (2, 1)
    assert mender.redis_remembers()
    assert {job.id for job in jobs.page(TENANT, 10).jobs} == {waiting, begun, ended}
    assert got(jobs, ended).status is JobStatus.SUCCEEDED
    assert got(jobs, begun).progress.done == 2
    assert set(queued(redis)) == {f"{waiting}-0", f"{waiting}-1", f"{begun}-1", f"{begun}-2"}
    for job_id, shards in ((waiting, 3), (begun, 3)):
        for shard in range(shards):
            finish(jobs, job_id, shard)
        job = got(jobs, job_id)
        assert job.status is JobStatus.SUCCEEDED
        assert job.counts.succeeded == 5
    assert redis.scard(records.open_key(TENANT)) == 0


def test_rebuilding_twice_changes_nothing(jobs: Jobs, redis: Redis, mender: Mender) -> None:
    accepted(jobs)
    redis.flushall()
    mender.rebuild()
    before = queued(redis)
    assert not mender.rebuild()
    assert queued(redis) == before


def test_a_job_whose_items_are_all_in_storage_ends_without_a_worker(
    jobs: Jobs, redis: Redis, mender: Mender, storage: Storage
) -> None:
    job_id = accepted(jobs, manifest(count=2))
    for index in jobs.begin_shard(TENANT, job_id, 0).pending:
        jobs.finish_item(TENANT, job_id, done(index))
    redis.flushall()
    mender.rebuild()
    assert got(jobs, job_id).status is JobStatus.SUCCEEDED
    assert storage.exists(keys.job_result(TENANT, job_id))
    assert queued(redis) == []


def test_a_wish_to_cancel_outlives_redis(jobs: Jobs, redis: Redis, mender: Mender) -> None:
    job_id = accepted(jobs)
    jobs.begin_shard(TENANT, job_id, 0)
    jobs.finish_item(TENANT, job_id, done(0))
    jobs.cancel(TENANT, job_id)
    redis.flushall()
    mender.rebuild()
    job = got(jobs, job_id)
    assert job.status is JobStatus.CANCELED
    assert [item.status for item in job.items] == [ItemStatus.SUCCEEDED, *[ItemStatus.CANCELED] * 4]


def test_a_wish_to_cancel_that_redis_lost_with_its_last_second_is_heard(
    jobs: Jobs, redis: Redis, mender: Mender
) -> None:
    job_id, other = accepted(jobs, manifest(count=6)), accepted(jobs, manifest(count=6))
    pending = jobs.begin_shard(TENANT, job_id, 0).pending
    jobs.begin_shard(TENANT, other, 0)
    jobs.cancel(TENANT, job_id)
    redis.hdel(records.record_key(TENANT, job_id), "cancel")
    assert mender.mend_open().canceled == 1
    assert not mender.mend_open()
    assert jobs.cancel_requested(TENANT, job_id)
    assert not jobs.cancel_requested(TENANT, other)
    jobs.finish_item(TENANT, job_id, done(pending[0]))
    assert jobs.finish_shard(TENANT, job_id, 0)
    assert jobs.begin_shard(TENANT, job_id, 1).canceled
    assert jobs.finish_shard(TENANT, job_id, 1)
    job = got(jobs, job_id)
    assert (job.status, job.counts.succeeded, job.counts.canceled) == (JobStatus.CANCELED, 1, 5)


def test_a_deleted_job_does_not_come_back(jobs: Jobs, redis: Redis, mender: Mender, storage: Storage) -> None:
    job_id = accepted(jobs)
    jobs.cancel(TENANT, job_id)
    storage.delete(keys.job_request(TENANT, job_id))  # as far as a deletion got that was interrupted
    redis.flushall()
    assert mender.rebuild().removed == 1
    assert list(storage.list("")) == []
    assert jobs.get(TENANT, job_id) is None


def test_a_deletion_that_redis_has_lost_is_one_again(
    jobs: Jobs, redis: Redis, mender: Mender, storage: Storage
) -> None:
    """As when its append-only file lacks its end."""
    promise = IdempotencyRecord(key_sha256=KEY, payload_sha256=PAYLOAD)
    gone = accepted(jobs, manifest(count=1).model_copy(update={"idempotency": promise}))
    kept = accepted(jobs, manifest(count=1))
    for job_id in (gone, kept):
        finish(jobs, job_id, 0)
    assert not mender.forget_deleted()
    names = [*records.all_keys(TENANT, gone), records.index_key(TENANT)]
    held = {name: data for name in names if (data := redis.dump(name)) is not None}
    assert jobs.delete(TENANT, gone)
    for name, data in held.items():
        redis.restore(name, 0, data, replace=True)
    redis.delete(idempotency.reservation_key(TENANT, KEY))
    assert not mender.forget_deleted(), "Redis was not started anew"

    redis.set("flawsmith:run", "another")
    assert mender.forget_deleted().removed == 1

    assert jobs.get(TENANT, gone) is None
    assert [job.id for job in jobs.page(TENANT, 10).jobs] == [kept]
    assert redis.hexists(idempotency.reservation_key(TENANT, KEY), "deleted")
    assert not mender.forget_deleted()


def test_a_deletion_is_not_looked_for_in_a_storage_that_does_not_answer(
    jobs: Jobs, mender: Mender, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = accepted(jobs, manifest(count=1))
    finish(jobs, job_id, 0)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "exists", _away)
        with pytest.raises(StorageUnavailableError):
            mender.forget_deleted()
    assert not mender.forget_deleted()
    assert got(jobs, job_id).status is JobStatus.SUCCEEDED


def test_an_acceptance_that_goes_on_is_left_alone(
    jobs: Jobs, redis: Redis, storage: Storage, settings: StoreSettings
) -> None:
    request = manifest()
    storage.put(keys.job_request(TENANT, request.job_id), request.model_dump_json().encode())
    storage.put(keys.job_input(TENANT, manifest().job_id), b"of another that has not come as far")
    patient = Mender(redis, storage, settings, grace_s=60, orphan_age_s=60)
    assert not patient.rebuild()
    assert len(list(storage.list(""))) == 2


def test_recent_jobs_are_found_without_looking_at_all(jobs: Jobs, redis: Redis, mender: Mender) -> None:
    job_id = accepted(jobs)
    jobs.forget(TENANT, job_id)  # as an append-only file that lacks its end
    assert mender.recover_recent(3600).restored == 1
    assert got(jobs, job_id).status is JobStatus.QUEUED


def test_a_job_that_was_lost_while_nobody_looked_is_found(jobs: Jobs, redis: Redis, mender: Mender) -> None:
    mender.rebuild()
    redis.set("flawsmith:remembers", (now() - timedelta(days=3)).isoformat())  # then the house stopped, or slept
    job_id = accepted(jobs, begun(age_s=2 * 86400))
    jobs.forget(TENANT, job_id)
    assert mender.recover_recent(3600).restored == 1
    assert got(jobs, job_id).queue_position == 0

    jobs.forget(TENANT, job_id)
    assert not mender.recover_recent(3600), "from now on one looks from here"


def test_a_look_that_broke_off_is_none(
    jobs: Jobs, redis: Redis, mender: Mender, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    mender.rebuild()
    redis.set("flawsmith:remembers", (now() - timedelta(days=3)).isoformat())
    job_id = accepted(jobs, begun(age_s=2 * 86400))
    jobs.forget(TENANT, job_id)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "get", _away)
        with pytest.raises(StorageUnavailableError):
            mender.recover_recent(3600)
    assert mender.recover_recent(3600).restored == 1


def test_a_redis_that_was_emptied_during_a_look_does_not_count_as_filled(
    jobs: Jobs, redis: Redis, mender: Mender, monkeypatch: pytest.MonkeyPatch
) -> None:
    mender.rebuild()
    jobs.forget(TENANT, accepted(jobs))
    monkeypatch.setattr(mender, "_recover_one", lambda *arguments: redis.flushall())
    mender.recover_recent(3600)
    assert not mender.redis_remembers()


def test_a_redis_that_is_emptied_again_while_it_is_filled_is_filled_anew(
    jobs: Jobs, redis: Redis, mender: Mender, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = sorted(accepted(jobs, begun(age_s=3 * 86400 + n)) for n in range(2))
    redis.flushall()
    restore, seen = mender._recover_one, list[str]()

    def restore_and_lose(tenant: str, job_id: str, mended: Mended) -> bool:
        settled = restore(tenant, job_id, mended)
        if not seen:
            redis.flushall()
        seen.append(job_id)
        return settled

    with monkeypatch.context() as patch:
        patch.setattr(mender, "_recover_one", restore_and_lose)
        mender.rebuild()
    assert seen == old
    assert not mender.redis_remembers()
    assert mender.rebuild().restored == 1
    assert mender.redis_remembers()
    assert all(got(jobs, job_id).queue_position is not None for job_id in old)


def test_two_that_fill_redis_at_once_leave_it_filled(redis: Redis, mender: Mender, storage: Storage) -> None:
    def fill_too(tenant: str, job_id: str, mended: Mended) -> bool:
        mender.rebuild()
        return True

    slower = Mender(redis, storage, StoreSettings(), grace_s=0, orphan_age_s=0)
    slower._recover_one = fill_too  # type: ignore[method-assign]
    storage.put(keys.job_input(TENANT, begun(age_s=7200).job_id), b"left")
    slower.rebuild()
    assert mender.redis_remembers()


@pytest.mark.parametrize("value", [b"1", b"", b"\xff"])
def test_a_redis_that_does_not_say_when_one_looked_is_filled_anew(
    redis: Redis, mender: Mender, value: bytes
) -> None:
    redis.set("flawsmith:remembers", value)
    assert not mender.redis_remembers()
    mender.rebuild()
    assert mender.redis_remembers()


def test_files_stay_while_more_are_written_however_long_that_takes(
    jobs: Jobs, redis: Redis, storage: Storage, settings: StoreSettings
) -> None:
    request = begun(age_s=7200)
    storage.put(keys.job_input(TENANT, request.job_id), b"the newest of thousands")
    patient = Mender(redis, storage, settings, grace_s=0, orphan_age_s=60)
    assert not patient.rebuild()
    assert not patient.recover_recent(1)
    storage.put(keys.job_mask(TENANT, request.job_id), b"the last")
    storage.put(keys.job_request(TENANT, request.job_id), request.model_dump_json().encode())
    assert patient.recover_recent(1).restored == 1, "what a look leaves is looked at again"
    assert jobs.begin_shard(TENANT, request.job_id, 0).pending == (0, 1)
    assert storage.exists(keys.job_input(TENANT, request.job_id))


def test_a_promise_comes_back_with_its_job(jobs: Jobs, redis: Redis, mender: Mender) -> None:
    request = promised()
    jobs.accept(request, FILES)
    redis.flushall()
    mender.rebuild()
    assert Reservations(redis).reserve(TENANT, KEY, PAYLOAD) == answer_of(request)


def test_a_job_that_was_given_up_for_another_is_removed(
    jobs: Jobs, redis: Redis, mender: Mender, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "_LEASE_MS", 0)
    reservations = Reservations(redis)
    reservations.reserve(TENANT, KEY, PAYLOAD)
    abandoned = promised()  # its API process was killed between storage and queue
    storage.put(keys.job_request(TENANT, abandoned.job_id), abandoned.model_dump_json().encode())
    heir = reservations.reserve(TENANT, KEY, PAYLOAD)
    assert isinstance(heir, Reservation)
    answered = promised()
    jobs.accept(answered, FILES, reservation=heir)

    assert mender.recover_recent(3600).removed == 1
    assert [job.id for job in jobs.page(TENANT, 10).jobs] == [answered.job_id]


@pytest.mark.parametrize("let_go", ["released", "forgotten"])
def test_a_request_that_could_not_be_taken_back_makes_no_second_job(
    jobs: Jobs, redis: Redis, mender: Mender, storage: Storage, monkeypatch: pytest.MonkeyPatch, let_go: str
) -> None:
    """Storage takes the request, loses its answer, and is away when it is to be erased; its client asks again."""
    monkeypatch.setattr(idempotency, "SKEW_MS", 0)
    reservations = Reservations(redis)
    first = reservations.reserve(TENANT, KEY, PAYLOAD)
    assert isinstance(first, Reservation)
    given_up, put = promised(), storage.put

    def put_and_fail(key: str, data: bytes, media_type: str = "") -> None:
        put(key, data, media_type)
        if key == keys.job_request(TENANT, given_up.job_id):
            raise StorageUnavailableError("its answer is lost")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "put", put_and_fail)
        patch.setattr(storage, "delete", _away)
        with pytest.raises(StorageUnavailableError):
            jobs.accept(given_up, FILES, reservation=first)
    reservations.release(first)
    time.sleep(0.01)
    if let_go == "forgotten":  # of another try nothing came either, though Redis had taken it
        other = reservations.reserve(TENANT, KEY, PAYLOAD)
        assert isinstance(other, Reservation)
        reservations.complete(other, answer_of(given_up))
        reservations.forget(TENANT, KEY, answer_of(given_up))
        time.sleep(0.01)
    again = reservations.reserve(TENANT, KEY, PAYLOAD)
    assert isinstance(again, Reservation)
    answered = promised()
    jobs.accept(answered, FILES, reservation=again)

    assert mender.recover_recent(3600).removed == 1
    assert [job.id for job in jobs.page(TENANT, 10).jobs] == [answered.job_id]
    assert reservations.reserve(TENANT, KEY, PAYLOAD) == answer_of(answered)


def test_a_job_whose_own_request_is_still_at_work_is_left_to_it(
    jobs: Jobs, redis: Redis, mender: Mender, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written to storage and not yet queued, and that takes longer than the grace."""
    held = Reservations(redis).reserve(TENANT, KEY, PAYLOAD)
    assert isinstance(held, Reservation)
    request = promised()
    put, found = storage.put, []

    def look(key: str, data: bytes, media_type: str = "") -> None:
        put(key, data, media_type)
        if key == keys.job_request(TENANT, request.job_id):
            found.append(mender.recover_recent(3600))

    monkeypatch.setattr(storage, "put", look)
    jobs.accept(request, FILES, reservation=held)
    assert found == [Mended()]
    assert jobs.begin_shard(TENANT, request.job_id, 0).pending == (0, 1)
    assert Reservations(redis).reserve(TENANT, KEY, PAYLOAD) == answer_of(request)


def test_a_job_is_queued_if_nothing_comes_of_the_request_that_was_to_replace_it(
    jobs: Jobs, redis: Redis, mender: Mender, storage: Storage
) -> None:
    abandoned = promised()
    storage.put(keys.job_request(TENANT, abandoned.job_id), abandoned.model_dump_json().encode())
    heir = Reservations(redis).reserve(TENANT, KEY, PAYLOAD)
    assert isinstance(heir, Reservation)
    assert not mender.recover_recent(3600)
    Reservations(redis).release(heir)
    assert mender.recover_recent(3600).restored == 1


def test_a_job_that_was_promised_before_redis_forgot_is_kept(
    jobs: Jobs, redis: Redis, mender: Mender, storage: Storage
) -> None:
    first = promised(age_s=60)
    jobs.accept(first, FILES)
    redis.flushall()
    heir = Reservations(redis).reserve(TENANT, KEY, PAYLOAD)
    assert isinstance(heir, Reservation)
    second = promised()
    jobs.accept(second, FILES, reservation=heir)
    mender.rebuild()
    assert {job.id for job in jobs.page(TENANT, 10).jobs} == {first.job_id, second.job_id}
    assert Reservations(redis).reserve(TENANT, KEY, PAYLOAD) == answer_of(second)


@pytest.mark.parametrize("loss", ["not queued", "forgotten", "ended"])
def test_a_shard_that_nobody_holds_is_queued_again(jobs: Jobs, redis: Redis, mender: Mender, loss: str) -> None:
    job_id = accepted(jobs)
    redis.lrem("rq:queue:flawsmith-compute", 0, f"{job_id}-0")
    if loss == "forgotten":
        redis.delete(QueueJob.key_for(f"{job_id}-0"))
    if loss == "ended":
        redis.hset(QueueJob.key_for(f"{job_id}-0"), "status", "failed")

    assert not mender.mend_open()  # it may be on its way
    assert mender.mend_open().requeued == 1
    assert sorted(queued(redis)) == [f"{job_id}-0", f"{job_id}-1"]
    assert not mender.mend_open()


def test_a_job_of_which_all_is_done_is_ended(
    jobs: Jobs, redis: Redis, mender: Mender, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = accepted(jobs, manifest(count=2))
    with monkeypatch.context() as patch:
        patch.setattr(Jobs, "finalize", lambda *arguments: None)  # the worker died just before
        finish(jobs, job_id, 0)
    assert got(jobs, job_id).status is JobStatus.RUNNING
    mender.mend_open()
    assert mender.mend_open().ended == 1
    assert got(jobs, job_id).status is JobStatus.SUCCEEDED


def test_a_record_without_a_request_is_removed(jobs: Jobs, redis: Redis, mender: Mender, storage: Storage) -> None:
    job_id = accepted(jobs)
    storage.delete(keys.job_request(TENANT, job_id))
    assert mender.mend_open().removed == 1
    assert redis.scard(records.open_key(TENANT)) == 0
    assert jobs.page(TENANT, 10).jobs == []


def test_a_job_that_cannot_be_read_keeps_no_other_from_being_mended(
    jobs: Jobs, redis: Redis, mender: Mender, storage: Storage
) -> None:
    broken, newer, whole = (accepted(jobs) for _ in range(3))
    storage.put(keys.job_request(TENANT, broken), b"{")
    request = storage.get(keys.job_request(TENANT, newer))
    storage.put(keys.job_request(TENANT, newer), request.replace(b'"format_version": 2', b'"format_version": 9'))
    redis.flushall()
    assert mender.rebuild().restored == 1
    assert got(jobs, whole).status is JobStatus.QUEUED
    redis.hset(records.record_key(TENANT, whole), "format_version", 99)
    last = accepted(jobs)
    redis.lrem("rq:queue:flawsmith-compute", 0, f"{last}-0")
    mender.mend_open()
    assert mender.mend_open().requeued == 1


def test_a_late_note_begins_no_record(jobs: Jobs, redis: Redis, mender: Mender) -> None:
    job_id = accepted(jobs)
    jobs.begin_shard(TENANT, job_id, 0)
    redis.flushall()
    jobs.spare_attempt(TENANT, job_id, 0)
    jobs.fail_attempt(TENANT, job_id, 0, "late")
    assert not jobs.try_alone(TENANT, job_id, 0)
    assert mender.rebuild().restored == 1


def test_what_somebody_broke_does_not_keep_others_from_being_mended(
    jobs: Jobs, redis: Redis, mender: Mender, storage: Storage
) -> None:
    broken, unreadable, good = sorted(accepted(jobs, manifest(count=1)) for _ in range(3))
    redis.sadd(records.TENANTS_KEY, "../x", b"\xff")
    redis.sadd(records.open_key(TENANT), "no-job", b"\xff")
    redis.zadd("rq:wip:flawsmith-compute", {b"\xff:\xff": 9e12, "no-colon": 9e12})
    redis.hset(records.record_key(TENANT, broken), "format_version", "99")
    storage.put(keys.job_request(TENANT, unreadable), b"{")
    redis.delete(*records.all_keys(TENANT, unreadable), *records.all_keys(TENANT, good))
    redis.zrem(records.index_key(TENANT), unreadable, good)
    assert mender.recover_recent(3600).restored == 1
    redis.delete("rq:queue:flawsmith-compute")
    mender.mend_open()
    assert mender.mend_open().requeued == 1
    assert queued(redis) == [f"{good}-0"]


def test_a_shard_whose_items_redis_has_forgotten_does_not_count_as_done(
    jobs: Jobs, redis: Redis, mender: Mender, storage: Storage
) -> None:
    """Redis lost what a worker told it, and is told that the shard is done."""
    job_id = accepted(jobs, manifest(count=2))
    jobs.begin_shard(TENANT, job_id, 0)
    jobs.finish_item(TENANT, job_id, done(0))
    redis.flushall()
    storage.delete(keys.item_record(TENANT, job_id, 0))
    mender.rebuild()
    assert not jobs.finish_shard(TENANT, job_id, 0)
    assert got(jobs, job_id).status is JobStatus.QUEUED
    finish(jobs, job_id, 0)
    assert got(jobs, job_id).counts.succeeded == 2


def test_what_storage_knows_of_a_shard_is_recalled_when_it_is_done(jobs: Jobs, redis: Redis) -> None:
    """A cut append-only file: Redis has lost an item, but not the job."""
    job_id = accepted(jobs, manifest(count=2))
    jobs.begin_shard(TENANT, job_id, 0)
    before = redis.dump(records.items_key(TENANT, job_id))
    jobs.finish_item(TENANT, job_id, done(0))
    redis.restore(records.items_key(TENANT, job_id), 0, before, replace=True)
    jobs.finish_item(TENANT, job_id, done(1))
    assert jobs.finish_shard(TENANT, job_id, 0)
    job = got(jobs, job_id)
    assert (job.status, job.counts.succeeded) == (JobStatus.SUCCEEDED, 2)


def test_a_canceled_shard_is_done_though_redis_forgot_the_wish(jobs: Jobs, redis: Redis) -> None:
    job_id = accepted(jobs, manifest(count=2))
    jobs.begin_shard(TENANT, job_id, 0)
    jobs.finish_item(TENANT, job_id, done(0))
    jobs.cancel(TENANT, job_id)
    redis.hdel(records.record_key(TENANT, job_id), "cancel")
    assert jobs.finish_shard(TENANT, job_id, 0)
    job = got(jobs, job_id)
    assert (job.status, job.counts.succeeded, job.counts.canceled) == (JobStatus.CANCELED, 1, 1)


def test_a_job_is_never_ended_with_items_that_nobody_drew_or_canceled(jobs: Jobs, redis: Redis) -> None:
    job_id = accepted(jobs, manifest(count=4))
    finish(jobs, job_id, 0)
    redis.hset(records.record_key(TENANT, job_id), mapping={"done:1": 1, "shards_done": 2})
    jobs.finalize(TENANT, job_id)
    assert got(jobs, job_id).status is JobStatus.RUNNING
    finish(jobs, job_id, 1)
    assert got(jobs, job_id).counts.succeeded == 4


def test_a_job_that_was_too_young_when_redis_was_filled_is_found_later(
    jobs: Jobs, redis: Redis, storage: Storage, settings: StoreSettings, mender: Mender
) -> None:
    job_id = accepted(jobs)
    redis.flushall()
    patient = Mender(redis, storage, settings, grace_s=60, orphan_age_s=60)
    assert not patient.rebuild()
    assert mender.redis_remembers()
    assert mender.recover_recent(3600).restored == 1
    assert got(jobs, job_id).queue_position == 0


def _away(key: str) -> bytes:
    raise StorageUnavailableError("away")
