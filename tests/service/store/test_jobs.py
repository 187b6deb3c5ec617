"""Jobs in a real Valkey: accepted once, finished once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from redis import Redis
from redis.client import Pipeline
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from rq.job import Job as QueueJob
from rq.serializers import JSONSerializer

from flawsmith.contract.base import UnknownFormatVersionError, now
from flawsmith.contract.files import INPUT_FILE, MASK_FILE
from flawsmith.contract.ids import BUILTIN_TENANT, new_job_id
from flawsmith.contract.jobs import Failure, Item, ItemStatus, Job, JobStatus
from flawsmith.contract.manifests import AUGMENTATION_FORMAT, AugmentationManifest, ResultManifest
from flawsmith.contract.resolved import ResolvedAugmentation, ResolvedDefect
from flawsmith.contract.uploads import ImageInfo
from service.store import keys, records
from service.store.connection import QueueUnavailableError, connect_redis
from service.store.folder import FolderStorage
from service.store.index import InvalidCursorError
from service.store.jobs import JobNotFinalError, Jobs
from service.store.queue import QUEUE_NAME
from service.store.settings import StoreSettings
from service.store.storage import StorageUnavailableError
from tests.servers import Valkey, free_ports, running_valkey

TENANT = "default"
FILES = {INPUT_FILE: b"image", MASK_FILE: b"mask"}
QUEUE_KEY = f"rq:queue:{QUEUE_NAME}"


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path)


def manifest(count: int = 5, shard_size: int = 2, tenant: str = TENANT, age_s: float = 0) -> AugmentationManifest:
    return AugmentationManifest(
        format_version=AUGMENTATION_FORMAT,
        tenant=tenant,
        job_id=new_job_id(),
        created_at=now() - timedelta(seconds=age_s),
        augmentation=ResolvedAugmentation(
            defects=[defect("scratch")], count=count, seed=11, metadata={"b": 1, "a": [2]}
        ),
        image=ImageInfo(
            width=4, height=4, mode="grey", bit_depth=8, source_format="png", lossy=False, pixels_sha256="0" * 64
        ),
        shard_size=shard_size,
        warnings=["a warning"],
    )


def defect(name: str, version: int = 1, tenant: str = BUILTIN_TENANT) -> ResolvedDefect:
    return ResolvedDefect(
        defect_type=name,
        defect_type_version=version,
        defect_type_tenant=tenant,
        severity=0.5,
        guidance=1,
        steps=10,
        seed_share=0.5,
        part="part",
        min_quality=0.1,
    )


def accepted(jobs: Jobs, request: AugmentationManifest | None = None) -> str:
    request = request or manifest()
    jobs.accept(request, FILES)
    return request.job_id


def got(jobs: Jobs, job_id: str) -> Job:
    job = jobs.get(TENANT, job_id)
    assert job is not None
    return job


def queued(redis: Redis) -> list[str]:
    """Ids of the shards in the queue, first to last."""
    waiting: Any = redis.lrange(QUEUE_KEY, 0, -1)
    return [entry.decode() for entry in waiting]


def done(index: int, *, accepted: bool = True) -> Item:
    return Item(index=index, status=ItemStatus.SUCCEEDED, seed=11, attempts=1, accepted=accepted)


def failed(index: int) -> Item:
    error = Failure(code="item-failed", detail="the model fell over")
    return Item(index=index, status=ItemStatus.FAILED, seed=11, error=error)


def finish(jobs: Jobs, job_id: str, shard: int) -> None:
    """Do what a worker does that succeeds."""
    for index in jobs.begin_shard(TENANT, job_id, shard).pending:
        jobs.finish_item(TENANT, job_id, done(index))
    jobs.finish_shard(TENANT, job_id, shard)


# Accepting


def test_accept_writes_storage_record_index_and_the_first_shards(
    jobs: Jobs, redis: Redis, storage: FolderStorage
) -> None:
    request = manifest()
    job = jobs.accept(request, FILES)

    assert storage.get(keys.job_input(TENANT, job.id)) == b"image"
    assert storage.get(keys.job_mask(TENANT, job.id)) == b"mask"
    assert jobs.manifest(TENANT, job.id) == request
    assert got(jobs, job.id) == job.model_copy(update={"queue_position": 0})
    assert job.status is JobStatus.QUEUED
    assert (job.progress.done, job.progress.total) == (0, 5)
    assert [item.index for item in job.items] == [0, 1, 2, 3, 4]
    assert all(item.status is ItemStatus.PENDING and item.seed == 11 for item in job.items)
    assert job.request["metadata"] == {"b": 1, "a": [2]}
    assert "defect_type_tenant" not in job.request
    assert job.warnings == ["a warning"]
    assert jobs.page(TENANT, 10).jobs == [job.model_copy(update={"items": [], "queue_position": 0})]
    assert queued(redis) == [f"{job.id}-0", f"{job.id}-1"]
    record: Any = redis.hgetall(f"flawsmith:{TENANT}:job:{job.id}")
    assert record[b"format_version"] == b"2"


def test_shards_are_rq_jobs_that_come_back(jobs: Jobs, redis: Redis) -> None:
    job_id = accepted(jobs)
    shard = QueueJob.fetch(f"{job_id}-1", connection=redis, serializer=JSONSerializer)
    assert shard.func_name == "worker.shards.run"
    assert shard.kwargs == {"tenant": TENANT, "job_id": job_id, "shard": 1}
    assert shard.should_retry
    assert shard.timeout == StoreSettings().shard_timeout_s
    assert shard.result_ttl
    assert shard.failure_ttl


def test_manifests_in_storage_keep_their_order_of_keys(jobs: Jobs, storage: FolderStorage) -> None:
    request = manifest()
    accepted(jobs, request)
    text = storage.get(keys.job_request(TENANT, request.job_id)).decode()
    assert text == request.model_dump_json(indent=2)
    assert text.startswith('{\n  "format_version": 2,\n  "tenant": "default",\n  "job_id": ')


def test_everything_of_an_acceptance_is_in_one_transaction(
    jobs: Jobs, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Redis was told before the EXEC leaves no trace, and storage is cleared."""

    def fail(self: Pipeline, raise_on_error: bool = True) -> list[Any]:
        raise RuntimeError("the process died here")

    request = manifest()
    with monkeypatch.context() as patch:
        patch.setattr(Pipeline, "execute", fail)
        with pytest.raises(RuntimeError, match="died here"):
            jobs.accept(request, FILES)
    assert redis.keys() == []
    assert jobs.get(TENANT, request.job_id) is None


def test_without_redis_nothing_is_accepted(storage: FolderStorage) -> None:
    settings = StoreSettings(redis_url=f"redis://127.0.0.1:{free_ports(1)[0]}/0", redis_timeout_s=1)
    with connect_redis(settings) as client:
        jobs = Jobs(client, storage, settings)
        with pytest.raises(QueueUnavailableError):
            jobs.accept(manifest(), FILES)
        with pytest.raises(QueueUnavailableError):
            jobs.get(TENANT, new_job_id())
        with pytest.raises(QueueUnavailableError):
            jobs.check()
        with pytest.raises(QueueUnavailableError):
            jobs.workers()
    assert list(storage.list("")) == []


def test_without_storage_nothing_is_accepted(
    jobs: Jobs, redis: Redis, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = storage.put

    def fail_at_the_manifest(key: str, data: bytes, content_type: str = "") -> None:
        if key.endswith("request.json"):
            raise StorageUnavailableError("full")
        put(key, data, content_type)

    monkeypatch.setattr(storage, "put", fail_at_the_manifest)
    with pytest.raises(StorageUnavailableError):
        jobs.accept(manifest(), FILES)
    assert redis.keys() == []
    assert list(storage.list("")) == []


def test_an_acceptance_whose_answer_was_lost_counts(
    jobs: Jobs, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = Pipeline.execute

    def lose_the_answer(self: Pipeline, raise_on_error: bool = True) -> list[Any]:
        execute(self, raise_on_error)
        raise RedisConnectionError("lost")

    request = manifest()
    with monkeypatch.context() as patch:
        patch.setattr(Pipeline, "execute", lose_the_answer)
        job = jobs.accept(request, FILES)
    assert got(jobs, job.id) == job.model_copy(update={"queue_position": 0})
    assert queued(redis) == [f"{job.id}-0", f"{job.id}-1"]


@pytest.fixture
def refusing(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Redis]:
    """A Valkey that takes no writes any more as soon as it is told so, for the reason that the test names."""
    with running_valkey(tmp_path / "valkey") as server, Redis.from_url(server.url) as client:
        if request.param == "MISCONF":
            # A snapshot cannot take the place of a folder.
            (tmp_path / "valkey" / "dump.rdb" / "x").mkdir(parents=True)
        yield client


def refuse(redis: Redis, reason: str) -> None:
    if reason == "NOREPLICAS":
        redis.config_set("min-replicas-to-write", 1)
        return
    redis.config_set("save", "3600 1")
    redis.bgsave()
    until = time.monotonic() + 10
    while redis.info("persistence")["rdb_last_bgsave_status"] == "ok" and time.monotonic() < until:
        time.sleep(0.05)


@pytest.mark.parametrize(("refusing", "reason"), [("MISCONF",) * 2, ("NOREPLICAS",) * 2], indirect=["refusing"])
def test_a_redis_that_takes_no_writes_is_as_one_that_is_away(
    refusing: Redis, reason: str, storage: FolderStorage
) -> None:
    jobs = Jobs(refusing, storage, StoreSettings())
    job_id = accepted(jobs)
    jobs.begin_shard(TENANT, job_id, 0)
    jobs.check()
    refuse(refusing, reason)
    for ask in (
        lambda: accepted(jobs),
        lambda: jobs.begin_shard(TENANT, job_id, 1),
        lambda: jobs.finish_item(TENANT, job_id, done(0)),
        lambda: jobs.progress(TENANT, job_id, 0.5),
        jobs.check,
    ):
        with pytest.raises(QueueUnavailableError, match=reason):
            ask()
    assert list(storage.folders("default/jobs/")) == [job_id]


def test_other_errors_of_redis_are_faults(jobs: Jobs, redis: Redis) -> None:
    job_id = accepted(jobs)
    redis.set(records.step_key(TENANT, "MISCONF"), "x")
    redis.delete(records.record_key(TENANT, job_id))
    redis.set(records.record_key(TENANT, job_id), "MISCONF")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        jobs.begin_shard(TENANT, job_id, 0)


def test_a_record_without_its_request_does_not_exist(jobs: Jobs, redis: Redis, storage: FolderStorage) -> None:
    """Redis took it, but the acceptance failed: the worker drops what is left."""
    job_id = accepted(jobs)
    storage.delete_prefix(keys.job_prefix(TENANT, job_id))
    state = jobs.begin_shard(TENANT, job_id, 0)
    assert state.final
    assert jobs.get(TENANT, job_id) is None
    assert jobs.page(TENANT, 10).jobs == []


# Working


def test_a_job_from_begin_to_end(jobs: Jobs, redis: Redis, storage: FolderStorage) -> None:
    job_id = accepted(jobs)
    state = jobs.begin_shard(TENANT, job_id, 0)
    assert (state.attempt, state.pending) == (1, (0, 1))
    assert (state.canceled, state.final, state.exhausted) == (False, False, False)
    job = got(jobs, job_id)
    assert job.status is JobStatus.RUNNING
    assert job.started_at is not None

    jobs.progress(TENANT, job_id, 0.25)
    assert jobs.finish_item(TENANT, job_id, done(0))
    job = got(jobs, job_id)
    assert (job.progress.done, job.progress.step) == (1, 0.25)
    assert jobs.finish_item(TENANT, job_id, done(1, accepted=False))
    jobs.finish_shard(TENANT, job_id, 0)
    finish(jobs, job_id, 1)
    assert got(jobs, job_id).status is JobStatus.RUNNING
    finish(jobs, job_id, 2)

    job = got(jobs, job_id)
    assert job.status is JobStatus.SUCCEEDED
    assert job.counts.model_dump() == {"succeeded": 5, "failed": 0, "canceled": 0, "rejected": 1}
    assert (job.progress.done, job.progress.step) == (5, 0)
    assert job.finished_at is not None
    result = ResultManifest.model_validate_json(storage.get(keys.job_result(TENANT, job_id)))
    assert (result.status, result.counts, result.items) == (job.status, job.counts, job.items)
    assert (result.started_at, result.finished_at) == (job.started_at, job.finished_at)


def test_a_job_has_ended_when_it_is_final_or_redis_does_not_know(jobs: Jobs, redis: Redis) -> None:
    job_id = accepted(jobs)
    assert not jobs.has_ended(TENANT, job_id)
    jobs.begin_shard(TENANT, job_id, 0)
    assert not jobs.has_ended(TENANT, job_id)
    for shard in range(3):
        finish(jobs, job_id, shard)
    assert jobs.has_ended(TENANT, job_id)
    redis.flushall()
    assert jobs.has_ended(TENANT, job_id)


def test_a_job_keeps_a_bounded_window_in_the_queue(jobs: Jobs, redis: Redis) -> None:
    job_id = accepted(jobs, manifest(count=11, shard_size=1))
    seen = []
    while waiting := queued(redis):
        assert len(waiting) <= 2
        redis.lpop(QUEUE_KEY)
        shard = int(waiting[0].rpartition("-")[2])
        seen.append(shard)
        finish(jobs, job_id, shard)
    assert seen == list(range(11))
    assert got(jobs, job_id).status is JobStatus.SUCCEEDED


def test_a_shard_delivered_twice_counts_once(jobs: Jobs, redis: Redis) -> None:
    job_id = accepted(jobs, manifest(count=6, shard_size=2))
    finish(jobs, job_id, 0)
    again = jobs.begin_shard(TENANT, job_id, 0)
    assert again.pending == ()
    assert not jobs.finish_item(TENANT, job_id, failed(0))
    jobs.finish_shard(TENANT, job_id, 0)
    jobs.finish_shard(TENANT, job_id, 0)
    assert queued(redis) == [f"{job_id}-{shard}" for shard in (0, 1, 2)]
    finish(jobs, job_id, 1)
    assert got(jobs, job_id).status is JobStatus.RUNNING
    finish(jobs, job_id, 2)
    assert got(jobs, job_id).counts.succeeded == 6


def test_shards_finished_at_the_same_time_all_count(jobs: Jobs, redis: Redis) -> None:
    job_id = accepted(jobs, manifest(count=16, shard_size=1))
    for turn in range(0, 16, 2):
        threads = [
            threading.Thread(target=finish, args=(jobs, job_id, shard)) for shard in (turn, turn + 1) for _ in "ab"
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    job = got(jobs, job_id)
    assert job.status is JobStatus.SUCCEEDED
    assert job.counts.succeeded == 16
    assert sorted(queued(redis)) == sorted(f"{job_id}-{shard}" for shard in range(16))


def test_a_zombie_changes_nothing(jobs: Jobs, storage: FolderStorage) -> None:
    """A worker that was thought dead wakes up after the job has ended."""
    job_id = accepted(jobs, manifest(count=1))
    zombie = jobs.begin_shard(TENANT, job_id, 0)
    heir = jobs.begin_shard(TENANT, job_id, 0)
    assert not jobs.holds_shard(TENANT, job_id, 0, zombie.attempt)
    assert jobs.holds_shard(TENANT, job_id, 0, heir.attempt)
    assert jobs.finish_item(TENANT, job_id, done(0))
    jobs.finish_shard(TENANT, job_id, 0)
    before, result = got(jobs, job_id), storage.get(keys.job_result(TENANT, job_id))

    assert jobs.cancel_requested(TENANT, job_id)
    assert not jobs.finish_item(TENANT, job_id, failed(0))
    jobs.progress(TENANT, job_id, 0.5)
    jobs.finish_shard(TENANT, job_id, 0)
    assert jobs.begin_shard(TENANT, job_id, 0).final
    assert got(jobs, job_id) == before
    assert storage.get(keys.job_result(TENANT, job_id)) == result
    assert jobs.finished_item(TENANT, job_id, 0) == done(0)


def test_the_outcome_in_storage_holds(jobs: Jobs, storage: FolderStorage) -> None:
    """A worker died between writing an item's record and counting it; the next one drew it differently."""
    job_id = accepted(jobs, manifest(count=1))
    first = done(0).model_copy(update={"fingerprint": "first"})
    record = keys.item_record(TENANT, job_id, 0)
    storage.put(record, first.model_dump_json().encode())
    assert jobs.finish_item(TENANT, job_id, done(0).model_copy(update={"fingerprint": "second"}))
    assert got(jobs, job_id).items == [first]


def test_a_worker_that_died_while_finishing_is_made_up_for(
    jobs: Jobs, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = accepted(jobs, manifest(count=1))
    jobs.begin_shard(TENANT, job_id, 0)
    jobs.finish_item(TENANT, job_id, done(0))

    def die(*args: object) -> bool:
        raise StorageUnavailableError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "put_if_absent", die)
        with pytest.raises(StorageUnavailableError):
            jobs.finish_shard(TENANT, job_id, 0)
    assert got(jobs, job_id).status is JobStatus.RUNNING
    assert jobs.begin_shard(TENANT, job_id, 0).pending == ()
    jobs.finish_shard(TENANT, job_id, 0)
    assert got(jobs, job_id).status is JobStatus.SUCCEEDED


def test_a_result_that_is_in_storage_is_not_written_again(jobs: Jobs, storage: FolderStorage) -> None:
    """A worker died between writing the result and making the status final."""
    job_id = accepted(jobs, manifest(count=1))
    finish(jobs, job_id, 0)
    result = storage.get(keys.job_result(TENANT, job_id))
    jobs._redis.hset(records.record_key(TENANT, job_id), "status", "running")
    jobs.finish_shard(TENANT, job_id, 0)
    assert storage.get(keys.job_result(TENANT, job_id)) == result
    assert got(jobs, job_id).finished_at == ResultManifest.model_validate_json(result).finished_at


def test_attempts_are_counted_and_used_up(jobs: Jobs) -> None:
    job_id = accepted(jobs, manifest(count=2))
    for attempt in (1, 2, 3):
        state = jobs.begin_shard(TENANT, job_id, 0)
        assert (state.attempt, state.failures, state.exhausted) == (attempt, attempt - 1, False)
        jobs.fail_attempt(TENANT, job_id, 0, f"reason {attempt}")
    state = jobs.begin_shard(TENANT, job_id, 0)
    assert (state.exhausted, state.failures, state.last_error) == (True, 3, "reason 3")
    assert jobs.begin_shard(TENANT, job_id, 1).attempt == 1  # each shard has its own


def test_a_begin_whose_answer_is_lost_is_one_attempt(jobs: Jobs, lose_answer: Callable[[], None]) -> None:
    job_id = accepted(jobs, manifest(count=2))
    for attempt in (1, 2):
        lose_answer()
        state = jobs.begin_shard(TENANT, job_id, 0)
        assert (state.attempt, state.failures) == (attempt, attempt - 1)
        assert jobs.holds_shard(TENANT, job_id, 0, attempt)


def test_an_item_whose_note_is_answered_to_nobody_is_tried_alone(
    jobs: Jobs, lose_answer: Callable[[], None]
) -> None:
    job_id = accepted(jobs)
    lose_answer()
    assert jobs.try_alone(TENANT, job_id, 0)
    assert not jobs.try_alone(TENANT, job_id, 0)


def test_spared_attempts_are_not_held_against_a_shard(jobs: Jobs) -> None:
    job_id = accepted(jobs, manifest(count=2))
    for _ in range(10):
        state = jobs.begin_shard(TENANT, job_id, 0)
        assert (state.failures, state.exhausted) == (0, False)
        jobs.spare_attempt(TENANT, job_id, 0)
    assert jobs.begin_shard(TENANT, job_id, 0).attempt == 11


@pytest.mark.parametrize(("bad", "status"), [(1, JobStatus.SUCCEEDED), (3, JobStatus.FAILED)])
def test_a_job_fails_only_if_all_its_items_do(jobs: Jobs, bad: int, status: JobStatus) -> None:
    job_id = accepted(jobs, manifest(count=3, shard_size=3))
    jobs.begin_shard(TENANT, job_id, 0)
    for index in range(3):
        jobs.finish_item(TENANT, job_id, failed(index) if index < bad else done(index))
    jobs.finish_shard(TENANT, job_id, 0)
    job = got(jobs, job_id)
    assert job.status is status
    assert (job.counts.failed, job.counts.succeeded) == (bad, 3 - bad)
    assert (job.error is not None) == (status is JobStatus.FAILED)
    if job.error is not None:
        assert job.error.detail == "the model fell over"


# Canceling and deleting


def test_cancel_of_a_queued_job_is_final_at_once(jobs: Jobs, redis: Redis, storage: FolderStorage) -> None:
    job_id = accepted(jobs)
    job = jobs.cancel(TENANT, job_id)
    assert job is not None
    assert job.status is JobStatus.CANCELED
    assert job.counts.canceled == 5
    assert (job.started_at, job.finished_at is None) == (None, False)
    assert all(item.status is ItemStatus.CANCELED for item in job.items)
    assert storage.exists(keys.job_result(TENANT, job_id))
    assert queued(redis) == []
    assert jobs.begin_shard(TENANT, job_id, 0).final
    assert jobs.cancel(TENANT, job_id) == job


def test_cancel_of_a_running_job_keeps_what_is_finished(jobs: Jobs, redis: Redis) -> None:
    job_id = accepted(jobs, manifest(count=8))
    jobs.begin_shard(TENANT, job_id, 0)
    jobs.finish_item(TENANT, job_id, done(0))
    assert not jobs.cancel_requested(TENANT, job_id)
    job = jobs.cancel(TENANT, job_id)
    assert job is not None
    assert job.status is JobStatus.RUNNING
    assert jobs.cancel_requested(TENANT, job_id)

    jobs.finish_shard(TENANT, job_id, 0)
    assert queued(redis) == [f"{job_id}-0", f"{job_id}-1"]  # none was fed
    assert got(jobs, job_id).status is JobStatus.RUNNING
    state = jobs.begin_shard(TENANT, job_id, 1)
    assert state.canceled
    jobs.finish_shard(TENANT, job_id, 1)
    job = got(jobs, job_id)
    assert job.status is JobStatus.CANCELED
    assert (job.counts.succeeded, job.counts.canceled) == (1, 7)
    assert job.items[0] == done(0)


def test_cancel_that_comes_too_late_changes_nothing(jobs: Jobs) -> None:
    job_id = accepted(jobs, manifest(count=1))
    jobs.begin_shard(TENANT, job_id, 0)
    jobs.finish_item(TENANT, job_id, done(0))
    jobs.cancel(TENANT, job_id)
    jobs.finish_shard(TENANT, job_id, 0)
    assert got(jobs, job_id).status is JobStatus.SUCCEEDED
    assert jobs.cancel(TENANT, job_id) == got(jobs, job_id)


def test_cancel_and_delete_of_no_job(jobs: Jobs) -> None:
    for job_id in (new_job_id(), "no-job-id", "../../etc"):
        assert jobs.get(TENANT, job_id) is None
        assert jobs.cancel(TENANT, job_id) is None
        assert jobs.delete(TENANT, job_id) is False


def test_delete_takes_records_and_files(jobs: Jobs, redis: Redis, storage: FolderStorage) -> None:
    job_id, other = accepted(jobs), accepted(jobs)
    jobs.cancel(TENANT, job_id)
    assert jobs.delete(TENANT, job_id) is True
    assert jobs.get(TENANT, job_id) is None
    assert [job.id for job in jobs.page(TENANT, 10).jobs] == [other]
    assert not any(job_id in key for key in storage.list(""))
    assert not any(job_id.encode() in key for key in redis.scan_iter())
    assert jobs.delete(TENANT, job_id) is False


def test_delete_of_a_job_at_work_is_refused(jobs: Jobs) -> None:
    job_id = accepted(jobs)
    with pytest.raises(JobNotFinalError, match="cancel it"):
        jobs.delete(TENANT, job_id)
    jobs.begin_shard(TENANT, job_id, 0)
    with pytest.raises(JobNotFinalError):
        jobs.delete(TENANT, job_id)


# Reading


def test_tenants_do_not_see_each_other(jobs: Jobs) -> None:
    theirs = manifest(tenant="other")
    accepted(jobs, theirs)
    assert jobs.get(TENANT, theirs.job_id) is None
    assert jobs.cancel(TENANT, theirs.job_id) is None
    assert jobs.page(TENANT, 10).jobs == []
    assert jobs.get("other", theirs.job_id) is not None


def test_pages_go_from_new_to_old(jobs: Jobs) -> None:
    ids = [accepted(jobs, manifest(count=1, age_s=age)) for age in range(7)]
    page = jobs.page(TENANT, 3)
    found = [page]
    while page.next_cursor is not None:
        page = jobs.page(TENANT, 3, page.next_cursor)
        found.append(page)
    assert [[job.id for job in page.jobs] for page in found] == [ids[:3], ids[3:6], ids[6:]]
    assert jobs.page(TENANT, 7).next_cursor is None
    assert jobs.page("other", 7).jobs == []


def test_pages_of_jobs_of_one_millisecond(jobs: Jobs) -> None:
    requests = [manifest(count=1) for _ in range(5)]
    for request in requests:
        accepted(jobs, request.model_copy(update={"created_at": requests[0].created_at}))
    found: list[str] = []
    cursor = None
    while len(found) < 5:
        page = jobs.page(TENANT, 2, cursor)
        found += [job.id for job in page.jobs]
        cursor = page.next_cursor
    assert cursor is None
    assert sorted(found, reverse=True) == found
    assert set(found) == {request.job_id for request in requests}


def test_pages_by_status(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.store.jobs._INDEX_BATCH", 3)
    ids = [accepted(jobs, manifest(count=1, age_s=age)) for age in range(10)]
    for job_id in ids[::3]:
        jobs.cancel(TENANT, job_id)
    page = jobs.page(TENANT, 3, None, JobStatus.CANCELED)
    assert [job.id for job in page.jobs] == [ids[0], ids[3], ids[6]]
    page = jobs.page(TENANT, 3, page.next_cursor, JobStatus.CANCELED)
    assert ([job.id for job in page.jobs], page.next_cursor) == ([ids[9]], None)
    assert jobs.page(TENANT, 3, None, JobStatus.FAILED).jobs == []


@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.RUNNING])
def test_pages_of_unfinished_jobs_do_not_read_those_that_ended_long_ago(
    jobs: Jobs, redis: Redis, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch, status: JobStatus
) -> None:
    monkeypatch.setattr("service.store.jobs._INDEX_BATCH", 3)
    ids = [accepted(jobs, manifest(count=1, age_s=age)) for age in range(12)]
    unfinished = ids[1::4]
    for job_id in ids:
        if job_id not in unfinished:
            jobs.cancel(TENANT, job_id)
            redis.delete(*records.all_keys(TENANT, job_id))  # a week later
        elif status is JobStatus.RUNNING:
            jobs.begin_shard(TENANT, job_id, 0)
    redis.sadd(records.open_key(TENANT), "no-job", b"\xff")
    monkeypatch.setattr(storage, "get", _unasked)
    page = jobs.page(TENANT, 2, None, status)
    assert [job.id for job in page.jobs] == unfinished[:2]
    page = jobs.page(TENANT, 2, page.next_cursor, status)
    assert ([job.id for job in page.jobs], page.next_cursor) == (unfinished[2:], None)


def test_a_page_of_unfinished_jobs_has_one_whose_record_alone_is_lost(jobs: Jobs, redis: Redis) -> None:
    job_id = accepted(jobs)
    redis.delete(*records.all_keys(TENANT, job_id))
    assert [job.id for job in jobs.page(TENANT, 2, None, JobStatus.QUEUED).jobs] == [job_id]
    assert jobs.page(TENANT, 2, None, JobStatus.RUNNING).jobs == []


def test_a_page_of_ended_jobs_ends_where_many_were_read(
    jobs: Jobs, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.store.jobs._READ_FOR_PAGE", 4)
    ids = [accepted(jobs, manifest(count=1, age_s=age)) for age in range(10)]
    for job_id in ids[:-1]:
        jobs.cancel(TENANT, job_id)
    finish(jobs, ids[-1], 0)
    for job_id in ids:
        redis.delete(*records.all_keys(TENANT, job_id))
    found = [jobs.page(TENANT, 3, None, JobStatus.SUCCEEDED)]
    while found[-1].next_cursor is not None:
        found.append(jobs.page(TENANT, 3, found[-1].next_cursor, JobStatus.SUCCEEDED))
    assert [[job.id for job in page.jobs] for page in found] == [[], [], [ids[-1]]]


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "MTIzOmpvYl8x", "é"])
def test_cursors_of_no_page(jobs: Jobs, cursor: str) -> None:
    with pytest.raises(InvalidCursorError):
        jobs.page(TENANT, 3, cursor)


def test_what_redis_has_lost_comes_from_storage(jobs: Jobs, redis: Redis) -> None:
    final, waiting = accepted(jobs), accepted(jobs)
    for shard in range(3):
        finish(jobs, final, shard)
    before = got(jobs, final)
    redis.flushall()
    assert got(jobs, final) == before
    assert got(jobs, waiting).status is JobStatus.QUEUED
    assert len(got(jobs, waiting).items) == 5

    canceled = jobs.cancel(TENANT, waiting)
    assert canceled is not None
    assert canceled.status is JobStatus.CANCELED
    assert jobs.cancel(TENANT, final) == before
    assert jobs.delete(TENANT, final) is True
    assert jobs.get(TENANT, final) is None


def test_the_record_of_a_final_job_leaves_redis_in_time(jobs: Jobs, redis: Redis) -> None:
    job_id = accepted(jobs)
    jobs.cancel(TENANT, job_id)
    before = got(jobs, job_id)
    names = records.all_keys(TENANT, job_id)
    assert [redis.ttl(name) > 0 for name in names] == [True, True, False, True]
    redis.delete(*names)
    assert got(jobs, job_id) == before
    assert [job.id for job in jobs.page(TENANT, 10).jobs] == [job_id]


def test_records_of_a_newer_format_are_refused(jobs: Jobs, redis: Redis, storage: FolderStorage) -> None:
    job_id = accepted(jobs)
    redis.hset(records.record_key(TENANT, job_id), "format_version", 3)
    with pytest.raises(UnknownFormatVersionError):
        jobs.get(TENANT, job_id)
    redis.flushall()
    request = storage.get(keys.job_request(TENANT, job_id))
    storage.put(keys.job_request(TENANT, job_id), request.replace(b'"format_version": 2', b'"format_version": 3'))
    with pytest.raises(ValidationError, match="upgrade Flawsmith"):
        jobs.get(TENANT, job_id)


def test_without_workers(jobs: Jobs) -> None:
    jobs.check()
    assert jobs.workers() == 0
    assert jobs.queued_shards() == 0
    accepted(jobs)
    assert jobs.queued_shards() == 2


def test_jobs_outlive_a_crash_of_the_queue(tmp_path: Path) -> None:
    """The connection comes back by itself, and so does what was accepted."""
    folder = tmp_path / "valkey"
    folder.mkdir()
    with running_valkey(folder) as server:
        settings = StoreSettings(redis_url=server.url, redis_timeout_s=1)
        with connect_redis(settings) as client:
            jobs = Jobs(client, FolderStorage(tmp_path / "storage"), settings)
            job_id = accepted(jobs)
            jobs.begin_shard(TENANT, job_id, 0)
            jobs.finish_item(TENANT, job_id, done(0))
            before = got(jobs, job_id)
            _crash(server, jobs)
            assert got(jobs, job_id) == before
            for shard in range(3):
                finish(jobs, job_id, shard)
            assert got(jobs, job_id).counts.succeeded == 5


def _crash(server: Valkey, jobs: Jobs) -> None:
    server.kill()
    with pytest.raises(QueueUnavailableError):
        jobs.check()
    server.start()


@pytest.mark.parametrize("poison", ["newer", "no fields", "no JSON", "another type", "no id"])
def test_what_cannot_be_read_is_left_out_of_a_page(jobs: Jobs, redis: Redis, poison: str) -> None:
    job_id, whole = accepted(jobs), accepted(jobs)
    record = records.record_key(TENANT, job_id)
    if poison == "newer":
        redis.hset(record, "format_version", 99)
    if poison == "no fields":
        redis.delete(record)
        redis.hset(record, "spared:0", 1)
    if poison == "no JSON":
        redis.hset(record, "manifest", b"\xff{")
    if poison == "another type":
        redis.delete(record)
        redis.set(record, "x")
    if poison == "no id":
        redis.zrem(records.index_key(TENANT), job_id)
        redis.zadd(records.index_key(TENANT), {b"\xff/../../x": 9e12})
    assert [job.id for job in jobs.page(TENANT, 10).jobs] == [whole]


def _unasked(key: str) -> bytes:
    raise AssertionError(f"{key} is read")
