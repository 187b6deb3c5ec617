"""Evaluations in a worker: slices, checkpoints, ends, with a trial that trains nothing."""

from __future__ import annotations

import pytest
from rq.job import Retry

from flawsmith.contract.base import FORMAT_VERSION
from flawsmith.contract.defect_types import DefectTypeDefaults, DefectTypeRecord
from flawsmith.contract.jobs import Job, JobStatus
from service.store import keys
from service.store.folder import FolderStorage
from service.store.jobs import Jobs
from service.store.mending import Mender
from service.store.queue import RETRY, RETRY_LAST
from service.store.registry import Registry
from service.store.storage import StorageUnavailableError
from tests.worker.fake_models import FakeModels
from tests.worker.fake_teaching import School
from tests.worker.fake_trial import PARTS, STEPS, Bench
from tests.worker.test_trainings import Killed, at_first, dying_storage
from tests.worker.tiny_worker import (
    TENANT,
    accept,
    accept_evaluation,
    accept_training,
    evaluation,
    photo,
    request,
    training,
)
from worker import shards as shards_module
from worker import slices as slices_module
from worker.evaluations import Evaluations
from worker.settings import WorkerSettings
from worker.shards import Shards
from worker.slices import Memory
from worker.trainings import Trainings

SLICE_S = 0.0
"""Each slice is one step."""


class Room:
    """Workers in one process that share a bench; each knows what it has in memory."""

    def __init__(self, jobs: Jobs, storage: FolderStorage) -> None:
        self.jobs = jobs
        self.storage = storage
        self.bench = Bench()
        self.school = School()
        self.stopping = False
        Registry(storage).publish(
            DefectTypeRecord(
                format_version=FORMAT_VERSION,
                tenant=TENANT,
                name="pitting",
                version=1,
                description="",
                backbone="tiny",
                backbone_digest="sha256:0",
                adapter_sha256="sha256:1",
                defaults=DefectTypeDefaults(
                    severity=1, guidance=1, steps=10, seed_share=0.8, min_quality=0, part="part"
                ),
            )
        )

    def worker(self, slice_s: float = SLICE_S) -> Shards:
        models, memory = FakeModels().as_models(), Memory()
        return Shards(
            self.jobs,
            self.storage,
            models,
            lambda: self.stopping,
            lambda: None,
            trainings=Trainings(self.jobs, self.storage, models, self.school.teach, slice_s, memory),
            evaluations=Evaluations(self.jobs, self.storage, models, self.bench.begin, slice_s, memory),
        )

    def accept(self, count: int = 4) -> str:
        return accept_evaluation(self.jobs, evaluation(count=count)).id

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

    def found(self, job_id: str) -> str:
        """The digest of all that was done."""
        job = self.job(job_id)
        assert job.evaluation is not None
        assert job.evaluation.result is not None
        return job.evaluation.result.notes[-1]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards_module, "_OUTAGE_PAUSE_S", 0.0)
    monkeypatch.setattr(shards_module, "_FAILURE_PAUSE_S", 0.0)
    monkeypatch.setattr(slices_module, "_PAUSE_S", 0.0)
    monkeypatch.setattr(slices_module, "_LEAST_PATIENCE_S", 0.0)


@pytest.fixture
def room(jobs: Jobs, storage: FolderStorage) -> Room:
    return Room(jobs, storage)


def test_an_evaluation_ends_with_a_verdict_and_the_figures_behind_it(room: Room) -> None:
    job = room.finish(room.accept())

    assert job.status is JobStatus.SUCCEEDED
    assert job.items == []
    assert (job.progress.done, job.progress.total) == (1, 1)
    assert job.training is None
    assert job.evaluation is not None
    assert (job.evaluation.phase, job.evaluation.step, job.evaluation.steps) == ("done", STEPS, STEPS)
    found = job.evaluation.result
    assert found is not None
    assert (found.verdict, found.metric, found.gain) == ("helps", "auroc", 0.5)
    assert (found.trainings_without, found.trainings_with) == (3, 3)
    assert (found.hold_out.defective_parts, found.hold_out.good_parts) == (PARTS, PARTS)
    assert found.trace is not None
    assert found.trace.parts == PARTS
    assert found.figures[0].name == "image AUROC"


def test_a_trial_is_given_what_the_type_learned_and_the_hold_out_with_its_labels(room: Room) -> None:
    room.finish(room.accept())

    assert [one.type for one in room.bench.hold_out] == ["pit", "burr", "pitting", None, None]
    assert [one.sample.mask.any() for one in room.bench.hold_out] == [True, True, True, False, False]
    assert [int(one.sample.image[0, 0]) - int(photo()[0, 0]) for one in room.bench.hold_out] == [
        10,
        11,
        12,
        20,
        21,
    ]
    learned = room.bench.learned
    assert learned is not None
    assert (learned.adapter.name, learned.adapter.version) == ("pitting", 1)
    assert [sample.mask.any() for sample in learned.samples] == [True, True]
    assert [sample.mask.any() for sample in room.bench.normals] == [False]


def test_what_was_found_speaks_from_storage_alone(room: Room) -> None:
    job_id = room.accept()
    job = room.finish(job_id)
    room.jobs.forget(TENANT, job_id)

    assert room.job(job_id).evaluation == job.evaluation


def test_a_slice_leaves_a_checkpoint_and_goes_to_the_end_of_the_queue(room: Room, storage: FolderStorage) -> None:
    job_id = room.accept()
    worker = room.worker()

    for step in range(1, 9):
        assert worker.run(TENANT, job_id, 0) is RETRY_LAST
        record = room.jobs.evaluation(TENANT, job_id)
        assert record is not None
        assert [one.number for one in record.checkpoints] == list(range(step, max(0, step - 2), -1))
        assert len(list(storage.list(keys.checkpoints_prefix(TENANT, job_id)))) == min(step, 2)
        job = room.job(job_id)
        assert job.status is JobStatus.RUNNING
        assert job.evaluation is not None
        phase = ("drawing", "training", "asking")[step // 4]
        assert (job.evaluation.phase, job.evaluation.step) == (phase, step)
        assert job.evaluation.result is None
        assert job.progress.step == pytest.approx(step / STEPS, abs=1e-3)
        assert job.eta is not None
    assert room.bench.begun == {"pitting@1": 1}


def test_an_evaluation_killed_at_any_step_ends_as_an_undisturbed_one(room: Room) -> None:
    undisturbed, job_id = room.accept(), room.accept()
    room.finish(undisturbed)
    died = 0

    def before_step(step: int) -> None:
        nonlocal died
        if step == died:
            died += 1
            raise Killed

    room.bench.before_step = before_step
    ended: Retry | None = RETRY
    while ended is not None:
        try:
            ended = room.worker().run(TENANT, job_id, 0)
        except Killed:
            continue

    assert died == STEPS
    assert room.job(job_id).status is JobStatus.SUCCEEDED
    assert room.found(job_id) == room.found(undisturbed)


def test_another_worker_goes_on_from_the_checkpoint(room: Room) -> None:
    undisturbed, job_id = room.accept(), room.accept()
    room.finish(undisturbed)
    first, second = room.worker(), room.worker()
    first.run(TENANT, job_id, 0)
    second.run(TENANT, job_id, 0)  # restores
    first.run(TENANT, job_id, 0)  # what it has in memory is not the newest any more
    room.finish(job_id, second)

    assert room.found(job_id) == room.found(undisturbed)


WRITES = 5
"""Of an evaluation that is one slice: checkpoint, record; record with the verdict, item, result."""


def test_an_evaluation_that_is_one_slice_writes_so_often(room: Room, storage: FolderStorage) -> None:
    job_id = room.accept()
    with dying_storage(storage, WRITES):
        assert room.worker(slice_s=10).run(TENANT, job_id, 0) is None


@pytest.mark.parametrize("writes", range(WRITES))
def test_an_evaluation_killed_while_it_is_stored_has_its_verdict_in_the_end(
    room: Room, storage: FolderStorage, writes: int
) -> None:
    job_id = room.accept()
    with dying_storage(storage, writes), pytest.raises(Killed):
        room.worker(slice_s=10).run(TENANT, job_id, 0)

    assert room.finish(job_id).status is JobStatus.SUCCEEDED
    assert room.found(job_id)
    assert list(storage.list(keys.checkpoints_prefix(TENANT, job_id))) == []


@pytest.mark.parametrize("writes", range(WRITES))
def test_an_evaluation_canceled_after_its_worker_died_has_a_verdict_if_it_succeeded_and_else_none(
    room: Room, storage: FolderStorage, writes: int
) -> None:
    job_id = room.accept()
    with dying_storage(storage, writes), pytest.raises(Killed):
        room.worker(slice_s=10).run(TENANT, job_id, 0)
    room.jobs.cancel(TENANT, job_id)
    job = room.finish(job_id)

    item_was_stored = writes == WRITES - 1
    assert job.status is (JobStatus.SUCCEEDED if item_was_stored else JobStatus.CANCELED)
    assert job.evaluation is not None
    assert (job.evaluation.result is not None) is item_was_stored
    assert list(storage.list(keys.checkpoints_prefix(TENANT, job_id))) == []
    room.jobs.forget(TENANT, job_id)
    assert room.job(job_id).evaluation == job.evaluation


def test_a_cancel_is_seen_at_the_next_step(room: Room) -> None:
    job_id = room.accept()
    steps = []

    def before_step(step: int) -> None:
        steps.append(step)
        if step == 3:
            room.jobs.cancel(TENANT, job_id)

    room.bench = Bench(step_s=0.03, before_step=before_step)
    assert room.worker(slice_s=10).run(TENANT, job_id, 0) is None

    assert steps[-1] == 3
    job = room.job(job_id)
    assert job.status is JobStatus.CANCELED
    assert job.evaluation is not None
    assert job.evaluation.result is None


def test_a_stop_is_heard_between_photos_of_the_hold_out_that_are_read(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = room.accept()
    read = at_first("held", room.storage, monkeypatch, lambda: setattr(room, "stopping", True))
    assert room.worker().run(TENANT, job_id, 0) is RETRY
    assert len(read) == 1

    room.stopping = False
    assert room.finish(job_id).status is JobStatus.SUCCEEDED


def test_a_stopping_worker_keeps_what_was_done(room: Room) -> None:
    undisturbed, job_id = room.accept(), room.accept()
    room.finish(undisturbed)

    def before_step(step: int) -> None:
        room.stopping = step == 4

    room.bench.before_step = before_step
    assert room.worker(slice_s=10).run(TENANT, job_id, 0) is RETRY
    kept = room.jobs.evaluation(TENANT, job_id)
    assert kept is not None
    assert kept.state.step == 5

    room.stopping = False
    room.finish(job_id)
    assert room.found(job_id) == room.found(undisturbed)


def test_what_cannot_be_judged_fails_with_the_reason(room: Room) -> None:
    job = room.finish(room.accept(count=13))

    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert job.error.code == "cannot-be-evaluated"
    assert "ask for more" in job.error.detail
    assert job.evaluation is not None
    assert job.evaluation.result is None


def test_a_type_that_is_gone_fails_with_the_remedy(room: Room) -> None:
    job_id = room.accept()
    Registry(room.storage).delete(TENANT, "pitting", 1)
    job = room.finish(job_id)

    assert job.error is not None
    assert job.error.code == "cannot-be-evaluated"
    assert "teach it again" in job.error.detail


def test_an_evaluation_that_always_fails_at_one_place_is_given_up(room: Room) -> None:
    def before_step(step: int) -> None:
        if step == 3:
            raise RuntimeError("no such number")

    room.bench.before_step = before_step
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
    assert job.error.code == "evaluation-failed"
    assert "no such number" in job.error.detail


def test_a_worker_that_knows_no_evaluations_says_so(room: Room) -> None:
    job_id = room.accept()
    worker = Shards(room.jobs, room.storage, FakeModels().as_models(), lambda: False, lambda: None)

    assert worker.run(TENANT, job_id, 0) is None
    error = room.job(job_id).error
    assert error is not None
    assert (error.code, error.detail) == (
        "evaluation-failed",
        "this worker knows no evaluations; start one that does",
    )


def test_a_broken_checkpoint_gives_way_to_the_one_before(room: Room, storage: FolderStorage) -> None:
    undisturbed, job_id = room.accept(), room.accept()
    room.finish(undisturbed)
    worker = room.worker()
    for _ in range(4):
        worker.run(TENANT, job_id, 0)
    kept = room.jobs.evaluation(TENANT, job_id)
    assert kept is not None
    newest = kept.checkpoints[0]
    storage.put(keys.checkpoint(TENANT, job_id, newest.number, newest.sha256), b"broken")
    room.finish(job_id)

    assert room.found(job_id) == room.found(undisturbed)


def test_trainings_and_evaluations_share_the_memory_of_a_worker(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices_module, "_LEAST_PATIENCE_S", 60.0)
    taught = accept_training(room.jobs, training("burr")).id
    first, second = room.accept(), room.accept()
    worker = room.worker()
    for _ in range(3):
        for job_id in (taught, first, second):
            assert worker.run(TENANT, job_id, 0) is RETRY_LAST

    assert room.jobs.training(TENANT, taught) is not None
    assert room.jobs.evaluation(TENANT, first) is not None
    assert room.jobs.evaluation(TENANT, second) is None
    for _ in range(2 * STEPS):
        for job_id in (taught, first, second):
            worker.run(TENANT, job_id, 0)
    assert [room.job(job_id).status for job_id in (taught, first, second)] == 3 * [JobStatus.SUCCEEDED]


def test_an_evaluation_makes_room_for_other_work(room: Room) -> None:
    evaluated, drawn = room.accept(), accept(room.jobs, request(1)).id
    worker = room.worker()

    assert worker.run(TENANT, evaluated, 0) is RETRY_LAST
    assert worker.run(TENANT, drawn, 0) is None
    assert room.job(drawn).status is JobStatus.SUCCEEDED
    assert room.finish(evaluated, worker).status is JobStatus.SUCCEEDED


def test_its_type_is_in_use_until_it_ends(room: Room) -> None:
    job_id = room.accept()

    assert room.jobs.using(TENANT, "pitting") == {1: job_id}
    assert room.jobs.using(TENANT, "scratch") == {}
    room.finish(job_id)
    assert room.jobs.using(TENANT, "pitting") == {}


def test_what_redis_has_forgotten_is_taken_up_from_the_checkpoint(
    room: Room, storage: FolderStorage, settings: WorkerSettings
) -> None:
    undisturbed, job_id = room.accept(), room.accept()
    room.finish(undisturbed)
    for _ in range(3):
        room.worker().run(TENANT, job_id, 0)
    redis = room.jobs._redis
    redis.flushall()
    state = room.job(job_id).evaluation
    assert state is not None
    assert state.step == 3

    Mender(redis, storage, settings, grace_s=0, orphan_age_s=0).rebuild()
    job = room.job(job_id)
    assert job.queue_position == 0
    assert job.evaluation == state
    room.finish(job_id)
    assert room.found(job_id) == room.found(undisturbed)


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


def test_a_deleted_job_leaves_nothing(room: Room, storage: FolderStorage) -> None:
    job_id = room.accept()
    room.finish(job_id)

    assert room.jobs.delete(TENANT, job_id)
    assert list(storage.list(keys.job_prefix(TENANT, job_id))) == []
