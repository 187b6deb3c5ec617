"""Faults of whole processes and of what they stand on: zombies, double deliveries, storage that fails at work."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from bench.chaos.load import files
from flawsmith.contract.jobs import JobStatus
from service.store import keys
from service.store.mending import Mender
from service.store.queue import QUEUE_NAME
from service.store.settings import StoreSettings
from tests.faulty import Fault, running_faulty
from tests.servers import HOST, S3Server, Valkey, free_ports
from tests.worker.houses import PROMPTLY_S, SLOW_STEPS, House, check_result, running_house
from tests.worker.tiny_worker import TENANT, TYPE, finished, request, running_module, until

pytestmark = pytest.mark.slow

AGAIN_S = 90.0
"""A killed worker's job must run again within this time, at the settings that are delivered."""


@pytest.fixture(scope="module")
def lasting_house(tmp_path_factory: pytest.TempPathFactory, backbone_folder: Path) -> Iterator[House]:
    """Storage in a folder; a worker takes long to start, so the workers stay from test to test."""
    folder = tmp_path_factory.mktemp("house")
    with running_house(folder, backbone_folder, 0) as house:
        yield house


@pytest.fixture
def house(lasting_house: House) -> House:
    """A house with two workers, all that is left of the tests before, and an empty log."""
    for _ in range(lasting_house.jobs.workers(), 2):
        lasting_house.start_worker()
    lasting_house.await_workers(2)
    os.truncate(lasting_house.log, 0)
    return lasting_house


def state_of(house: House, job_id: str) -> dict[str, tuple[str, int]]:
    """Every object of a job: digest of its bytes, and when it was written."""
    return {
        key: (
            hashlib.sha256(house.storage.get(key)).hexdigest(),
            Path(house.environment["FLAWSMITH_STORAGE_URL"].removeprefix("file://"), key).stat().st_mtime_ns,
        )
        for key in house.storage.list(keys.job_prefix(TENANT, job_id))
    }


def test_a_late_zombie_doubles_and_overwrites_nothing(house: House) -> None:
    """Stopped past its time to live, then woken when another has done its shard."""
    job_id = house.accept(request(3, steps=SLOW_STEPS, shard_size=3))
    house.await_items(job_id, 1)
    zombie = house.busy_pid()
    os.kill(zombie, signal.SIGSTOP)
    try:
        until(lambda: house.attempts(job_id) == 2, PROMPTLY_S)
        check_result(house, job_id, 3)
        before, job = state_of(house, job_id), house.job(job_id)
    finally:
        os.kill(zombie, signal.SIGCONT)
    until(lambda: house.idle_workers() == 2, PROMPTLY_S)
    assert state_of(house, job_id) == before
    assert house.job(job_id) == job
    assert house.jobs.queued_shards() == 0
    check_result(house, house.accept(request(4, shard_size=1)), 4)  # and it works on


def test_a_shard_delivered_twice_is_done_once(house: House) -> None:
    job_id = house.accept(request(3, steps=SLOW_STEPS, shard_size=3))
    house.await_items(job_id, 0)
    house.redis.rpush(f"rq:queue:{QUEUE_NAME}", f"{job_id}-0")
    check_result(house, job_id, 3)
    house.redis.rpush(f"rq:queue:{QUEUE_NAME}", f"{job_id}-0")
    before = state_of(house, job_id)
    until(lambda: house.jobs.queued_shards() == 0)
    check_result(house, house.accept(request(1)), 1)
    assert state_of(house, job_id) == before


def test_poison_in_the_queue_stops_no_worker(house: House) -> None:
    for entry in (b"\xff", b"job_nothing-0", bytes(1_000_000)):
        house.redis.rpush(f"rq:queue:{QUEUE_NAME}", entry)
    house.redis.zadd(f"rq:wip:{QUEUE_NAME}", {b"\xff:\xff": 1})
    check_result(house, house.accept(request(4, shard_size=1)), 4)
    until(lambda: house.redis.zcard(f"rq:wip:{QUEUE_NAME}") == 0, PROMPTLY_S)
    assert house.jobs.workers() == 2


def test_a_killed_workers_job_runs_again_in_time_at_the_settings_delivered(
    tmp_path: Path, valkey: Valkey, redis_url: str, backbone_folder: Path
) -> None:
    """From the kill to the end of an item by another worker."""
    storage = {"FLAWSMITH_STORAGE_URL": (tmp_path / "storage").as_uri()}
    house = House(tmp_path, valkey, storage, backbone_folder)
    for name in ("WORKER_TTL_S", "HEARTBEAT_INTERVAL_S", "MAINTENANCE_INTERVAL_S", "REDIS_TIMEOUT_S"):
        del house.environment[f"FLAWSMITH_{name}"]
    try:
        for _ in range(2):
            house.start_worker()
        house.await_workers(2)
        job_id = house.accept(request(2, steps=SLOW_STEPS, shard_size=2))
        house.await_items(job_id, 0)
        os.kill(house.busy_pid(), signal.SIGKILL)
        until(lambda: house.job(job_id).progress.done > 0, AGAIN_S)
        check_result(house, job_id, 2)
        assert house.attempts(job_id) == 2
    finally:
        house.close()


def test_storage_that_fails_at_work_delays_a_job_and_fails_none(
    tmp_path: Path, valkey: Valkey, redis_url: str, s3_server: S3Server, bucket: str, backbone_folder: Path
) -> None:
    """Refused, full, slow and cut in turn while items are stored; the attempts are not held against the shard."""
    impatient = {"FLAWSMITH_S3_MAX_ATTEMPTS": "1", "FLAWSMITH_S3_READ_TIMEOUT_S": "1"}
    with running_faulty(s3_server.endpoint_url) as proxy:
        direct = s3_server.environment(bucket)
        house = House(tmp_path, valkey, direct, backbone_folder)
        house.environment |= impatient | {"FLAWSMITH_S3_ENDPOINT_URL": proxy.url}
        try:
            house.start_worker()
            house.await_workers(1)
            job_id = house.accept(request(4, shard_size=4))
            faults = (
                Fault("refuse"),
                Fault("answer", status=507, code="InsufficientStorage", methods=("PUT",)),
                Fault("answer", status=503, code="SlowDown", probability=0.5),
                Fault("delay", seconds=1.5),
                Fault("cut", probability=0.7),
                Fault("swallow", methods=("PUT",)),
            )
            for fault in faults:
                proxy.set(fault)
                time.sleep(1.5)
            assert house.job(job_id).status in (JobStatus.QUEUED, JobStatus.RUNNING)
            proxy.heal()
            check_result(house, job_id, 4)
            assert proxy.faults
            assert house.jobs.begin_shard(TENANT, job_id, 0).final
        finally:
            house.close()


def test_a_folder_that_takes_nothing_delays_a_job_and_fails_none(house: House) -> None:
    """As on a full disk, nothing can be written: what is written first is a scratch file."""
    root = Path(house.environment["FLAWSMITH_STORAGE_URL"].removeprefix("file://"))
    job_id = house.accept(request(4, steps=SLOW_STEPS, shard_size=1))
    house.await_items(job_id, 0)
    (root / ".scratch").rename(root / ".away")
    until(lambda: house.log.read_text().count("goes back to the queue") >= 2)
    (root / ".away").rename(root / ".scratch")
    check_result(house, job_id, 4)


def test_an_api_killed_between_storage_and_queue_leaves_no_half_job(house: House) -> None:
    """Its client heard nothing; the job that is in storage is queued by the house worker, and finishes."""
    (port,) = free_ports(1)
    url = f"http://{HOST}:{port}"
    environment = house.environment | {"FLAWSMITH_PORT": str(port), "FLAWSMITH_REDIS_TIMEOUT_S": "20"}
    before = set(house.storage.list(f"{TENANT}/jobs/"))

    def new_requests() -> list[str]:
        keys_now = set(house.storage.list(f"{TENANT}/jobs/")) - before
        return [key for key in keys_now if key.endswith("/request.json")]

    def answers() -> bool:
        try:
            return httpx.get(f"{url}/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def send() -> None:
        image, mask = files()
        with suppress(httpx.TransportError):
            heard.append(
                httpx.post(
                    f"{url}/v1/augmentations",
                    data={"defect_type": TYPE, "count": "2", "steps": "4"},
                    files={"image": ("image.png", image), "mask": ("mask.png", mask)},
                    timeout=60,
                ).status_code
            )

    heard: list[int] = []
    sender = threading.Thread(target=send)
    with running_module("service", environment, house.log) as api:
        until(answers)
        house.redis.client_pause(20_000, all=False)  # writes alone
        try:
            sender.start()
            until(lambda: len(new_requests()) == 1)
            time.sleep(0.3)
            api.kill()
            sender.join()
        finally:
            house.redis.client_unpause()
    assert heard == []
    job_id = new_requests()[0].split("/")[2]
    if house.redis.exists(f"flawsmith:{TENANT}:job:{job_id}") == 0:
        assert house.jobs.queued_shards() == 0
    mender = Mender(house.redis, house.storage, StoreSettings(), grace_s=0, orphan_age_s=3600)
    mender.recover_recent(3600)
    check_result(house, job_id, 2)


@pytest.mark.parametrize("busy", [True, False], ids=["at work", "idle"])
def test_a_worker_asked_to_stop_ends_in_time_and_loses_nothing(house: House, busy: bool) -> None:
    if busy:
        job_id = house.accept(request(4, steps=SLOW_STEPS, shard_size=4))
        house.await_items(job_id, 1)
        stopped = house.busy_pid()
    else:
        stopped = int(house.redis.hget(next(iter(house.redis.smembers("rq:workers"))), "pid") or 0)
    os.kill(stopped, signal.SIGTERM)
    until(lambda: house.jobs.workers() == 1, PROMPTLY_S)
    if busy:
        job = finished(house.jobs, job_id)
        assert job.status is JobStatus.SUCCEEDED
        assert house.attempts(job_id) == 2
        check_result(house, job_id, 4)
    check_result(house, house.accept(request(2)), 2)
