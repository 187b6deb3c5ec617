"""Real worker processes, a real Valkey and real storage: what is killed, stopped or cut off loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from flawsmith.contract.jobs import ItemStatus, Job, JobStatus
from flawsmith.contract.manifests import RequestManifest
from service.images.decoding import read_canonical
from service.store import keys
from service.store.connection import connect_redis
from service.store.jobs import Jobs
from service.store.opening import open_storage
from service.store.registry import Registry
from service.store.settings import StoreSettings
from tests.servers import S3Server, Valkey, running_valkey
from tests.worker.tiny_worker import (
    TENANT,
    TYPE,
    accept,
    finished,
    photo,
    request,
    running_worker,
    until,
)

pytestmark = pytest.mark.slow

SLOW_STEPS = 60
"""An item of so many steps takes seconds, so that there is time to interfere."""
PROMPTLY_S = 10.0


class House:
    """A Valkey, a storage, and workers that come and go."""

    def __init__(self, folder: Path, valkey: Valkey, storage: dict[str, str], backbone: Path) -> None:
        self.valkey = valkey
        self.log = folder / "workers.log"
        self.environment = storage | {
            "FLAWSMITH_REDIS_URL": valkey.url,
            "FLAWSMITH_REDIS_TIMEOUT_S": "1",
            "FLAWSMITH_BACKBONE": str(backbone),
            "FLAWSMITH_DEVICE": "cpu",
            "FLAWSMITH_THREADS": "1",
            "FLAWSMITH_WORKER_TTL_S": "2",
            "FLAWSMITH_HEARTBEAT_INTERVAL_S": "0.4",
            "FLAWSMITH_MAINTENANCE_INTERVAL_S": "1",
            "OMP_NUM_THREADS": "1",
        }
        fields = {name.removeprefix("FLAWSMITH_").lower(): value for name, value in self.environment.items()}
        settings = StoreSettings.model_validate(fields)
        self.storage = open_storage(settings)
        self.redis = connect_redis(settings)
        self.jobs = Jobs(self.redis, self.storage, settings)
        self._running = ExitStack()

    def start_worker(self) -> subprocess.Popen[bytes]:
        """A worker process, which may not be ready yet."""
        return self._running.enter_context(running_worker(self.environment, self.log))

    def await_workers(self, count: int) -> None:
        until(lambda: self.jobs.workers() == count, 120)

    def accept(self, manifest: RequestManifest) -> str:
        return accept(self.jobs, manifest).id

    def job(self, job_id: str) -> Job:
        job = self.jobs.get(TENANT, job_id)
        assert job is not None
        return job

    def await_items(self, job_id: str, count: int) -> None:
        """Wait until so many items are done and the next is at work."""

        def at_work() -> bool:
            progress = self.job(job_id).progress
            return progress.done >= count and 0 < progress.step < 1

        until(at_work, 30)

    def attempts(self, job_id: str) -> int:
        """How often the job's first shard was begun."""
        count: Any = self.redis.hget(f"flawsmith:{TENANT}:job:{job_id}", "attempts:0")
        return int(count or 0)

    def busy_pid(self) -> int:
        """Process id of the worker that is at work."""
        for key in self.redis.smembers("rq:workers"):
            state, pid = cast("list[Any]", self.redis.hmget(key, ["state", "pid"]))
            if state == b"busy":
                return int(pid)
        raise AssertionError("no worker is at work")

    def close(self) -> None:
        self._running.close()
        self.redis.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, backbone_folder: Path) -> Iterator[House]:
    """A house with storage in a folder and two workers, of which tests kill one after the other."""
    folder = tmp_path_factory.mktemp("house")
    (folder / "valkey").mkdir()
    storage = {"FLAWSMITH_STORAGE_URL": (folder / "storage").as_uri()}
    with running_valkey(folder / "valkey") as valkey:
        house = House(folder, valkey, storage, backbone_folder)
        for _ in range(2):
            house.start_worker()
        house.await_workers(2)
        try:
            yield house
        finally:
            house.close()


def check_result(house: House, job_id: str, count: int) -> None:
    """A finished job has exactly its items, each with its files, and nothing outside the mask changed."""
    job = finished(house.jobs, job_id)
    assert job.status is JobStatus.SUCCEEDED
    assert job.counts.succeeded == job.progress.done == count
    assert [item.index for item in job.items] == list(range(count))
    manifest = house.jobs.manifest(TENANT, job_id)
    mask = read_canonical(house.storage.get(keys.job_mask(TENANT, job_id))).pixels > 0
    for item in job.items:
        image = read_canonical(house.storage.get(keys.item_image(TENANT, job_id, item.index, manifest.image)))
        assert image.info.pixels_sha256 == item.pixels_sha256
        assert np.array_equal(image.pixels[~mask], photo()[~mask])
        assert item.scores is not None
        assert item.scores.background_max_abs_diff == 0
    files = list(house.storage.list(f"{keys.job_prefix(TENANT, job_id)}items/"))
    assert len(files) == 4 * count


def pixels_of(house: House, job_id: str) -> list[str | None]:
    return [item.pixels_sha256 for item in finished(house.jobs, job_id).items]


def test_bundled_types_are_published(house: House) -> None:
    (record,) = Registry(house.storage).list(TENANT)
    assert (record.tenant, record.name, record.backbone) == ("builtin", TYPE, "tiny")


def test_jobs_are_drawn_and_the_same_request_gives_the_same_pixels(house: House) -> None:
    first, second = house.accept(request(5)), house.accept(request(3, shard_size=1))
    check_result(house, first, 5)
    check_result(house, second, 3)
    pixels = pixels_of(house, first)
    assert len(set(pixels)) == 5
    assert pixels_of(house, second) == pixels[:3]


def test_cancel_stops_within_a_step_and_keeps_what_is_finished(house: House) -> None:
    job_id = house.accept(request(8, steps=SLOW_STEPS, shard_size=8))
    house.await_items(job_id, 1)
    done = house.job(job_id).progress.done
    house.jobs.cancel(TENANT, job_id)
    start = time.monotonic()
    job = finished(house.jobs, job_id)
    assert time.monotonic() - start < 2
    assert job.status is JobStatus.CANCELED
    kept = [item for item in job.items if item.status is ItemStatus.SUCCEEDED]
    assert done <= len(kept) <= done + 1
    assert job.counts.canceled == 8 - len(kept)
    assert all(house.storage.exists(keys.item_mask(TENANT, job_id, item.index)) for item in kept)


def test_a_job_that_cannot_be_drawn_fails_and_others_go_on(house: House) -> None:
    impossible = request(2)
    impossible.augmentation.defect_type_version = 9
    house.accept(impossible)
    check_result(house, house.accept(request(1)), 1)
    job = finished(house.jobs, impossible.job_id)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert "failed 3 times" in job.error.detail
    assert f"{TYPE}@9 is not in the registry" in job.error.detail


def test_a_killed_worker_loses_nothing(house: House) -> None:
    """Another takes over within seconds, and there are exactly the items that there would have been."""
    job_id = house.accept(request(4, steps=SLOW_STEPS, shard_size=4))
    house.await_items(job_id, 1)
    os.kill(house.busy_pid(), signal.SIGKILL)
    until(lambda: house.attempts(job_id) == 2, PROMPTLY_S)
    check_result(house, job_id, 4)
    until(lambda: house.jobs.workers() == 1, PROMPTLY_S)
    assert house.log.read_text().count(f"shard 0 of {job_id} took") == 1
    undisturbed = house.accept(request(4, steps=SLOW_STEPS, shard_size=4))
    check_result(house, undisturbed, 4)
    assert pixels_of(house, job_id) == pixels_of(house, undisturbed)


def test_everything_killed_and_started_again(house: House) -> None:
    """One worker is left; it is killed at work, and Valkey with it; a queued job waits meanwhile."""
    begun = house.accept(request(3, steps=SLOW_STEPS, shard_size=3))
    house.await_items(begun, 1)
    waiting = house.accept(request(2))
    os.kill(house.busy_pid(), signal.SIGKILL)
    house.valkey.kill()
    house.valkey.start()
    house.start_worker()
    check_result(house, waiting, 2)
    check_result(house, begun, 3)


def test_a_worker_survives_an_outage_of_the_queue(house: House) -> None:
    """While it works, and while it waits; the item at work is not lost."""
    house.await_workers(1)
    job_id = house.accept(request(2, steps=SLOW_STEPS, shard_size=1))
    house.await_items(job_id, 0)
    house.valkey.kill()
    time.sleep(2)
    house.valkey.start()
    check_result(house, job_id, 2)
    house.valkey.kill()
    time.sleep(1)
    house.valkey.start()
    check_result(house, house.accept(request(1)), 1)
    assert house.log.read_text().count("is ready") == 3


def test_on_s3_a_worker_asked_to_stop_gives_its_shard_back(
    tmp_path: Path, valkey: Valkey, redis_url: str, s3_server: S3Server, bucket: str, backbone_folder: Path
) -> None:
    house = House(tmp_path, valkey, s3_server.environment(bucket), backbone_folder)
    try:
        worker = house.start_worker()
        check_result(house, house.accept(request(3)), 3)
        job_id = house.accept(request(4, steps=SLOW_STEPS, shard_size=4))
        house.await_items(job_id, 1)
        worker.terminate()
        assert worker.wait(PROMPTLY_S) == 0
        assert house.jobs.workers() == 0
        assert house.jobs.queued_shards() == 1
        state = house.jobs.begin_shard(TENANT, job_id, 0)
        assert (state.attempt, state.failures) == (2, 0)
        assert len(state.pending) < 4
    finally:
        house.close()
