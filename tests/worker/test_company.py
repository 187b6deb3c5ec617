"""Several shards at work in one worker: drawn together, each with an end of its own."""

from __future__ import annotations

import ctypes
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from redis import Redis

from flawsmith.contract.jobs import ItemStatus, Job, JobStatus
from models.items import ItemRequest, ItemResult
from service.store.connection import QueueUnavailableError
from service.store.folder import FolderStorage
from service.store.jobs import Jobs
from service.store.queue import shard_queue, shards_at_once
from service.store.storage import StorageUnavailableError
from service.telemetry import context
from service.telemetry.metrics import Metrics
from tests.worker import fake_models
from tests.worker.fake_models import STEPS, FakeModels, drawn
from tests.worker.fake_teaching import School
from tests.worker.test_datasets import SOURCES, planned
from tests.worker.test_datasets import Bench as DatasetBench
from tests.worker.tiny_worker import TENANT, accept, accept_training, finished, request, training, until
from worker import shards as shards_module
from worker import slices as slices_module
from worker.company import Company
from worker.compute import ComputeWorker
from worker.engine import Engine
from worker.settings import WorkerSettings
from worker.shards import Shards
from worker.trainings import Trainings

OK, BAD, CANCELED = ItemStatus.SUCCEEDED, ItemStatus.FAILED, ItemStatus.CANCELED
ROWS = 4


class Gate:
    """Holds what passes until it is opened."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._open = threading.Event()

    def __call__(self, *_: object) -> None:
        self.reached.set()
        assert self._open.wait(20), "nobody opened the gate"

    def open(self) -> None:
        self._open.set()


class Crew:
    """A worker over fake models, which takes shards off a real queue while a block runs."""

    def __init__(self, redis: Redis, storage: FolderStorage, settings: WorkerSettings) -> None:
        self.redis = redis
        self.storage = storage
        self.metrics = Metrics(None)
        self.jobs = Jobs(redis, storage, settings)
        self.models = FakeModels(batch_shape=ROWS)
        self.company = Company(lambda: self.models.batch_shape)
        self.worker = ComputeWorker(redis, settings, self.metrics, company=self.company)
        self.school = School()
        trainings = Trainings(self.jobs, storage, self.models.as_models(), self.school.teach, 0.0)
        self.devices_lost = 0
        self.shards = Shards(
            self.jobs,
            storage,
            self.models.as_models(),
            self.worker.stopping,
            self._lose_device,
            self.metrics,
            trainings,
            company=self.company,
        )

    def _lose_device(self) -> None:
        self.devices_lost += 1
        self.worker.stop()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        thread = threading.Thread(target=self.worker.run)
        thread.start()
        try:
            yield
        finally:
            self.worker.stop()
            thread.join(30)
            assert not thread.is_alive()

    def accept(self, count: int = 1, *, shard_size: int = 2) -> str:
        return accept(self.jobs, request(count, shard_size=shard_size)).id

    def job(self, job_id: str) -> Job:
        job = self.jobs.get(TENANT, job_id)
        assert job is not None
        return job

    def outcomes(self, job_id: str) -> list[ItemStatus]:
        return [item.status for item in finished(self.jobs, job_id, 20).items]

    def failures(self, job_id: str) -> int:
        """Attempts that are held against a job's first shard, which is begun by this."""
        return self.jobs.begin_shard(TENANT, job_id, 0).failures

    def await_waiting(self, rows: int) -> None:
        """Wait until so many rows are asked for beside those that are being drawn."""
        until(lambda: sum(len(one.order.requests) for one in self.shards._engine._waiting) == rows, 20)

    def observed(self, name: str) -> tuple[int, float]:
        """How often a histogram was added to, and the sum."""
        found = {part: value for (family, _, part), value in self.metrics.unsent().items() if family == name}
        return int(sum(value for part, value in found.items() if part != "sum")), found.get("sum", 0.0)


@pytest.fixture
def crew(client: Redis, storage: FolderStorage, settings: WorkerSettings, monkeypatch: pytest.MonkeyPatch) -> Crew:
    for module, name in (
        (shards_module, "_OUTAGE_PAUSE_S"),
        (shards_module, "_FAILURE_PAUSE_S"),
        (slices_module, "_PAUSE_S"),
    ):
        monkeypatch.setattr(module, name, 0.0)
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)  # the worker is not in the main thread
    crew = Crew(client, storage, settings)
    monkeypatch.setattr(shards_module, "_installed", crew.shards)
    return crew


def at_first(do: Callable[[], None]) -> Callable[[list[int]], None]:
    """Called with each batch, does something at the first."""
    begun = threading.Event()

    def before(batch: list[int]) -> None:
        if not begun.is_set():
            begun.set()
            do()

    return before


def wait_a_step() -> None:
    """A worker asks no more often than that whether a job was canceled."""
    time.sleep(0.03)


def test_what_waits_is_drawn_together_and_the_first_waits_for_nobody(crew: Crew) -> None:
    gate = Gate()
    crew.models.before = at_first(gate)
    with crew.at_work():
        first = crew.accept()
        assert gate.reached.wait(10)
        assert crew.models.batches == [[0]]
        others = [crew.accept() for _ in range(ROWS)]
        crew.await_waiting(ROWS)
        gate.open()
        for job_id in [first, *others]:
            assert crew.outcomes(job_id) == [OK]
    assert crew.models.batches == [[0], [0] * ROWS]
    assert crew.observed("flawsmith_batch_items") == (2, 1 + ROWS)
    assert crew.observed("flawsmith_batch_shards") == (2, 1 + ROWS)


def test_no_more_shards_are_taken_than_the_next_batch_has_room_for(crew: Crew) -> None:
    gate = Gate()
    crew.models.before = at_first(gate)
    with crew.at_work():
        jobs = [crew.accept()]
        assert gate.reached.wait(10)
        jobs += [crew.accept() for _ in range(ROWS + 3)]
        crew.await_waiting(ROWS)
        time.sleep(0.2)
        assert crew.jobs.queued_shards() == 3
        gate.open()
        for job_id in jobs:
            assert crew.outcomes(job_id) == [OK]


def test_a_shard_that_fills_its_batches_has_no_companion(crew: Crew) -> None:
    gate = Gate()
    crew.models.before = at_first(gate)
    with crew.at_work():
        large = crew.accept(3 * ROWS, shard_size=3 * ROWS)
        assert gate.reached.wait(10)
        small = crew.accept()
        time.sleep(0.2)
        assert crew.jobs.queued_shards() == 1
        gate.open()
        assert crew.outcomes(large) == [OK] * 3 * ROWS
        assert crew.outcomes(small) == [OK]


def test_items_are_stored_while_the_next_batch_is_drawn(
    crew: Crew, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not more than one batch is drawn ahead."""
    second = threading.Event()
    seen: list[int] = []
    put = storage.put

    def slow(key: str, data: bytes, content_type: str = "") -> None:
        if "/items/0/image" in key:
            assert second.wait(10), "nothing is drawn while an item is stored"
            time.sleep(0.2)
            seen.append(len(crew.models.batches))
        put(key, data, content_type)

    def before(batch: list[int]) -> None:
        if ROWS in batch:
            second.set()

    monkeypatch.setattr(storage, "put", slow)
    crew.models.before = before
    with crew.at_work():
        assert crew.outcomes(crew.accept(4 * ROWS, shard_size=4 * ROWS)) == [OK] * 4 * ROWS
    assert seen == [2]


def test_what_was_drawn_is_kept_if_the_next_items_cannot_be_begun(crew: Crew, storage: FolderStorage) -> None:
    bench = DatasetBench(crew.jobs, storage)
    of = [planned(SOURCES[number], ["scratch"], seed=number, mask="sent") for number in (0, 1)]
    crew.models.batch_shape = 1
    job_id = bench.accepted(of, shard_size=2)
    for key in list(storage.list(f"{TENANT}/jobs/{job_id}/")):
        if key.endswith("/1/image.png"):
            storage.put(key, b"no image")
    with crew.at_work():
        job = finished(crew.jobs, job_id, 20)
    assert (job.counts.succeeded, job.counts.failed) == (1, 1)
    assert len(crew.models.batches) == 1


def test_a_canceled_one_ends_at_once_and_its_companions_are_drawn_on(crew: Crew) -> None:
    gate, midway = Gate(), Gate()
    crew.models.before = at_first(gate)
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps == STEPS + 2:
            midway()
        if steps > STEPS + 2:
            time.sleep(0.1)

    crew.models.on_step = step
    with crew.at_work():
        first = crew.accept()
        assert gate.reached.wait(10)
        canceled, others = crew.accept(), [crew.accept(), crew.accept()]
        crew.await_waiting(3)
        gate.open()
        assert midway.reached.wait(10)
        crew.jobs.cancel(TENANT, canceled)
        midway.open()
        assert crew.outcomes(canceled) == [CANCELED]
        assert not any(crew.job(job_id).status.is_final for job_id in others)  # it did not wait for their end
        assert [crew.outcomes(job_id) for job_id in [first, *others]] == [[OK]] * 3
    assert len(crew.models.batches) == 2


def test_a_batch_that_nobody_waits_for_any_more_ends(crew: Crew) -> None:
    gate = Gate()
    crew.models.on_step = gate
    with crew.at_work():
        canceled = crew.accept()
        assert gate.reached.wait(10)
        crew.jobs.cancel(TENANT, canceled)
        wait_a_step()
        steps: list[None] = []
        crew.models.on_step = lambda: steps.append(None)
        gate.open()
        assert crew.outcomes(canceled) == [CANCELED]
        assert crew.outcomes(crew.accept()) == [OK]
    assert len(steps) == STEPS  # of the second job alone


def test_a_stop_gives_all_back(crew: Crew) -> None:
    gate = Gate()
    crew.models.before = at_first(gate)
    crew.models.on_step = wait_a_step
    with crew.at_work():
        jobs = [crew.accept()]
        assert gate.reached.wait(10)
        jobs += [crew.accept() for _ in range(3)]
        crew.await_waiting(3)
        crew.worker.stop()
        gate.open()
    assert crew.models.batches == [[0]]  # what waited was not begun
    assert crew.jobs.queued_shards() == 4
    assert [crew.failures(job_id) for job_id in jobs] == [0] * 4
    assert crew.redis.zcard("rq:wip:flawsmith-compute") == 0


def test_an_item_that_fails_takes_no_companion_with_it(crew: Crew) -> None:
    gate = Gate()
    crew.models.before = at_first(gate)
    with crew.at_work():
        first = crew.accept()
        assert gate.reached.wait(10)
        bad, good = crew.accept(2), crew.accept()
        crew.await_waiting(3)

        def fail(batch: list[int]) -> None:
            if 1 in batch:
                raise ValueError("no room for the mask")

        crew.models.before = fail
        gate.open()
        assert crew.outcomes(bad) == [OK, BAD]
        assert crew.outcomes(good) == crew.outcomes(first) == [OK]


def test_too_little_memory_for_a_batch_of_several_is_no_ones_fault(crew: Crew) -> None:
    gate = Gate()
    crew.models.before = at_first(gate)
    with crew.at_work():
        first = crew.accept()
        assert gate.reached.wait(10)
        others = [crew.accept() for _ in range(ROWS)]
        crew.await_waiting(ROWS)

        def fail(batch: list[int]) -> None:
            if len(batch) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory")

        crew.models.before = fail
        gate.open()
        assert [crew.outcomes(job_id) for job_id in [first, *others]] == [[OK]] * (1 + ROWS)
    assert crew.models.batches == [[0], [0] * 4, [0] * 2, *[[0]] * 4]
    assert crew.models.batch_shape == 1


def test_a_lost_device_is_charged_to_what_was_drawn_and_not_to_what_waited(crew: Crew) -> None:
    gate = Gate()

    def lose(batch: list[int]) -> None:
        gate()
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    crew.models.before = lose
    with crew.at_work():
        at_work = crew.accept()
        assert gate.reached.wait(10)
        waiting = [crew.accept(), crew.accept()]
        crew.await_waiting(2)
        gate.open()
        until(lambda: crew.company.empty)
    assert crew.devices_lost == 1
    assert crew.models.batches == [[0]]
    assert crew.failures(at_work) == 1
    assert [crew.failures(job_id) for job_id in waiting] == [0, 0]


def test_a_shard_that_was_taken_over_stores_nothing_and_its_companions_do(crew: Crew) -> None:
    gate = Gate()
    crew.models.before = at_first(gate)
    with crew.at_work():
        first = crew.accept()
        assert gate.reached.wait(10)
        taken, kept = crew.accept(), crew.accept()
        crew.await_waiting(2)
        crew.jobs.begin_shard(TENANT, taken, 0)
        gate.open()
        assert crew.outcomes(first) == crew.outcomes(kept) == [OK]
        until(lambda: crew.company.empty)
    assert crew.job(taken).items[0].status is ItemStatus.PENDING
    assert not list(crew.storage.list(f"{TENANT}/jobs/{taken}/items/"))


def test_an_outage_ends_those_whom_it_meets_and_holds_nothing_against_them(
    crew: Crew, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    crew.models.before = at_first(gate)
    put, refused = storage.put, threading.Event()

    def full(key: str, data: bytes, content_type: str = "") -> None:
        if f"{unlucky}/items/" in key and not refused.is_set():
            refused.set()
            raise StorageUnavailableError("full")
        put(key, data, content_type)

    with crew.at_work():
        first = crew.accept()
        assert gate.reached.wait(10)
        unlucky, lucky = crew.accept(), crew.accept()
        monkeypatch.setattr(storage, "put", full)
        crew.await_waiting(2)
        gate.open()
        assert crew.outcomes(first) == crew.outcomes(lucky) == crew.outcomes(unlucky) == [OK]
    assert refused.is_set()
    assert crew.redis.hget(f"flawsmith:{TENANT}:job:{unlucky}", "spared:0") == b"1"
    assert crew.redis.hget(f"flawsmith:{TENANT}:job:{lucky}", "attempts:0") == b"1"


def test_an_outage_of_the_queue_is_sat_out_by_all_at_once(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    """What several shards meet together is one outage: the pauses do not grow with their number."""
    monkeypatch.setattr(shards_module, "_OUTAGE_PAUSE_S", 0.2)

    def away(batch: list[int]) -> None:
        if len(batch) > 1:
            raise QueueUnavailableError("away")
        gate()

    pauses: list[float] = []
    pause = Shards._pause

    def noted(shards: Shards, seconds: float) -> None:
        pauses.append(seconds)
        pause(shards, seconds)

    monkeypatch.setattr(Shards, "_pause", noted)
    gate = Gate()
    crew.models.before = away
    with crew.at_work():
        first = crew.accept()
        assert gate.reached.wait(10)
        others = [crew.accept() for _ in range(ROWS)]
        crew.await_waiting(ROWS)
        gate.open()
        until(lambda: len(pauses) >= ROWS)
        crew.models.before = lambda batch: None
        assert [crew.outcomes(job_id) for job_id in [first, *others]] == [[OK]] * (1 + ROWS)
    assert max(pauses[:ROWS]) == pytest.approx(0.2, abs=0.05)


def test_a_shards_time_is_up_even_if_the_device_does_not_answer(
    client: Redis, storage: FolderStorage, settings: WorkerSettings, crew: Crew
) -> None:
    """Its attempt is charged; the next one comes to its end when the device does."""
    gate = Gate()
    crew.models.before = at_first(gate)
    impatient = Jobs(client, storage, settings.model_copy(update={"shard_timeout_s": 1}))
    with crew.at_work():
        slow = accept(impatient, request(1)).id
        assert gate.reached.wait(10)
        until(lambda: crew.redis.hget(f"flawsmith:{TENANT}:job:{slow}", "error:0") is not None, 10)
        error = crew.redis.hget(f"flawsmith:{TENANT}:job:{slow}", "error:0")
        assert str(error).startswith("b'JobTimeoutException: the shard took longer than it may")
        gate.open()
        assert crew.outcomes(slow) == [OK]
        assert crew.outcomes(crew.accept()) == [OK]


def test_a_training_is_alone_at_work(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for those at work, and none is taken before its slice is over; no attempt is held against it."""
    at_work: list[int] = []
    works = Trainings.work

    def work(trainings: Trainings, turn: Any) -> Any:
        at_work.append(len(crew.company._members))
        return works(trainings, turn)

    monkeypatch.setattr(Trainings, "work", work)
    gate = Gate()
    crew.models.before = at_first(gate)
    with crew.at_work():
        first = crew.accept()
        assert gate.reached.wait(10)
        taught = accept_training(crew.jobs, training()).id
        until(lambda: crew.job(taught).status is JobStatus.RUNNING)
        others = [crew.accept(), crew.accept()]
        time.sleep(0.2)
        assert crew.jobs.queued_shards() == 2
        assert at_work == []
        gate.open()
        assert finished(crew.jobs, taught, 20).status is JobStatus.SUCCEEDED
        assert [crew.outcomes(job_id) for job_id in [first, *others]] == [[OK]] * 3
    assert set(at_work) == {1}


def test_a_shard_that_failed_before_has_no_companion_that_it_could_take_with_it(crew: Crew) -> None:
    """It may be what ends workers."""
    gate = Gate()
    failed = crew.accept()
    crew.jobs.begin_shard(TENANT, failed, 0)  # by a worker that died
    seen: list[int] = []

    def before(batch: list[int]) -> None:
        seen.append(len(crew.company._members))
        at_first_only(batch)

    at_first_only = at_first(gate)
    crew.models.before = before
    with crew.at_work():
        assert gate.reached.wait(10)
        others = [crew.accept(), crew.accept()]
        time.sleep(0.2)
        assert crew.jobs.queued_shards() == 2
        gate.open()
        assert [crew.outcomes(job_id) for job_id in [failed, *others]] == [[OK]] * 3
    assert seen[0] == 1


def test_a_data_set_of_thousands_holds_a_single_request_up_for_no_more_than_a_shard(
    crew: Crew, storage: FolderStorage
) -> None:
    """Of 5,000 items no more are drawn before it than were at work, and one shard."""
    bench = DatasetBench(crew.jobs, storage)
    of = [planned(SOURCES[0], ["scratch"], seed=seed, mask="sent") for seed in range(5000)]
    job_id = bench.accepted(of, shard_size=ROWS)
    crew.models.on_step = lambda: time.sleep(0.01)
    with crew.at_work():
        for _ in range(3):
            before = len(crew.models.batches)
            until(lambda before=before: len(crew.models.batches) >= before + 3)  # type: ignore[misc]
            sent = sum(map(len, crew.models.batches))
            single = crew.accept()
            assert crew.outcomes(single) == [OK]
            assert sum(map(len, crew.models.batches)) - sent <= 3 * ROWS + 1
        assert crew.job(job_id).status is JobStatus.RUNNING
        crew.jobs.cancel(TENANT, job_id)
        assert finished(crew.jobs, job_id, 30).status is JobStatus.CANCELED


def test_items_of_several_jobs_are_the_same_as_alone(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each item of a batch goes to the job that asked for it."""

    def by_seed(one: ItemRequest) -> ItemResult:
        result = drawn(one)
        result.image[one.mask] = np.uint8(one.seed % 251)
        return result

    monkeypatch.setattr(fake_models, "drawn", by_seed)

    def send(seeds: Sequence[int]) -> list[str]:
        sent = []
        for seed in seeds:
            manifest = request(2)
            manifest.augmentation.seed = seed
            sent.append(accept(crew.jobs, manifest).id)
        return sent

    def pixels(job_id: str) -> list[str | None]:
        return [item.pixels_sha256 for item in finished(crew.jobs, job_id, 20).items]

    seeds = range(10, 16)
    with crew.at_work():
        alone = [pixels(send([seed])[0]) for seed in seeds]
        gate = Gate()
        crew.models.before = at_first(gate)
        first = send([1])[0]
        assert gate.reached.wait(10)
        crew.models.batches.clear()
        company = send(seeds)
        crew.await_waiting(ROWS)
        gate.open()
        assert [pixels(job_id) for job_id in company] == alone
        pixels(first)
    assert max(map(len, crew.models.batches)) == ROWS
    assert len({tuple(one) for one in alone}) == len(alone)


def test_lines_of_an_item_carry_its_own_jobs_ids(crew: Crew) -> None:
    gate = Gate()
    crew.models.before = at_first(gate)
    seen: list[dict[str, object]] = []

    class Noting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(dict(context.fields()))

    def fail(batch: list[int]) -> None:
        assert len(batch) == 1 or not context.fields()  # of a batch of several jobs there are no ids
        raise ValueError("no")

    handler = Noting()
    logging.getLogger("worker.batches").addHandler(handler)
    with crew.at_work():
        crew.accept()
        assert gate.reached.wait(10)
        jobs = [crew.accept(), crew.accept()]
        crew.await_waiting(2)
        crew.models.before = fail
        gate.open()
        assert [crew.outcomes(job_id) for job_id in jobs] == [[BAD]] * 2
    logging.getLogger("worker.batches").removeHandler(handler)
    assert [fields["job_id"] for fields in seen] == jobs
    assert {fields["item"] for fields in seen} == {0}


def test_a_worker_is_busy_as_long_as_one_is_at_work(crew: Crew) -> None:
    def state() -> object:
        return crew.redis.hget(crew.worker.key, "state")

    gate = Gate()
    crew.models.before = at_first(gate)
    with crew.at_work():
        until(lambda: state() == b"idle")
        jobs = [crew.accept()]
        assert gate.reached.wait(10)
        jobs.append(crew.accept())
        crew.await_waiting(1)
        time.sleep(1.2)  # the worker says so again each second
        assert state() == b"busy"
        assert crew.worker.current_execution_count == 2
        gate.open()
        assert [crew.outcomes(job_id) for job_id in jobs] == [[OK]] * 2
        until(lambda: state() == b"idle")
        assert crew.worker.current_execution_count == 0


def test_a_backbone_that_is_not_loaded_is_loaded_where_models_are_called(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(FakeModels, "has", lambda models, name: name == "there")
    for name in ("there", "elsewhere"):
        crew.shards._engine.look_up(name, lambda: asked.append(threading.current_thread().name))
    here, engine = asked
    assert here == threading.current_thread().name
    assert engine.startswith("engine")


def test_a_member_is_alone_only_while_all_others_wait_or_have_ended() -> None:
    company = Company(lambda: 4)
    one, two = company.enter(), company.enter()
    assert not company.has_room()  # nobody knows what they will ask for
    one.expect(3)
    two.expect(0)
    assert company.has_room()
    assert not one.be_alone()
    assert not company.has_room()
    assert two.be_alone()  # for the first one waits
    assert not one.be_alone()
    two.rest()
    company.leave(two)
    assert one.be_alone()
    one.rest()
    assert company.has_room()


@pytest.fixture
def lanes(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> Crew:
    """A worker with two lanes, as beside a GPU."""
    crew.models.lanes = 2
    crew.company = Company(lambda: crew.models.batch_shape, 2)
    crew.worker._company = crew.company
    crew.shards = Shards(
        crew.jobs,
        crew.storage,
        crew.models.as_models(),
        crew.worker.stopping,
        crew._lose_device,
        company=crew.company,
    )
    monkeypatch.setattr(shards_module, "_installed", crew.shards)
    return crew


def drawn_prepared_and_waiting(lanes: Crew, gate: Gate) -> list[str]:
    """Three jobs of a full batch each: one is held at the gate while it is drawn, one prepared, one waits."""
    jobs = [lanes.accept(ROWS, shard_size=ROWS)]
    assert gate.reached.wait(10)
    jobs += [lanes.accept(ROWS, shard_size=ROWS) for _ in range(2)]
    until(lambda: len(lanes.models.batches) == 2, 20)
    lanes.await_waiting(ROWS)
    return jobs


def test_a_full_batch_is_prepared_while_another_is_drawn_and_finished_while_the_next_one_is(lanes: Crew) -> None:
    gate, inside, most = Gate(), 0, 0

    def step() -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        gate()
        inside -= 1

    lanes.models.on_step = step
    with lanes.at_work():
        jobs = drawn_prepared_and_waiting(lanes, gate)
        gate.open()
        for job_id in jobs:
            assert lanes.outcomes(job_id) == [OK] * ROWS
    assert most == 1, "models are called by one thread at a time"


def test_what_does_not_fill_a_batch_is_joined_by_others_until_the_device_is_free(lanes: Crew) -> None:
    gate = Gate()
    lanes.models.on_step = gate
    with lanes.at_work():
        jobs = [lanes.accept()]
        assert gate.reached.wait(10)
        jobs += [lanes.accept() for _ in range(ROWS - 1)]
        lanes.await_waiting(ROWS - 1)
        time.sleep(0.2)
        assert lanes.models.batches == [[0]]
        gate.open()
        for job_id in jobs:
            assert lanes.outcomes(job_id) == [OK]
    assert lanes.models.batches == [[0], [0] * (ROWS - 1)]


def test_two_lanes_may_draw_what_was_asked_for_together(lanes: Crew) -> None:
    """As they do when memory ran out before it was drawn, and it fills several batches."""
    gate, both = Gate(), threading.Barrier(2)

    def meet(batch: list[int]) -> None:
        both.wait(10)

    lanes.models.on_step = gate
    with lanes.at_work():
        jobs = drawn_prepared_and_waiting(lanes, gate)
        lanes.models.batch_shape, lanes.models.before = ROWS // 2, meet
        gate.open()
        for job_id in jobs:
            assert lanes.outcomes(job_id) == [OK] * ROWS
    assert [len(batch) for batch in lanes.models.batches] == [ROWS, ROWS, ROWS // 2, ROWS // 2]
    for job_id in jobs:
        assert lanes.redis.hget(f"flawsmith:{TENANT}:job:{job_id}", "attempts:0") == b"1"


def test_one_lack_of_memory_that_two_lanes_meet_halves_rows_once(lanes: Crew) -> None:
    both = threading.Barrier(2)

    def fail(batch: list[int]) -> None:
        if len(batch) == ROWS:
            both.wait(10)
            raise torch.OutOfMemoryError("CUDA out of memory")

    lanes.models.before = fail
    jobs = [lanes.accept(ROWS, shard_size=ROWS) for _ in range(2)]
    with lanes.at_work():
        for job_id in jobs:
            assert lanes.outcomes(job_id) == [OK] * ROWS
    assert lanes.models.batch_shape == ROWS // 2
    assert lanes.models.shrunk == 2


def test_a_worker_of_several_lanes_asks_for_shards_to_fill_them_all(lanes: Crew) -> None:
    lanes.worker._appear()
    assert shards_at_once(shard_queue(lanes.redis), 1) == [2 * ROWS]


def test_there_is_an_end_to_the_company() -> None:
    company = Company(lambda: 2)
    members = []
    while company.has_room():
        members.append(company.enter())
        members[-1].expect(0)  # all are drawn, and are being stored
    assert len(members) == 6
    company.leave(members[0])
    assert company.has_room()


def test_a_large_image_has_no_company() -> None:
    company = Company(lambda: 4)
    members = [company.enter() for _ in range(2)]
    for member in members:
        member.expect(1)
        member.hold(30_000_000)
    assert company.has_room()
    members[0].hold(90_000_000)
    assert not company.has_room()
    company.leave(members[0])
    assert company.has_room()


def test_a_worker_tells_how_many_shards_fill_its_batch(crew: Crew) -> None:
    """So that one job alone can fill it, and the next one."""
    assert shards_at_once(shard_queue(crew.redis), 2) == []
    crew.worker._appear()
    for size, filling in ((1, 4), (2, 2), (3, 1), (4, 1), (64, 1)):
        assert shards_at_once(shard_queue(crew.redis), size) == [filling]
    crew.redis.hdel(crew.worker.key, "rows")  # a worker of the version before
    assert shards_at_once(shard_queue(crew.redis), 1) == [1]


def test_one_job_fills_the_batches_and_the_next_is_ready(crew: Crew) -> None:
    gate = Gate()
    crew.models.before = at_first(gate)
    crew.models.on_step = wait_a_step
    with crew.at_work():
        job_id = crew.accept(20, shard_size=2)
        assert gate.reached.wait(10)
        crew.await_waiting(2)  # two shards are queued at first
        gate.open()
        assert crew.outcomes(job_id) == [OK] * 20
    assert sum(len(batch) == ROWS for batch in crew.models.batches) >= 3


def test_the_engine_has_the_threads_that_were_set() -> None:
    """Kernels that ask OpenMP, not torch, would take every core in a thread that torch was not asked in."""
    (library,) = Path(torch.__file__).parent.glob("lib/libgomp*")
    threads = ctypes.CDLL(str(library)).omp_get_max_threads
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        engine = Engine(FakeModels().as_models(), Metrics(None), lambda: None)
        assert engine.call(threads) == 3
    finally:
        torch.set_num_threads(before)
