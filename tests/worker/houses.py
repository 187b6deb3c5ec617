"""Workers as processes, with a queue and a storage, and what tests ask about them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np

from flawsmith.contract.jobs import Job, JobStatus
from flawsmith.contract.manifests import AugmentationManifest
from service.images.decoding import read_canonical
from service.store import keys
from service.store.connection import connect_redis
from service.store.jobs import Jobs
from service.store.opening import open_storage
from service.store.settings import StoreSettings
from tests.servers import Valkey, running_valkey
from tests.worker.tiny_worker import TENANT, accept, finished, photo, running_module, running_worker, until

SLOW_STEPS = 60
"""An item of so many steps takes seconds, so that there is time to interfere."""
PROMPTLY_S = 10.0


class House:
    """A Valkey, a storage, and workers that come and go."""

    def __init__(
        self,
        folder: Path,
        valkey: Valkey,
        storage: dict[str, str],
        backbone: Path,
        settings: dict[str, str] | None = None,
    ) -> None:
        self.valkey = valkey
        self.log = folder / "workers.log"
        self.environment = (
            storage
            | {
                "FLAWSMITH_REDIS_URL": valkey.url,
                "FLAWSMITH_REDIS_TIMEOUT_S": "1",
                "FLAWSMITH_BACKBONE": str(backbone),
                "FLAWSMITH_DEVICE": "cpu",
                "FLAWSMITH_THREADS": "1",
                "FLAWSMITH_BATCH_SHAPE": "1",  # so that there is time to interfere between two items
                "FLAWSMITH_WORKER_TTL_S": "2",
                "FLAWSMITH_HEARTBEAT_INTERVAL_S": "0.4",
                "FLAWSMITH_MAINTENANCE_INTERVAL_S": "1",
                "OMP_NUM_THREADS": "1",
            }
            | (settings or {})
        )
        fields = {name.removeprefix("FLAWSMITH_").lower(): value for name, value in self.environment.items()}
        store = StoreSettings.model_validate(fields)
        self.storage = open_storage(store)
        self.redis = connect_redis(store)
        self.jobs = Jobs(self.redis, self.storage, store)
        self._running = ExitStack()

    def start_worker(self) -> subprocess.Popen[bytes]:
        """A worker process, which may not be ready yet."""
        return self._running.enter_context(running_worker(self.environment, self.log))

    def start_house_worker(self) -> subprocess.Popen[bytes]:
        """A house worker process, which may not be ready yet."""
        return self._running.enter_context(running_module("worker.house", self.environment, self.log))

    def await_workers(self, count: int) -> None:
        until(lambda: self.jobs.workers() == count, 120)

    def accept(self, manifest: AugmentationManifest) -> str:
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
        """Process id of the worker that is at work; between two shards none is."""
        found: list[int] = []

        def is_busy() -> bool:
            for key in self.redis.smembers("rq:workers"):
                state, pid = cast("list[Any]", self.redis.hmget(key, ["state", "pid"]))
                if state == b"busy":
                    found.append(int(pid))
            return bool(found)

        until(is_busy, 10)
        return found[0]

    def await_final(self, job_id: str, timeout_s: float) -> None:
        until(lambda: self.job(job_id).status.is_final, timeout_s)

    def idle_workers(self) -> int:
        """Workers that live and wait."""
        states = [self.redis.hget(key, "state") for key in self.redis.smembers("rq:workers")]
        return states.count(cast(Any, b"idle"))

    def close(self) -> None:
        self._running.close()
        self.redis.close()


@contextmanager
def running_house(
    folder: Path, backbone: Path, workers: int, settings: dict[str, str] | None = None
) -> Iterator[House]:
    """A house with storage in a folder while the block runs."""
    (folder / "valkey").mkdir()
    storage = {"FLAWSMITH_STORAGE_URL": (folder / "storage").as_uri()}
    with running_valkey(folder / "valkey") as valkey:
        house = House(folder, valkey, storage, backbone, settings)
        try:
            for _ in range(workers):
                house.start_worker()
            house.await_workers(workers)
            yield house
        finally:
            house.close()


def check_result(house: House, job_id: str, count: int) -> None:
    """A finished job has exactly its items, each with its files, and nothing outside the mask changed."""
    job = finished(house.jobs, job_id)
    assert job.status is JobStatus.SUCCEEDED
    assert job.counts.succeeded == job.progress.done == count, job
    assert [item.index for item in job.items] == list(range(count))
    manifest = house.jobs.manifest(TENANT, job_id)
    mask = read_canonical(house.storage.get(keys.job_mask(TENANT, job_id))).pixels > 0
    for item in job.items:
        image = read_canonical(house.storage.get(keys.item_image(TENANT, job_id, item, manifest.image)))
        assert image.info.pixels_sha256 == item.pixels_sha256
        assert np.array_equal(image.pixels[~mask], photo()[~mask])
        assert item.scores is not None
        assert item.scores.background_max_abs_diff == 0
    files = list(house.storage.list(f"{keys.job_prefix(TENANT, job_id)}items/"))
    assert len(files) == 4 * count


def pixels_of(house: House, job_id: str) -> list[str | None]:
    return [item.pixels_sha256 for item in finished(house.jobs, job_id).items]
