"""What a worker counts and traces of its work, on models that do what the test wants."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import replace
from functools import partial

import pytest
import torch
from redis import Redis

from flawsmith.contract.jobs import JobStatus
from models.items import ItemRequest, ItemResult
from service.store.folder import FolderStorage
from service.store.jobs import Jobs
from service.store.storage import StorageUnavailableError
from service.telemetry import context, gauges, traces
from service.telemetry.jobs import count_final
from service.telemetry.metrics import Metrics, totals
from tests.service.telemetry.collector import running_collector
from tests.worker import fake_models
from tests.worker.fake_models import STEPS, FakeModels, drawn
from tests.worker.tiny_worker import TENANT, accept, request
from worker import shards as shards_module
from worker.compute import ComputeWorker
from worker.memory import device_memory
from worker.settings import WorkerSettings
from worker.shards import Shards


class Bench:
    """A compute worker over fake models, of which every shard is taken off a real queue."""

    def __init__(self, redis: Redis, storage: FolderStorage, settings: WorkerSettings) -> None:
        self.redis = redis
        self.metrics = Metrics(redis)
        self.jobs = Jobs(redis, storage, settings, on_final=partial(count_final, self.metrics))
        self.models = FakeModels()
        self.worker = ComputeWorker(redis, settings, self.metrics, partial(device_memory, torch.device("cpu")))
        self.shards = Shards(
            self.jobs, storage, self.models.as_models(), self.worker.stopping, lambda: None, self.metrics
        )

    def work(self) -> None:
        """Take one shard and work on it."""
        self.worker.execute_job(*self.worker._next_shard())

    def totals(self) -> dict[str, float]:
        """Counters, and how often histograms were added to, by name and label value."""
        self.metrics.flush()
        found: dict[str, float] = {}
        for (name, values, part), total in totals(self.redis).items():
            if part != "sum":
                key = " ".join([name.removeprefix("flawsmith_"), *values])
                found[key] = found.get(key, 0) + total
        return found


@pytest.fixture
def bench(
    client: Redis, storage: FolderStorage, settings: WorkerSettings, monkeypatch: pytest.MonkeyPatch
) -> Bench:
    monkeypatch.setattr(shards_module, "_OUTAGE_PAUSE_S", 0.0)
    monkeypatch.setattr(shards_module, "_FAILURE_PAUSE_S", 0.0)
    bench = Bench(client, storage, settings)
    monkeypatch.setattr(shards_module, "_installed", bench.shards)
    return bench


def test_a_job_gives_exact_counts(bench: Bench) -> None:
    """Five items in batches of two, in shards of three and two; one cannot be drawn."""

    def fail(batch: list[int]) -> None:
        if 1 in batch:
            raise ValueError("no room for the mask")

    bench.models.before = fail
    job_id = accept(bench.jobs, request(5, shard_size=3)).id
    bench.work()
    bench.work()

    assert bench.jobs.get(TENANT, job_id).status is JobStatus.SUCCEEDED  # type: ignore[union-attr]
    assert bench.totals() == {
        "items_total succeeded": 4,
        "items_total failed": 1,
        "failures_total item-failed": 1,
        "shards_total done": 2,
        "shard_wait_seconds": 2,
        "shard_run_seconds": 2,
        "batch_shards": 5,
        "batch_items": 5,  # [0, 1], then [0] and [1], [2], [3, 4]
        "step_seconds": 3 * (STEPS - 1),
        "jobs_finished_total succeeded": 1,
        "job_duration_seconds succeeded": 1,
    }


def test_an_item_below_its_quality_is_rejected(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def poor(request: ItemRequest) -> ItemResult:
        return replace(drawn(request), accepted=False)

    monkeypatch.setattr(fake_models, "drawn", poor)
    accept(bench.jobs, request(2))
    bench.work()

    counted = bench.totals()
    assert counted["items_total rejected"] == 2
    assert "items_total succeeded" not in counted


def test_attempts_and_retries_are_counted(bench: Bench) -> None:
    """An outage; three attempts that fail; each of two items fails once more, alone; then the shard is done."""
    errors: list[Exception] = [StorageUnavailableError("full")]

    def fail(batch: list[int]) -> None:
        raise errors.pop() if errors else torch.AcceleratorError("CUDA error: out of luck")

    bench.models.before = fail
    accept(bench.jobs, request(2))
    for _ in range(7):
        bench.work()

    counted = bench.totals()
    assert counted["shards_total outage"] == 1
    assert counted["shards_total failed"] == 5
    assert counted["shards_total done"] == 1
    assert counted["shard_retries_total"] == 6
    assert counted["shard_wait_seconds"] == counted["shard_run_seconds"] == 7
    assert counted["items_total failed"] == counted["failures_total worker-died"] == 2
    assert counted["jobs_finished_total failed"] == 1


def test_a_batch_that_finds_too_little_memory_is_counted(bench: Bench) -> None:
    def fail(batch: list[int]) -> None:
        if len(batch) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")

    bench.models.before = fail
    accept(bench.jobs, request(2))
    bench.work()

    counted = bench.totals()
    assert counted["out_of_memory_total"] == 1
    assert counted["batch_items"] == 3
    assert counted["items_total succeeded"] == 2


def test_canceled_items_are_counted_once(bench: Bench) -> None:
    job_id = accept(bench.jobs, request(4, shard_size=4)).id

    def cancel(batch: list[int]) -> None:
        if 2 in batch:
            bench.jobs.cancel(TENANT, job_id)

    bench.models.before = cancel
    bench.models.on_step = lambda: time.sleep(0.03)  # a worker asks no more often than that
    bench.work()

    counted = bench.totals()
    assert counted["items_total succeeded"] == counted["items_total canceled"] == 2
    assert counted["jobs_finished_total canceled"] == 1


def test_lines_of_a_shard_carry_its_ids_and_no_line_after_it(bench: Bench) -> None:
    seen: list[dict[str, object]] = []

    def note(batch: list[int]) -> None:
        seen.append(dict(context.fields()))
        raise ValueError("no")

    class Noting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("item"):
                seen.append(dict(context.fields()))

    bench.models.before = note
    handler = Noting()
    logging.getLogger("worker.batches").addHandler(handler)
    manifest = request(1)
    manifest.request_id = "r-1"
    accept(bench.jobs, manifest)
    before = context.fields()
    bench.work()
    logging.getLogger("worker.batches").removeHandler(handler)

    ids = {"request_id": "r-1", "tenant": TENANT, "job_id": manifest.job_id, "shard": 0}
    assert seen == [ids, ids | {"item": 0}]
    assert context.fields() == before


def test_memory_is_told_while_the_worker_lives(bench: Bench, redis: Redis) -> None:
    bench.worker._appear()
    told = {values: value for name, values, value in gauges.reported(redis)}

    (worker,) = {values[0] for values in told}
    assert worker.endswith(f":{os.getpid()}")
    assert 0 < told[worker, "cpu", "used"] < told[worker, "cpu", "total"]
    bench.worker.stop()
    bench.worker.run()
    assert gauges.reported(redis) == []


def test_a_device_that_does_not_answer_is_no_dead_worker(bench: Bench, redis: Redis) -> None:
    def lost() -> list[gauges.Gauge]:
        raise RuntimeError("CUDA error")

    bench.worker._gauges_now = lost
    bench.worker._appear()

    assert bench.jobs.workers() == 1
    assert gauges.reported(redis) == []


def test_a_worker_continues_the_trace_of_the_request(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
        traces.configure("worker")
        manifest = request(2)
        manifest.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        accept(bench.jobs, manifest)
        bench.work()
        traces.close()

    (shard,) = collector.named("shard")
    assert shard.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert shard.parent_span_id.hex() == "b7ad6b7169203331"
    items = collector.named("item")
    assert {item.parent_span_id for item in items} == {shard.span_id}
    assert len(items) == 2
    assert all(item.start_time_unix_nano < item.end_time_unix_nano for item in items)
