"""Trainings in a worker: slices, checkpoints, ends, with a training that learns nothing."""

from __future__ import annotations

import gc
import hashlib
import io
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from redis import Redis
from rq.job import Retry

from flawsmith.contract.base import now
from flawsmith.contract.defect_types import DefectTypeRecord
from flawsmith.contract.jobs import Job, JobStatus
from models.samples import exemplars_from_bytes
from service.store import keys
from service.store.folder import FolderStorage
from service.store.jobs import Jobs
from service.store.keys import SampleKind
from service.store.mending import Mender
from service.store.queue import RETRY, RETRY_LAST
from service.store.registry import Registry
from service.store.storage import StorageUnavailableError
from tests.worker.fake_models import FakeModels
from tests.worker.fake_teaching import STEPS, School
from tests.worker.tiny_worker import TENANT, accept, accept_training, request, training
from worker import shards as shards_module
from worker import slices as slices_module
from worker.settings import WorkerSettings
from worker.shards import Shards, ShardTakenError
from worker.trainings import Teaching, Trainings

SLICE_S = 0.0
"""Each slice is one step."""


class Killed(BaseException):
    """The process dies here: nothing after it is heard of."""


class Room:
    """Workers in one process that share a school; each knows what it has in memory."""

    def __init__(self, jobs: Jobs, storage: FolderStorage) -> None:
        self.jobs = jobs
        self.storage = storage
        self.registry = Registry(storage)
        self.school = School()
        self.stopping = False

    def worker(self, slice_s: float = SLICE_S) -> Shards:
        models = FakeModels().as_models()
        trainings = Trainings(self.jobs, self.storage, models, self.school.teach, slice_s)
        return Shards(self.jobs, self.storage, models, lambda: self.stopping, lambda: None, trainings=trainings)

    def accept(self, name: str = "pitting", part: str = "part") -> str:
        return accept_training(self.jobs, training(name, part=part)).id

    def job(self, job_id: str) -> Job:
        job = self.jobs.get(TENANT, job_id)
        assert job is not None
        return job

    def finish(self, job_id: str, worker: Shards | None = None) -> Job:
        """Slice after slice, until there is none left."""
        worker = worker or self.worker()
        for _ in range(3 * STEPS):
            if worker.run(TENANT, job_id, 0) is None:
                return self.job(job_id)
        pytest.fail("it goes on for ever")

    def versions(self, name: str = "pitting") -> list[DefectTypeRecord]:
        return [record for record in self.registry.list(TENANT) if record.name == name]

    def learned(self, version: int = 1) -> str:
        record = self.registry.get(TENANT, "pitting", version)
        assert record is not None
        assert record.card is not None
        return str(record.card.settings["learned"])


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards_module, "_OUTAGE_PAUSE_S", 0.0)
    monkeypatch.setattr(shards_module, "_FAILURE_PAUSE_S", 0.0)
    monkeypatch.setattr(slices_module, "_PAUSE_S", 0.0)
    monkeypatch.setattr(slices_module, "_LEAST_PATIENCE_S", 0.0)


@pytest.fixture
def room(jobs: Jobs, storage: FolderStorage) -> Room:
    return Room(jobs, storage)


def test_a_training_makes_a_version_with_its_card(room: Room, storage: FolderStorage) -> None:
    job_id = room.accept()
    job = room.finish(job_id)

    assert job.status is JobStatus.SUCCEEDED
    assert job.items == []
    assert (job.progress.done, job.progress.total) == (1, 1)
    assert job.training is not None
    assert (job.training.phase, job.training.step, job.training.steps) == ("done", STEPS, STEPS)
    assert (job.training.defect_type, job.training.verdict) == ("pitting@1", "fair")
    (record,) = room.versions()
    assert (record.tenant, record.version, record.job_id) == (TENANT, 1, job_id)
    assert (record.description, record.defaults.part) == ("pits", "part")
    adapter = storage.get(keys.defect_type_adapter(TENANT, "pitting", 1))
    exemplars = storage.get(keys.defect_type_exemplars(TENANT, "pitting", 1))
    assert record.adapter_sha256 == f"sha256:{hashlib.sha256(adapter).hexdigest()}"
    assert record.exemplars_sha256 == f"sha256:{hashlib.sha256(exemplars).hexdigest()}"
    assert len(exemplars_from_bytes(exemplars)) == 2
    assert record.card is not None
    assert len(record.card.samples) == 2
    assert len(record.card.normals) == 1


def test_the_version_speaks_from_storage_alone(room: Room, storage: FolderStorage) -> None:
    job_id = room.accept()
    job = room.finish(job_id)
    room.jobs.forget(TENANT, job_id)

    assert room.job(job_id).training == job.training


def test_a_slice_leaves_a_checkpoint_and_a_sheet_and_goes_to_the_end_of_the_queue(
    room: Room, storage: FolderStorage
) -> None:
    job_id = room.accept()
    worker = room.worker()

    for step in range(1, 5):
        assert worker.run(TENANT, job_id, 0) is RETRY_LAST
        record = room.jobs.training(TENANT, job_id)
        assert record is not None
        assert [one.number for one in record.checkpoints] == list(range(step, max(0, step - 2), -1))
        assert len(list(storage.list(keys.checkpoints_prefix(TENANT, job_id)))) == min(step, 2)
        job = room.job(job_id)
        assert job.status is JobStatus.RUNNING
        assert job.training is not None
        assert (job.training.phase, job.training.step) == ("learning", step)
        assert job.progress.step == pytest.approx(step / STEPS, abs=1e-3)
        assert job.training.losses["defect"] == 1 / step
        assert job.training.sheet_sha256 is not None
        assert list(storage.list(keys.sheets_prefix(TENANT, job_id))) == [
            keys.training_sheet(TENANT, job_id, job.training.sheet_sha256)
        ]
        sheet = storage.get(keys.training_sheet(TENANT, job_id, job.training.sheet_sha256))
        assert np.asarray(Image.open(io.BytesIO(sheet))).max() == step
    assert job.eta is not None
    assert room.school.begun == {"pitting": 1}


def test_another_worker_goes_on_from_the_checkpoint(room: Room) -> None:
    room.finish(room.accept())
    job_id = room.accept()
    first, second = room.worker(), room.worker()
    first.run(TENANT, job_id, 0)
    second.run(TENANT, job_id, 0)  # restores
    first.run(TENANT, job_id, 0)  # what it has in memory is not the newest any more
    room.finish(job_id, second)

    assert room.learned(2) == room.learned(1)


def test_a_training_killed_at_any_step_ends_as_an_undisturbed_one(room: Room) -> None:
    room.finish(room.accept())
    job_id = room.accept()
    died = 0

    def before_step(step: int) -> None:
        nonlocal died
        if step == died:
            died += 1
            raise Killed

    room.school.before_step = before_step
    ended: Retry | None = RETRY
    while ended is not None:
        try:
            ended = room.worker().run(TENANT, job_id, 0)
        except Killed:
            continue

    assert died == STEPS
    assert room.job(job_id).status is JobStatus.SUCCEEDED
    assert room.learned(2) == room.learned(1)


@contextmanager
def dying_storage(storage: FolderStorage, writes: int) -> Iterator[None]:
    """After so many writes the process dies at the next one."""
    with pytest.MonkeyPatch.context() as patch:
        done = 0

        def mortal(real: Callable[..., object]) -> Callable[..., object]:
            def write(*arguments: object) -> object:
                nonlocal done
                if done == writes:
                    raise Killed
                done += 1
                return real(*arguments)

            return write

        for name in ("put", "put_if_absent"):
            patch.setattr(storage, name, mortal(getattr(storage, name)))
        yield


WRITES = 11
"""Of a training that is one slice: checkpoint, sheet, record; claim, note of it, adapter, exemplars, version;
record, item, result."""


def test_a_training_that_is_one_slice_writes_so_often(room: Room, storage: FolderStorage) -> None:
    job_id = room.accept()
    with dying_storage(storage, WRITES):
        assert room.worker(slice_s=10).run(TENANT, job_id, 0) is None


@pytest.mark.parametrize("writes", range(WRITES))
def test_a_training_killed_while_it_is_stored_makes_one_version(
    room: Room, storage: FolderStorage, writes: int
) -> None:
    job_id = room.accept()
    with dying_storage(storage, writes), pytest.raises(Killed):
        room.worker(slice_s=10).run(TENANT, job_id, 0)

    assert room.finish(job_id).status is JobStatus.SUCCEEDED
    (record,) = room.versions()
    assert (record.version, record.job_id) == (1, job_id)
    state = room.job(job_id).training
    assert state is not None
    assert state.defect_type == "pitting@1"


@pytest.mark.parametrize("forgotten", [False, True])
@pytest.mark.parametrize("writes", range(WRITES))
def test_a_training_canceled_after_its_worker_died_leaves_a_version_if_it_succeeded_and_else_none(
    room: Room, storage: FolderStorage, client: Redis, writes: int, forgotten: bool
) -> None:
    job_id = room.accept()
    with dying_storage(storage, writes), pytest.raises(Killed):
        room.worker(slice_s=10).run(TENANT, job_id, 0)
    if forgotten:
        client.flushall()
    room.jobs.cancel(TENANT, job_id)
    job = room.finish(job_id)

    item_was_stored = writes == WRITES - 1
    assert job.status is (JobStatus.SUCCEEDED if item_was_stored else JobStatus.CANCELED)
    assert len(room.versions()) == item_was_stored
    left = [key for key in storage.list(keys.defect_types_prefix(TENANT)) if not key.endswith("claim.json")]
    assert len(left) == 3 * item_was_stored
    assert list(storage.list(keys.checkpoints_prefix(TENANT, job_id))) == []
    assert job.training is not None
    assert (job.training.defect_type is not None) is item_was_stored


def test_a_training_canceled_between_slices_leaves_no_version(room: Room, storage: FolderStorage) -> None:
    job_id = room.accept()
    worker = room.worker()
    worker.run(TENANT, job_id, 0)
    room.jobs.cancel(TENANT, job_id)

    assert worker.run(TENANT, job_id, 0) is None
    assert room.job(job_id).status is JobStatus.CANCELED
    assert list(storage.list(keys.defect_types_prefix(TENANT))) == []
    assert list(storage.list(keys.checkpoints_prefix(TENANT, job_id))) == []


def test_a_cancel_is_seen_at_the_next_step(room: Room) -> None:
    job_id = room.accept()
    steps = []

    def before_step(step: int) -> None:
        steps.append(step)
        if step == 3:
            room.jobs.cancel(TENANT, job_id)

    room.school = School(step_s=0.03, before_step=before_step)
    assert room.worker(slice_s=10).run(TENANT, job_id, 0) is None

    assert steps[-1] == 3
    assert room.job(job_id).status is JobStatus.CANCELED
    assert room.versions() == []


def at_first(
    kind: SampleKind, storage: FolderStorage, patch: pytest.MonkeyPatch, do: Callable[[], object]
) -> list[str]:
    """Do something when the first sample of a kind is read; keys of the images that are read of it."""
    get, read = storage.get, list[str]()

    def noting(key: str) -> bytes:
        if f"/{kind}/" in key and key.endswith("/image.png"):
            if not read:
                do()
            read.append(key)
        return get(key)

    patch.setattr(storage, "get", noting)
    return read


def test_a_stop_is_heard_between_samples_that_are_read(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = room.accept()
    read = at_first("samples", room.storage, monkeypatch, lambda: setattr(room, "stopping", True))
    assert room.worker().run(TENANT, job_id, 0) is RETRY
    assert len(read) == 1

    room.stopping = False
    assert room.finish(job_id).status is JobStatus.SUCCEEDED


def test_a_cancel_is_heard_between_samples_that_are_read(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    def cancel() -> None:
        room.jobs.cancel(TENANT, job_id)
        time.sleep(0.03)  # a worker asks no more often than that

    job_id = room.accept()
    read = at_first("samples", room.storage, monkeypatch, cancel)
    assert room.worker().run(TENANT, job_id, 0) is None
    assert len(read) == 1
    assert room.school.begun == {}
    assert room.job(job_id).status is JobStatus.CANCELED


def test_a_stopping_worker_keeps_what_was_learned(room: Room) -> None:
    room.finish(room.accept())
    job_id = room.accept()

    def before_step(step: int) -> None:
        room.stopping = step == 4

    room.school.before_step = before_step
    assert room.worker(slice_s=10).run(TENANT, job_id, 0) is RETRY
    kept = room.jobs.training(TENANT, job_id)
    assert kept is not None
    assert kept.state.step == 5

    room.stopping = False
    room.finish(job_id)
    assert room.learned(2) == room.learned(1)


def test_a_training_that_cannot_be_taught_fails_with_the_reason(room: Room) -> None:
    job = room.finish(room.accept(part="nothing"))

    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert job.error.code == "cannot-be-taught"
    assert "say what the part is" in job.error.detail
    assert room.versions() == []


def test_a_training_that_always_fails_at_one_place_is_given_up(room: Room) -> None:
    def before_step(step: int) -> None:
        if step == 3:
            raise RuntimeError("no such number")

    room.school.before_step = before_step
    job_id = room.accept()
    worker = room.worker()
    failures = 0
    while True:
        try:
            if worker.run(TENANT, job_id, 0) is None:
                break
        except RuntimeError:
            failures += 1

    assert failures == 3
    job = room.job(job_id)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert job.error.code == "training-failed"
    assert "no such number" in job.error.detail


def test_a_slice_that_runs_out_of_memory_frees_it_before_it_is_tried_again(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    teach, begun, left = room.school.teach, list[weakref.ref[Teaching]](), list[Teaching | None]()

    def noting(*arguments: Any) -> Teaching:
        work = teach(*arguments)
        begun.append(weakref.ref(work))
        return work

    def free(models: FakeModels) -> None:
        gc.collect()
        left.extend(work() for work in begun)

    def before_step(step: int) -> None:
        if step == 3 and not left:
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(room.school, "teach", noting)
    monkeypatch.setattr(FakeModels, "free", free)
    room.school.before_step = before_step
    job_id = room.accept()
    worker = room.worker(slice_s=10)
    with pytest.raises(torch.OutOfMemoryError):
        worker.run(TENANT, job_id, 0)
    assert left == [None], "what it held was let go of before"
    assert room.finish(job_id, worker).status is JobStatus.SUCCEEDED


def test_failures_at_many_places_are_not_added_up(room: Room) -> None:
    failed = set()

    def before_step(step: int) -> None:
        if step not in failed:
            failed.add(step)
            raise RuntimeError("once")

    room.school.before_step = before_step
    job_id = room.accept()
    worker = room.worker()
    for _ in range(3 * STEPS):
        try:
            if worker.run(TENANT, job_id, 0) is None:
                break
        except RuntimeError:
            continue

    assert len(failed) == STEPS
    assert room.job(job_id).status is JobStatus.SUCCEEDED


def test_a_broken_checkpoint_gives_way_to_the_one_before(room: Room, storage: FolderStorage) -> None:
    room.finish(room.accept())
    job_id = room.accept()
    worker = room.worker()
    for _ in range(4):
        worker.run(TENANT, job_id, 0)
    kept = room.jobs.training(TENANT, job_id)
    assert kept is not None
    newest, before = (keys.checkpoint(TENANT, job_id, one.number, one.sha256) for one in kept.checkpoints)
    storage.put(newest, b"broken")
    room.worker().run(TENANT, job_id, 0)
    again = room.jobs.training(TENANT, job_id)
    assert again is not None
    assert again.state.step == 4

    storage.delete(before)
    room.finish(job_id)
    assert room.learned(2) == room.learned(1)


def test_two_trainings_of_one_name_make_two_versions(room: Room) -> None:
    first, second = room.accept(), room.accept()
    worker = room.worker()
    for _ in range(STEPS):
        for job_id in (first, second):
            worker.run(TENANT, job_id, 0)

    assert [record.version for record in room.versions()] == [1, 2]
    assert {record.job_id for record in room.versions()} == {first, second}
    assert room.school.begun == {"pitting": 2}


@pytest.fixture
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices_module, "_LEAST_PATIENCE_S", 60.0)


@pytest.mark.usefixtures("_patience")
def test_more_trainings_than_a_worker_holds_wait_their_turn(room: Room) -> None:
    names = ["pitting", "burr", "stain"]
    jobs = [room.accept(name) for name in names]
    worker = room.worker()
    for _ in range(STEPS - 1):
        assert [worker.run(TENANT, job_id, 0) for job_id in jobs] == 3 * [RETRY_LAST]
    assert [room.jobs.training(TENANT, job_id) is None for job_id in jobs] == [False, False, True]
    for _ in range(STEPS + 1):
        for job_id in jobs:
            worker.run(TENANT, job_id, 0)

    assert [room.job(job_id).status for job_id in jobs] == 3 * [JobStatus.SUCCEEDED]
    assert room.school.begun == dict.fromkeys(names, 1)


@pytest.mark.usefixtures("_patience")
def test_a_training_is_left_to_the_worker_that_has_it_in_memory(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = room.accept()
    first, second = room.worker(), room.worker()
    for _ in range(3):
        first.run(TENANT, job_id, 0)
        assert second.run(TENANT, job_id, 0) is RETRY_LAST
    state = room.job(job_id).training
    assert state is not None
    assert state.step == 3
    assert room.school.begun == {"pitting": 1}

    monkeypatch.setattr(slices_module, "_LEAST_PATIENCE_S", 0.0)
    assert (
        room.finish(job_id).status is JobStatus.SUCCEEDED
    )  # a third one, when the first is not heard of any more


@pytest.mark.usefixtures("_patience")
def test_a_training_that_a_clock_says_is_kept_in_an_hour_is_not_waited_for(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = room.accept()
    with monkeypatch.context() as patch:
        patch.setattr(slices_module, "now", lambda: now() + timedelta(hours=1))
        room.worker().run(TENANT, job_id, 0)
    assert room.finish(job_id).status is JobStatus.SUCCEEDED


@pytest.mark.usefixtures("_patience")
def test_a_stopping_worker_leaves_its_training_to_others_at_once(room: Room) -> None:
    def before_step(step: int) -> None:
        room.stopping = step == 4

    room.school.before_step = before_step
    job_id = room.accept()
    room.worker(slice_s=10).run(TENANT, job_id, 0)
    room.stopping = False

    assert room.worker(slice_s=10).run(TENANT, job_id, 0) is None
    assert room.job(job_id).status is JobStatus.SUCCEEDED


def test_more_trainings_than_a_worker_remembers_end_right_too(room: Room) -> None:
    names = ["pitting", "burr", "stain"]
    jobs = [room.accept(name) for name in names]
    worker = room.worker()
    for _ in range(STEPS):
        for job_id in jobs:
            worker.run(TENANT, job_id, 0)

    assert [room.job(job_id).status for job_id in jobs] == 3 * [JobStatus.SUCCEEDED]
    assert all(len(room.versions(name)) == 1 for name in names)


def test_who_was_thought_dead_writes_nothing(room: Room) -> None:
    job_id = room.accept()
    late = room.worker(slice_s=10)

    def before_step(step: int) -> None:
        if step == 2:
            room.school.before_step = lambda step: None
            room.finish(job_id)

    room.school.before_step = before_step
    with suppress(ShardTakenError):  # or it hears that the job has ended
        late.run(TENANT, job_id, 0)

    assert room.job(job_id).status is JobStatus.SUCCEEDED
    assert [record.version for record in room.versions()] == [1]


def test_what_redis_has_forgotten_is_taken_up_from_the_checkpoint(
    room: Room, storage: FolderStorage, settings: WorkerSettings
) -> None:
    room.finish(room.accept())
    job_id = room.accept()
    for _ in range(3):
        room.worker().run(TENANT, job_id, 0)
    redis = room.jobs._redis
    redis.flushall()
    state = room.job(job_id).training
    assert state is not None
    assert state.step == 3

    Mender(redis, storage, settings, grace_s=0, orphan_age_s=0).rebuild()
    job = room.job(job_id)
    assert job.queue_position == 0
    assert job.training == state
    room.finish(job_id)
    assert room.learned(2) == room.learned(1)


def test_storage_that_fails_is_held_against_nobody(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = room.accept()
    worker = room.worker()
    worker.run(TENANT, job_id, 0)

    def fail(*arguments: object) -> None:
        raise StorageUnavailableError("away")

    for _ in range(6):
        with monkeypatch.context() as patch:
            patch.setattr(room.storage, "put", fail)
            assert worker.run(TENANT, job_id, 0) is RETRY
    assert room.finish(job_id, worker).status is JobStatus.SUCCEEDED


def test_an_augmentation_draws_with_what_was_taught(room: Room) -> None:
    room.finish(room.accept())
    manifest = request(1)
    manifest.augmentation.defects[0].defect_type = "pitting"
    manifest.augmentation.defects[0].defect_type_tenant = TENANT
    job_id = accept(room.jobs, manifest).id

    assert room.worker().run(TENANT, job_id, 0) is None
    assert room.job(job_id).counts.succeeded == 1


def test_a_deleted_job_leaves_its_version(room: Room, storage: FolderStorage) -> None:
    job_id = room.accept()
    room.finish(job_id)

    assert room.jobs.delete(TENANT, job_id)
    assert list(storage.list(keys.job_prefix(TENANT, job_id))) == []
    assert len(room.versions()) == 1
