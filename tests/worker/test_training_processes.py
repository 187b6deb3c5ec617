"""Trainings and augmentations side by side, in real workers that die."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flawsmith.contract.defect_types import DefectTypeRecord
from flawsmith.contract.jobs import JobStatus
from service.store.registry import Registry
from tests.servers import running_valkey
from tests.worker.houses import PROMPTLY_S, House, check_result
from tests.worker.tiny_worker import (
    TENANT,
    accept_training,
    finished,
    request,
    running_module,
    training,
    until,
)

pytestmark = pytest.mark.slow

STEPS = 40
STEP_S = 0.1
SLICE_S = 0.8
ITEM_S = 2.0
"""More than an item takes, and what is around it, on a busy machine."""


class TeachingHouse(House):
    """A house whose workers teach."""

    def start_worker(self) -> subprocess.Popen[bytes]:
        return self._running.enter_context(
            running_module("tests.worker.teaching_worker", self.environment, self.log)
        )

    def train(self, name: str, seed: int = 7) -> str:
        return accept_training(self.jobs, training(name, seed=seed)).id

    def await_step(self, job_id: str, step: int) -> None:
        def is_there() -> bool:
            state = self.job(job_id).training
            return state is not None and state.step >= step

        until(is_there, 60)

    def version(self, job_id: str) -> DefectTypeRecord:
        """The version that a training ended with."""
        job = finished(self.jobs, job_id)
        assert job.status is JobStatus.SUCCEEDED, job.error
        assert job.training is not None
        record = Registry(self.storage).made_by(TENANT, job_id)
        assert record is not None
        assert job.training.defect_type == record.reference
        return record


@pytest.fixture(scope="module")
def lasting_house(tmp_path_factory: pytest.TempPathFactory, backbone_folder: Path) -> Iterator[TeachingHouse]:
    folder = tmp_path_factory.mktemp("house")
    (folder / "valkey").mkdir()
    environment = {
        "FLAWSMITH_STORAGE_URL": (folder / "storage").as_uri(),
        "FLAWSMITH_TRAINING_SLICE_S": str(SLICE_S),
        "TEACHING_STEPS": str(STEPS),
        "TEACHING_STEP_S": str(STEP_S),
    }
    with running_valkey(folder / "valkey") as valkey:
        house = TeachingHouse(folder, valkey, environment, backbone_folder)
        try:
            yield house
        finally:
            house.close()


@pytest.fixture
def house(lasting_house: TeachingHouse) -> TeachingHouse:
    """A house with one worker."""
    if lasting_house.jobs.workers() == 0:
        lasting_house.start_worker()
    lasting_house.await_workers(1)
    return lasting_house


def test_two_trainings_and_ten_augmentations_at_once_all_end_right(house: TeachingHouse) -> None:
    trainings = [house.train("burr"), house.train("burr", seed=8)]
    house.await_step(trainings[1], 1)
    augmentations = [house.accept(request(2, shard_size=1)) for _ in range(10)]
    for job_id in augmentations:
        check_result(house, job_id, 2)
    between = [house.job(job_id).status for job_id in trainings]
    versions = [house.version(job_id) for job_id in trainings]

    assert between == 2 * [JobStatus.RUNNING], "augmentations have their turn between the slices"
    assert sorted(record.version for record in versions) == [1, 2]
    assert len({record.adapter_sha256 for record in versions}) == 2


def test_an_augmentation_waits_no_longer_than_a_slice(house: TeachingHouse) -> None:
    job_id = house.train("stain")
    for step in (1, 10, 20):
        house.await_step(job_id, step)
        job = finished(house.jobs, house.accept(request(1)))
        assert job.started_at is not None
        assert (job.started_at - job.created_at).total_seconds() < SLICE_S + STEP_S + ITEM_S / 4
        assert not house.job(job_id).status.is_final
    house.version(job_id)


def test_a_training_killed_at_half_ends_as_an_undisturbed_one(house: TeachingHouse) -> None:
    undisturbed = house.version(house.train("pitting"))
    job_id = house.train("pitting")
    house.await_step(job_id, STEPS // 2)
    os.kill(house.busy_pid(), signal.SIGKILL)
    house.start_worker()
    killed = house.version(job_id)

    assert (undisturbed.version, killed.version) == (1, 2)
    assert undisturbed.card == killed.card
    assert undisturbed.exemplars_sha256 == killed.exemplars_sha256


def test_a_canceled_training_ends_within_a_step_and_leaves_no_version(house: TeachingHouse) -> None:
    job_id = house.train("dent")
    house.await_step(job_id, 3)
    house.jobs.cancel(TENANT, job_id)
    house.await_final(job_id, STEP_S + PROMPTLY_S / 4)

    assert house.job(job_id).status is JobStatus.CANCELED
    assert Registry(house.storage).get(TENANT, "dent") is None


def test_a_worker_that_is_asked_to_stop_leaves_nothing_to_learn_again(house: TeachingHouse) -> None:
    job_id = house.train("chip")
    house.await_step(job_id, 5)
    os.kill(house.busy_pid(), signal.SIGTERM)
    until(lambda: house.jobs.workers() == 0, PROMPTLY_S)
    kept = house.jobs.training(TENANT, job_id)
    assert kept is not None
    assert kept.state == house.job(job_id).training
    house.start_worker()
    house.version(job_id)
