"""What the models teach, by real workers on a tiny backbone."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from flawsmith.contract.jobs import JobStatus
from models.adapters import Adapter
from service.store import keys
from tests.servers import running_valkey
from tests.worker.houses import House, check_result
from tests.worker.tiny_worker import TENANT, accept_training, finished, request, training, until

pytestmark = pytest.mark.nightly

LONGEST_S = 280.0


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, backbone_folder: Path) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    (folder / "valkey").mkdir()
    environment = {"FLAWSMITH_STORAGE_URL": (folder / "storage").as_uri(), "FLAWSMITH_TRAINING_SLICE_S": "1"}
    with running_valkey(folder / "valkey") as valkey:
        house = House(folder, valkey, environment, backbone_folder)
        house.start_worker()
        house.await_workers(1)
        try:
            yield house
        finally:
            house.close()


def train(house: House) -> str:
    manifest = training()
    manifest.training.steps = 20
    return accept_training(house.jobs, manifest).id


def taught(house: House, job_id: str, version: int) -> Adapter:
    job = finished(house.jobs, job_id, LONGEST_S)
    assert job.status is JobStatus.SUCCEEDED, job.error
    assert job.training is not None
    assert job.training.defect_type == f"pitting@{version}"
    return Adapter.from_bytes(house.storage.get(keys.defect_type_adapter(TENANT, "pitting", version)))


def test_a_training_killed_while_it_learns_ends_with_the_same_weights(house: House) -> None:
    undisturbed = taught(house, train(house), 1)
    job_id = train(house)

    def learns() -> bool:
        kept = house.jobs.training(TENANT, job_id)
        return kept is not None and kept.state.phase == "learning" and bool(kept.state.losses)

    until(learns, 60)
    os.kill(house.busy_pid(), signal.SIGKILL)
    house.start_worker()
    killed = taught(house, job_id, 2)

    assert torch.equal(undisturbed.tokens, killed.tokens)
    assert undisturbed.weights.keys() == killed.weights.keys()
    for name, weight in undisturbed.weights.items():
        assert torch.equal(weight, killed.weights[name]), name
    assert undisturbed.card == killed.card


def test_an_augmentation_draws_with_it(house: House) -> None:
    manifest = request(2)
    manifest.augmentation.defects[0].defect_type = "pitting"
    manifest.augmentation.defects[0].defect_type_tenant = TENANT
    check_result(house, house.accept(manifest), 2)
