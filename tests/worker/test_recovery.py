"""Redis loses what it was told: the house worker brings it back, and all that was accepted is finished, once."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flawsmith.contract.jobs import JobStatus
from service.store import records
from tests.servers import running_valkey
from tests.worker.houses import House, check_result
from tests.worker.tiny_worker import TENANT, finished, request, until

pytestmark = pytest.mark.slow

WATCHFUL = {
    "FLAWSMITH_WATCH_INTERVAL_S": "0.5",
    "FLAWSMITH_WATCH_GRACE_S": "1",
    "FLAWSMITH_ORPHAN_AGE_S": "1",
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, backbone_folder: Path) -> Iterator[House]:
    """A house worker, three compute workers, and a Valkey that syncs what it is told each second."""
    folder = tmp_path_factory.mktemp("recovery")
    (folder / "valkey").mkdir()
    storage = {"FLAWSMITH_STORAGE_URL": (folder / "storage").as_uri()}
    with running_valkey(folder / "valkey", appendfsync="everysec") as valkey:
        house = House(folder, valkey, storage, backbone_folder, WATCHFUL)
        house.start_house_worker()
        for _ in range(3):
            house.start_worker()
        house.await_workers(3)
        until(lambda: bool(house.redis.exists("flawsmith:remembers")))
        try:
            yield house
        finally:
            house.close()


def await_running(house: House, job_ids: list[str]) -> None:
    until(lambda: all(house.job(job_id).status is JobStatus.RUNNING for job_id in job_ids), 60)


def nothing_is_left(house: House) -> bool:
    return house.jobs.queued_shards() == 0 and house.redis.scard(records.open_key(TENANT)) == 0


def test_an_emptied_redis_loses_no_job_that_is_queued_or_running(house: House) -> None:
    running = [house.accept(request(2, steps=60)) for _ in range(3)]
    await_running(house, running)
    queued = [house.accept(request(2)) for _ in range(20)]
    assert (
        sum(house.job(job_id).status is JobStatus.QUEUED for job_id in queued) >= 14
    )  # the others are companions
    house.redis.flushall()

    for job_id in running + queued:
        check_result(house, job_id, 2)
    until(lambda: nothing_is_left(house))
    listed = {job.id for job in house.jobs.page(TENANT, 100).jobs}
    assert listed >= {*running, *queued}


def test_an_append_only_file_without_its_end_loses_no_job(house: House) -> None:
    before = [house.accept(request(4, steps=30)) for _ in range(2)]
    await_running(house, before[:1])
    house.redis.execute_command("WAITAOF", 1, 0, 5000)
    synced = house.valkey.written()
    after = [house.accept(request(2)) for _ in range(4)]
    canceled = house.accept(request(2))
    house.jobs.cancel(TENANT, canceled)
    time.sleep(0.5)  # the workers go on, and nobody will remember
    house.valkey.kill()
    house.valkey.lose_after(synced)
    house.valkey.start()

    for job_id in before:
        check_result(house, job_id, 4)
    for job_id in after:
        check_result(house, job_id, 2)
    assert finished(house.jobs, canceled).status is JobStatus.CANCELED
    until(lambda: nothing_is_left(house))


def test_a_house_worker_stops_when_asked_and_another_takes_over(house: House) -> None:
    second = house.start_house_worker()
    names = house.redis.scard("flawsmith:houses")
    until(lambda: house.redis.scard("flawsmith:houses") > names or second.poll() is not None)
    second.send_signal(signal.SIGTERM)
    assert second.wait(20) == 0
    house.redis.flushall()
    until(lambda: bool(house.redis.exists("flawsmith:remembers")))
