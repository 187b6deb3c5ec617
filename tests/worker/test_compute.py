"""What the compute worker adds to RQ's: heartbeats, and shards that come back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
import rq
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from rq.executions import prepare_execution
from rq.job import Job as QueueJob
from rq.job import JobStatus as QueueStatus
from rq.job import Retry
from rq.serializers import JSONSerializer

from service.store.jobs import Jobs
from service.store.queue import QUEUE_NAME, RETRY
from tests.worker.tiny_worker import accept, request, until
from worker import compute, shards
from worker.compute import ComputeWorker
from worker.settings import WorkerSettings
from worker.shards import Shards, ShardTakenError

QUEUE_KEY = f"rq:queue:{QUEUE_NAME}"
BETWEEN_KEY = f"{QUEUE_KEY}:intermediate"
STARTED_KEY = f"rq:wip:{QUEUE_NAME}"


class Stub:
    """Stands for `worker.shards.Shards`: does with a shard what the test wants."""

    def __init__(self) -> None:
        self.work: Callable[[], Retry | None] = lambda: None
        self.begun = threading.Event()

    def run(self, tenant: str, job_id: str, shard: int) -> Retry | None:
        self.begun.set()
        return self.work()


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Stub:
    stub = Stub()
    monkeypatch.setattr(shards, "_installed", cast(Shards, stub))
    return stub


@pytest.fixture
def worker(client: Redis, settings: WorkerSettings) -> ComputeWorker:
    return a_worker(client, settings)


def a_worker(client: Redis, settings: WorkerSettings) -> ComputeWorker:
    return ComputeWorker(client, settings)


@pytest.fixture
def shard_id(jobs: Jobs) -> str:
    """A shard, alone in the queue."""
    return f"{accept(jobs, request(1)).id}-0"


def waiting(redis: Redis) -> list[str]:
    entries: Any = redis.lrange(QUEUE_KEY, 0, -1)
    return [entry.decode() for entry in entries]


def status(redis: Redis, shard_id: str) -> QueueStatus:
    return QueueJob.fetch(shard_id, connection=redis, serializer=JSONSerializer).get_status()


def work(worker: ComputeWorker) -> None:
    """Take one shard and work on it."""
    worker.execute_job(*worker._next_shard())


@contextmanager
def clock(monkeypatch: pytest.MonkeyPatch, ahead_s: float) -> Iterator[None]:
    """This computer's clock, as RQ reads it, goes so far ahead of that of Redis."""
    real = rq.utils.now

    def now() -> datetime:
        return real() + timedelta(seconds=ahead_s)

    with monkeypatch.context() as patch:
        for module in (rq.registry, rq.executions):
            patch.setattr(module, "current_timestamp", lambda: int(now().timestamp()))
        for module in (rq.registry, rq.executions, rq.intermediate_queue, rq.worker.base, compute):
            patch.setattr(module, "now", now)
        patch.setattr("service.store.queue.now", now, raising=False)
        yield


def maintain(worker: ComputeWorker) -> None:
    worker.clean_registries()  # type: ignore[no-untyped-call]


def test_a_shard_that_is_done_leaves_the_queue(
    worker: ComputeWorker, stub: Stub, redis: Redis, shard_id: str
) -> None:
    work(worker)
    assert status(redis, shard_id) is QueueStatus.FINISHED
    assert redis.exists(QUEUE_KEY, BETWEEN_KEY, STARTED_KEY) == 0
    assert 0 < redis.ttl(f"rq:job:{shard_id}") <= 60


def test_each_wait_that_found_no_shard_is_told_and_no_other(
    client: Redis, settings: WorkerSettings, stub: Stub, shard_id: str, redis: Redis
) -> None:
    waits: list[bool] = []

    def on_idle() -> None:
        waits.append(stub.begun.is_set())
        if len(waits) == 2:
            worker.stop()

    worker = ComputeWorker(client, settings, on_idle=on_idle)
    worker.run()
    assert waits == [True, True]
    assert status(redis, shard_id) is QueueStatus.FINISHED


def test_a_shard_that_failed_comes_back_first(
    worker: ComputeWorker, stub: Stub, jobs: Jobs, redis: Redis, shard_id: str
) -> None:
    def fail() -> None:
        raise ValueError("no")

    other = accept(jobs, request(1)).id
    stub.work = fail
    work(worker)
    assert waiting(redis) == [shard_id, f"{other}-0"]
    assert status(redis, shard_id) is QueueStatus.QUEUED


def test_a_shard_that_was_given_back_comes_back_first(
    worker: ComputeWorker, stub: Stub, jobs: Jobs, redis: Redis, shard_id: str
) -> None:
    other = accept(jobs, request(1)).id
    stub.work = lambda: RETRY
    for _ in range(5):
        work(worker)
        assert waiting(redis) == [shard_id, f"{other}-0"]


def test_a_shard_at_work_stays_its_workers(worker: ComputeWorker, stub: Stub, redis: Redis, shard_id: str) -> None:
    """Longer than `worker_ttl_s`, others do not take it for abandoned, and the worker counts as alive."""
    other = ComputeWorker(redis, worker._settings)
    ended = time.monotonic() + 3

    def take_long() -> None:
        while time.monotonic() < ended:
            maintain(other)
            assert waiting(redis) == []
            assert redis.exists(worker.key)
            time.sleep(0.1)

    stub.work = take_long
    worker._appear()
    work(worker)
    assert status(redis, shard_id) is QueueStatus.FINISHED


def test_a_shard_whose_worker_died_comes_back(
    worker: ComputeWorker, client: Redis, settings: WorkerSettings, redis: Redis, shard_id: str
) -> None:
    dead = a_worker(client, settings)
    job, _ = dead._next_shard()
    prepare_execution(dead, job)
    dead.prepare_job_execution(job, remove_from_intermediate_queue=True)
    maintain(worker)
    assert waiting(redis) == []
    time.sleep(settings.worker_ttl_s + 0.1)
    maintain(worker)
    assert waiting(redis) == [shard_id]
    assert redis.exists(STARTED_KEY) == 0


@pytest.mark.parametrize("ahead_s", [-3600, 3600])
def test_a_shard_is_its_workers_by_the_clock_of_redis(
    worker: ComputeWorker,
    client: Redis,
    settings: WorkerSettings,
    redis: Redis,
    shard_id: str,
    monkeypatch: pytest.MonkeyPatch,
    ahead_s: int,
) -> None:
    """A worker whose clock is wrong loses its shard neither sooner nor later than others."""
    other = a_worker(client, settings)
    with clock(monkeypatch, ahead_s):
        job, _ = other._next_shard()
        execution = prepare_execution(other, job)
        other.prepare_job_execution(job, remove_from_intermediate_queue=True)
        other.maintain_heartbeats(job, execution)
    maintain(worker)
    assert waiting(redis) == []
    with clock(monkeypatch, -ahead_s):
        maintain(worker)
    assert waiting(redis) == []
    time.sleep(settings.worker_ttl_s + 0.1)
    maintain(worker)
    assert waiting(redis) == [shard_id]


def test_a_popped_shard_is_missed_by_the_clock_of_redis(
    worker: ComputeWorker,
    client: Redis,
    settings: WorkerSettings,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
    shard_id: str,
) -> None:
    a_worker(client, settings)._next_shard()
    maintain(worker)  # sees it
    with clock(monkeypatch, 3600):
        maintain(worker)
    assert waiting(redis) == []


@pytest.mark.parametrize("prepared", [False, True], ids=["popped", "popped and registered"])
def test_a_shard_whose_worker_died_before_it_began_comes_back(
    worker: ComputeWorker,
    client: Redis,
    settings: WorkerSettings,
    redis: Redis,
    shard_id: str,
    prepared: bool,
) -> None:
    dead = a_worker(client, settings)
    for _ in range(2):  # the second time as well
        job, _ = dead._next_shard()
        if prepared:
            prepare_execution(dead, job)
        assert waiting(redis) == []

        def came_back() -> bool:
            maintain(worker)
            return waiting(redis) == [shard_id]

        until(came_back, 3 * settings.worker_ttl_s)
        assert redis.lrange(BETWEEN_KEY, 0, -1) == []


def test_a_worker_that_dies_while_it_cleans_holds_nobody_up(worker: ComputeWorker, redis: Redis) -> None:
    (queue,) = worker.queues
    assert queue.acquire_maintenance_lock()
    assert 0 < redis.ttl(queue.registry_cleaning_key) <= worker._settings.worker_ttl_s


def test_a_shard_taken_over_is_left_to_its_new_worker(
    worker: ComputeWorker, stub: Stub, client: Redis, settings: WorkerSettings, redis: Redis, shard_id: str
) -> None:
    """What the old worker says must not hide from maintenance that the new one may die too."""
    heir = a_worker(client, settings)

    def lose_it() -> None:
        job = QueueJob.fetch(shard_id, connection=redis, serializer=JSONSerializer)
        prepare_execution(heir, job)
        heir.prepare_job_execution(job)
        raise ShardTakenError

    stub.work = lose_it
    work(worker)
    assert status(redis, shard_id) is QueueStatus.STARTED
    assert waiting(redis) == []
    assert redis.zcard(STARTED_KEY) == 1
    time.sleep(settings.worker_ttl_s + 0.1)
    maintain(worker)
    assert waiting(redis) == [shard_id]


def test_workers_are_counted_while_they_live(
    client: Redis, settings: WorkerSettings, jobs: Jobs, redis: Redis
) -> None:
    one, two = a_worker(client, settings), a_worker(client, settings)
    one._appear()
    two._appear()
    assert jobs.workers() == 2
    two.register_death()  # type: ignore[no-untyped-call]
    assert jobs.workers() == 1
    redis.flushall()
    assert jobs.workers() == 0
    one._appear()
    assert jobs.workers() == 1
    time.sleep(settings.worker_ttl_s + 0.1)
    assert jobs.workers() == 0


def test_heartbeats_survive_an_outage(
    worker: ComputeWorker, stub: Stub, shard_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats = 0

    def fail_once(job: QueueJob, execution: object) -> None:
        nonlocal beats
        beats += 1
        if beats == 1:
            raise RedisConnectionError("away")

    monkeypatch.setattr(worker, "maintain_heartbeats", fail_once)
    stub.work = lambda: until(lambda: beats >= 3)
    work(worker)
    assert beats >= 3


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "heartbeats"]
