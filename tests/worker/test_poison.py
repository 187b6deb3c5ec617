"""What is at fault fails alone: items that end their worker, and what is no shard at all."""

from __future__ import annotations

import json
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from flawsmith.contract.ids import new_job_id
from flawsmith.contract.jobs import ItemStatus, JobStatus
from service.store import keys
from service.store.folder import FolderStorage
from service.store.jobs import Jobs
from service.store.queue import QUEUE_NAME, SHARD_FUNCTION
from service.store.records import record_key
from service.store.storage import StorageUnavailableError
from tests.worker.fake_models import FakeModels
from tests.worker.tiny_worker import TENANT, accept, request
from worker import shards as shards_module
from worker import subjects
from worker.compute import ComputeWorker
from worker.settings import WorkerSettings
from worker.shards import Shards

QUEUE_KEY = f"rq:queue:{QUEUE_NAME}"
BETWEEN_KEY = f"{QUEUE_KEY}:intermediate"
STARTED_KEY = f"rq:wip:{QUEUE_NAME}"
MEMORY = 12_000_000
"""Bytes that no delivery may take, whatever was delivered."""
OK, BAD = ItemStatus.SUCCEEDED, ItemStatus.FAILED


class Killed(BaseException):
    """The process dies here: nothing after it is heard of."""


class Line:
    """One shard after another in the hands of workers that may die."""

    def __init__(self, jobs: Jobs, storage: FolderStorage) -> None:
        self.jobs = jobs
        self.models = FakeModels()
        self.shards = Shards(jobs, storage, self.models.as_models(), lambda: False, lambda: None)

    def accept(self, count: int) -> str:
        return accept(self.jobs, request(count, shard_size=count)).id

    def deliver(self, job_id: str, at_most: int = 20) -> int:
        """Deliver the shard until it is done; how often its worker died or failed meanwhile."""
        for ended in range(at_most):
            try:
                if self.shards.run(TENANT, job_id, 0) is None:
                    return ended
            except (Killed, Exception):
                continue
        pytest.fail("it came back for ever")

    def outcomes(self, job_id: str) -> list[ItemStatus]:
        job = self.jobs.get(TENANT, job_id)
        assert job is not None
        return [item.status for item in job.items]


@pytest.fixture
def line(jobs: Jobs, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch) -> Line:
    for pause in ("_OUTAGE_PAUSE_S", "_FAILURE_PAUSE_S"):
        monkeypatch.setattr(shards_module, pause, 0.0)
    return Line(jobs, storage)


def killing(*poison: int) -> Callable[[list[int]], None]:
    def before(batch: list[int]) -> None:
        if set(poison) & set(batch):
            raise Killed

    return before


def test_an_item_that_kills_its_worker_fails_alone(line: Line) -> None:
    line.models.before = killing(1)
    job_id = line.accept(4)
    assert line.deliver(job_id) == 4  # three times with its neighbour, once alone
    assert line.outcomes(job_id) == [OK, BAD, OK, OK]
    job = line.jobs.get(TENANT, job_id)
    assert job is not None
    assert job.status is JobStatus.SUCCEEDED
    assert job.items[1].error is not None
    assert job.items[1].error.code == "worker-died"
    assert "died or failed 4 times" in job.items[1].error.detail


def test_a_shard_that_kills_every_worker_is_given_up(line: Line) -> None:
    line.models.before = killing(0, 1, 2, 3)
    job_id = line.accept(4)
    assert line.deliver(job_id) == 3 + 4
    assert line.outcomes(job_id) == [BAD] * 4
    job = line.jobs.get(TENANT, job_id)
    assert job is not None
    assert job.status is JobStatus.FAILED


def test_an_item_that_loses_the_device_fails_with_what_the_device_said(line: Line) -> None:
    def lose(batch: list[int]) -> None:
        if 2 in batch:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    line.models.before = lose
    job_id = line.accept(3)
    assert line.deliver(job_id) == 4
    assert line.outcomes(job_id) == [OK, OK, BAD]
    job = line.jobs.get(TENANT, job_id)
    assert job is not None
    assert job.items[2].error is not None
    assert "illegal memory access" in job.items[2].error.detail


def test_a_death_before_the_items_is_not_retried_for_ever(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(data: bytes) -> None:
        raise Killed

    monkeypatch.setattr(subjects, "read_canonical", die)
    job_id = line.accept(2)
    assert line.deliver(job_id) == 3 + 2
    assert line.outcomes(job_id) == [BAD, BAD]


def test_an_outage_while_an_item_is_tried_alone_is_not_held_against_it(line: Line) -> None:
    deaths = 0

    def before(batch: list[int]) -> None:
        nonlocal deaths
        deaths += 1
        if deaths <= 3:
            raise Killed
        if deaths in (4, 6):
            raise StorageUnavailableError("full")

    line.models.before = before
    job_id = line.accept(2)
    for _ in range(8):
        try:
            line.shards.run(TENANT, job_id, 0)
        except Killed:
            continue
    assert line.outcomes(job_id) == [OK, OK]


def test_a_request_that_cannot_be_read_in_storage_is_given_up(line: Line, storage: FolderStorage) -> None:
    job_id = line.accept(2)
    storage.put(keys.job_request(TENANT, job_id), b"{")
    assert line.deliver(job_id) == 3
    assert line.outcomes(job_id) == [BAD, BAD]


def test_a_record_that_cannot_be_read_is_put_off_and_dropped_in_the_end(line: Line, redis: Redis) -> None:
    job_id = line.accept(1)
    redis.hset(record_key(TENANT, job_id), "format_version", "99")
    answers = [line.shards.run(TENANT, job_id, 0) for _ in range(shards_module._READ_ATTEMPTS)]
    assert answers[-1] is None
    assert not any(answer is None or answer.enqueue_at_front for answer in answers[:-1])


# What is no shard


def shard_hash(**changes: Any) -> dict[str, Any]:
    """The hash of a shard in the queue, with whatever a test puts into it."""
    job_id = changes.pop("job_id", new_job_id())
    kwargs = {"tenant": TENANT, "job_id": job_id, "shard": 0} | changes.pop("kwargs", {})
    call = [changes.pop("function", SHARD_FUNCTION), None, changes.pop("args", []), kwargs]
    return {
        "id": f"{job_id}-0",
        "data": changes.pop("data", json.dumps(call).encode()),
        "origin": QUEUE_NAME,
        "status": "queued",
        "created_at": "2026-01-01T00:00:00.000000Z",
        "timeout": 60,
    } | changes


POISON: dict[str, dict[str, Any]] = {
    "another function": {"function": "os.system", "args": ["touch /tmp/flawsmith-was-here"]},
    "no function": {"function": None},
    "a tenant that climbs": {"kwargs": {"tenant": "../x"}},
    "a tenant that is a number": {"kwargs": {"tenant": 7}},
    "a shard that is text": {"kwargs": {"shard": "0"}},
    "a shard that is true": {"kwargs": {"shard": True}},
    "a shard below zero": {"kwargs": {"shard": -1}},
    "another job": {"kwargs": {"job_id": new_job_id()}},
    "one argument more": {"kwargs": {"more": 1}},
    "arguments by place": {"args": [1]},
    "no JSON": {"data": b"\x80\x04\x95garbage"},
    "pickle": {"data": b"\x80\x04K\x01."},
    "JSON of another form": {"data": b"[1, 2]"},
    "deep JSON": {"data": b"[" * 4000},
    "a bomb": {"data": zlib.compress(bytes(3_000_000), 9)},
    "a large field": {"data": bytes(50_000_000)},
    "a large field that is not read": {"function": "os.system", "exc_info": bytes(50_000_000)},
    "another queue": {"origin": "other"},
    "a status that is none": {"status": "asleep"},
    "a time that is none": {"created_at": "yesterday"},
    "a time limit that is none": {"timeout": "-5"},
    "retries that are none": {"retries_left": "many"},
}


@pytest.fixture
def worker(client: Redis, settings: WorkerSettings) -> ComputeWorker:
    return ComputeWorker(client, settings)


def put(redis: Redis, values: dict[str, Any]) -> str:
    """Put a hash where the queue finds it."""
    shard_id = str(values.pop("id"))
    redis.hset(f"rq:job:{shard_id}", mapping=values)
    redis.rpush(QUEUE_KEY, shard_id)
    return shard_id


@pytest.mark.parametrize("kind", POISON)
def test_what_is_no_shard_is_dropped_and_the_next_one_found(
    worker: ComputeWorker, jobs: Jobs, redis: Redis, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    poison = put(redis, shard_hash(**dict(POISON[kind])))
    good = accept(jobs, request(1)).id
    tracemalloc.start()
    found, _ = worker._next_shard()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.id == f"{good}-0"
    assert peak < MEMORY
    assert redis.lrange(BETWEEN_KEY, 0, -1) == [found.id.encode()]
    assert not redis.exists(f"rq:job:{poison}")
    assert "dropped from the queue" in caplog.text
    assert len(caplog.text) < 2000


@pytest.mark.parametrize("entry", [b"", b"no-shard", b"\xff\xfe", bytes(2_000_000), b"job_x-0", b"a:b:c"])
def test_an_entry_that_is_no_shards_id(
    worker: ComputeWorker, jobs: Jobs, redis: Redis, entry: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    redis.rpush(QUEUE_KEY, entry)
    good = accept(jobs, request(1)).id
    assert worker._next_shard()[0].id == f"{good}-0"
    assert len(caplog.text) < 2000


def test_a_shards_hash_of_another_type(worker: ComputeWorker, jobs: Jobs, redis: Redis) -> None:
    shard_id = f"{new_job_id()}-0"
    redis.set(f"rq:job:{shard_id}", "text")
    redis.rpush(QUEUE_KEY, shard_id)
    good = accept(jobs, request(1)).id
    assert worker._next_shard()[0].id == f"{good}-0"


def test_nothing_that_a_hash_names_besides_is_called(worker: ComputeWorker, jobs: Jobs, redis: Redis) -> None:
    good = accept(jobs, request(1)).id
    named = {"success_callback_name": "os.abort", "failure_callback_name": "os.abort", "meta": b"\xff"}
    named |= {"webhooks": b'[{"url": "http://127.0.0.1:1/", "statuses": ["finished"]}]'}
    redis.hset(f"rq:job:{good}-0", mapping=named)
    shard, _ = worker._next_shard()
    assert shard._success_callback_name is None
    assert shard._failure_callback_name is None
    assert not shard.webhooks


def test_maintenance_gets_past_what_is_no_shard(
    worker: ComputeWorker, jobs: Jobs, redis: Redis, client: Redis, settings: WorkerSettings
) -> None:
    """Else an abandoned shard beside it would never come back."""
    poison = shard_hash(function="os.system")
    poison_id = poison.pop("id")
    redis.hset(f"rq:job:{poison_id}", mapping=poison)
    redis.zadd(STARTED_KEY, {b"\xff:\xff": 1, "no-colon": 1, f"{poison_id}:x": 1, "a:b:c": 1, b"\xfe:\xfe": 9e12})
    redis.rpush(BETWEEN_KEY, b"\xff", "nothing", poison_id)
    good = accept(jobs, request(1)).id
    dead = ComputeWorker(client, settings)
    shard, _ = dead._next_shard()
    dead.prepare_execution(shard)
    dead.prepare_job_execution(shard, remove_from_intermediate_queue=True)
    redis.zadd(STARTED_KEY, dict.fromkeys(redis.zrange(STARTED_KEY, 0, -1), 1))
    worker._maintain()
    assert redis.lrange(QUEUE_KEY, 0, -1) == [f"{good}-0".encode()]
    assert redis.zcard(STARTED_KEY) == 0
    assert redis.lrange(BETWEEN_KEY, 0, -1) == []


def test_a_failing_maintenance_does_not_keep_a_worker_from_working(
    worker: ComputeWorker, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    redis.set(STARTED_KEY, "text")
    worker._maintain()
    assert "could not be looked through" in caplog.text
    assert not worker.should_run_maintenance_tasks
