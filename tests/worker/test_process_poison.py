"""An item that ends its worker's process, with real processes that a supervisor starts again."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from flawsmith.contract.jobs import ItemStatus, JobStatus
from tests.servers import Valkey
from tests.worker.houses import House
from tests.worker.tiny_worker import TENANT, request, running_module

pytestmark = pytest.mark.slow

PATIENCE_S = 120.0


@pytest.mark.parametrize(("by", "status"), [("kill", -signal.SIGKILL), ("device", 1)])
def test_an_item_that_ends_its_worker_fails_alone(
    tmp_path: Path, valkey: Valkey, redis_url: str, backbone_folder: Path, by: str, status: int
) -> None:
    """It ends one process with its neighbours and one alone; then all others are there."""
    storage = {"FLAWSMITH_STORAGE_URL": (tmp_path / "storage").as_uri()}
    dying = {"FLAWSMITH_SHARD_ATTEMPTS": "1", "DYING_ITEM": "1", "DYING_BY": by}
    house = House(tmp_path, valkey, storage, backbone_folder, dying)
    try:
        job_id = house.accept(request(3, shard_size=3))
        for _ in range(2):
            with running_module("tests.worker.dying_worker", house.environment, house.log) as worker:
                assert worker.wait(PATIENCE_S) == status
        with running_module("tests.worker.dying_worker", house.environment, house.log) as worker:
            house.await_final(job_id, PATIENCE_S)
            assert worker.poll() is None
        job = house.job(job_id)
        assert job.status is JobStatus.SUCCEEDED
        assert [item.status for item in job.items] == [
            ItemStatus.SUCCEEDED,
            ItemStatus.FAILED,
            ItemStatus.SUCCEEDED,
        ]
        error = job.items[1].error
        assert error is not None
        assert error.code == "worker-died"
        assert ("illegal memory access" in error.detail) is (by == "device")
        assert house.jobs.begin_shard(TENANT, job_id, 0).final
    finally:
        house.close()
