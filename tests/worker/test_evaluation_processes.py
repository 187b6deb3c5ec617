"""Evaluations in real workers that die."""

from __future__ import annotations

import os
import signal

import pytest

from flawsmith.contract.evaluations import Evaluation
from flawsmith.contract.jobs import JobStatus
from tests.worker.test_training_processes import STEPS, TeachingHouse
from tests.worker.test_training_processes import house as house
from tests.worker.test_training_processes import lasting_house as lasting_house
from tests.worker.tiny_worker import accept_evaluation, evaluation, finished, until

pytestmark = pytest.mark.slow


@pytest.fixture
def taught(house: TeachingHouse) -> str:
    """A version that was taught by the same workers."""
    return house.version(house.train("pitting")).reference


def found(house: TeachingHouse, job_id: str) -> Evaluation:
    job = finished(house.jobs, job_id)
    assert job.status is JobStatus.SUCCEEDED, job.error
    assert job.evaluation is not None
    assert job.evaluation.result is not None
    return job.evaluation.result


def test_an_evaluation_killed_at_half_finds_what_an_undisturbed_one_does(
    house: TeachingHouse, taught: str
) -> None:
    undisturbed = accept_evaluation(house.jobs, evaluation(taught)).id
    found(house, undisturbed)
    job_id = accept_evaluation(house.jobs, evaluation(taught)).id

    def is_at_half() -> bool:
        state = house.job(job_id).evaluation
        return state is not None and state.step >= STEPS // 2

    until(is_at_half, 60)
    os.kill(house.busy_pid(), signal.SIGKILL)
    house.start_worker()

    assert found(house, job_id) == found(house, undisturbed)
    assert found(house, job_id).verdict == "helps"
