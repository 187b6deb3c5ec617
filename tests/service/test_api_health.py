"""``/healthz``, ``/readyz``, and what is answered while a part of the service is away."""

from __future__ import annotations

import asyncio
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis import Redis
from rq import SimpleWorker

import flawsmith
from flawsmith.contract import problems
from service.images.door import Admitted, Door
from service.images.errors import DoorBusyError, ImageError
from service.settings import ServiceSettings
from service.store.folder import FolderStorage
from service.store.identity import Identity
from service.store.queue import shard_queue
from service.store.registry import Registry
from tests.servers import free_ports
from tests.service.conftest import SCRATCH, Api
from tests.service.pictures import encoded, mask, part
from tests.service.serving import client_of, serving
from tests.service.test_api_augmentations import FILES
from tests.service.test_api_refusals import assert_problem


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield listener.getsockname()[1]


def test_the_process_is_alive(api: Api) -> None:
    assert api.client.get("/healthz").json() == {"status": "ok", "version": flawsmith.__version__}


def test_without_a_worker_the_service_is_ready_to_accept_and_says_that_none_lives(api: Api) -> None:
    answer = api.client.get("/readyz")

    assert answer.status_code == 200
    assert answer.json() == {
        "ready": True,
        "queue": "ok",
        "storage": "ok",
        "workers": 0,
        "house_workers": 0,
        "defect_types": 1,
    }
    accepted = api.client.post(
        "/v1/augmentations",
        files={"image": encoded(part()), "mask": encoded(mask())},
        data={"defect_type": "scratch"},
    )
    assert accepted.status_code == 202


def test_live_workers_are_told(api: Api) -> None:
    worker = SimpleWorker([shard_queue(api.redis)], connection=api.redis)
    worker.register_birth()

    answer = api.client.get("/readyz")

    assert answer.status_code == 200
    assert answer.json() == {
        "ready": True,
        "queue": "ok",
        "storage": "ok",
        "workers": 1,
        "house_workers": 0,
        "defect_types": 1,
    }
    worker.register_death()
    assert api.client.get("/readyz").json()["workers"] == 0


def test_without_a_defect_type_the_service_is_not_ready(redis_url: str, tmp_path: Path) -> None:
    settings = ServiceSettings(redis_url=redis_url, storage_url=(tmp_path / "empty").as_uri())
    with serving(settings) as address, client_of(address) as client:
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["defect_types"]) == (503, 0)


@pytest.mark.parametrize("silent", [True, False], ids=["silent", "closed"])
def test_health_answers_soon_while_queue_and_storage_are_away(silent: bool, silent_port: int) -> None:
    port = silent_port if silent else free_ports(1)[0]
    settings = ServiceSettings(
        redis_url=f"redis://127.0.0.1:{port}/0",
        redis_timeout_s=20,
        storage_url="s3://bucket",
        s3_endpoint_url=f"http://127.0.0.1:{port}",
        s3_access_key_id="id",
        s3_secret_access_key="secret",
        s3_connect_timeout_s=20,
        s3_read_timeout_s=20,
        s3_max_attempts=1,
    )
    with serving(settings) as address, client_of(address) as client:
        for _ in range(6):  # more than there are threads for probes
            start = time.monotonic()
            answer = client.get("/readyz")
            assert time.monotonic() - start < 15  # a busy machine is slow, a silent storage slower
            assert answer.status_code == 503
            assert (answer.json()["queue"], answer.json()["storage"]) == ("unreachable", "unreachable")
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("settings", ["folder"], indirect=True)
def test_without_the_queue_nothing_is_accepted_and_nothing_stored(api: Api) -> None:
    away = api.settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_ports(1)[0]}/0"})
    before = api.traces()
    with serving(away) as address, client_of(address) as client:
        files = {"image": encoded(part()), "mask": encoded(mask())}
        refused = client.post("/v1/augmentations", files=files, data={"defect_type": "scratch"})
        listed = client.get("/v1/jobs")

    for answer in (refused, listed):
        assert_problem(answer, problems.UNAVAILABLE, None, "queue", "try again")
        assert int(answer.headers["retry-after"]) > 0
    assert api.traces() == before


@pytest.mark.parametrize(("setting", "value", "well"), [("min-replicas-to-write", 1, 0), ("maxmemory", 1, 0)])
def test_a_queue_that_takes_no_writes_is_not_ready_and_asks_to_come_back(
    api: Api, setting: str, value: int, well: int
) -> None:
    api.redis.config_set(setting, value)
    try:
        answer = api.client.post("/v1/augmentations", files=FILES, data={"defect_type": "scratch"})
        ready = api.client.get("/readyz")
    finally:
        api.redis.config_set(setting, well)
    assert_problem(answer, problems.UNAVAILABLE, None)
    assert int(answer.headers["retry-after"]) > 0
    assert (ready.status_code, ready.json()["queue"], ready.json()["storage"]) == (503, "unreachable", "ok")
    assert api.client.get("/readyz").status_code == 200


def test_without_the_storage_nothing_is_accepted(redis_url: str) -> None:
    settings = ServiceSettings(
        redis_url=redis_url,
        storage_url="s3://bucket",
        s3_endpoint_url=f"http://127.0.0.1:{free_ports(1)[0]}",
        s3_access_key_id="id",
        s3_secret_access_key="secret",
        s3_max_attempts=1,
    )
    with serving(settings) as address, client_of(address) as client:
        answer = client.post("/v1/uploads", files={"file": encoded(part())})

    assert_problem(answer, problems.UNAVAILABLE, None, "storage", "try again")
    assert int(answer.headers["retry-after"]) > 0


def test_in_a_storage_that_is_not_the_queues_nothing_is_accepted_or_missed(
    redis: Redis, redis_url: str, tmp_path: Path
) -> None:
    """Its disk is mounted after the API has started."""
    disk, root = tmp_path / "disk", tmp_path / "storage"
    storage = FolderStorage(disk)
    Registry(storage).publish(SCRATCH)
    Identity(redis, storage).confirm()
    settings = ServiceSettings(redis_url=redis_url, storage_url=root.as_uri())
    with serving(settings) as address, client_of(address) as client:
        ready = client.get("/readyz")
        sent = client.post("/v1/uploads", files={"file": encoded(part())})
        asked = client.get(f"/v1/jobs/job_{26 * '0'}")
        shutil.rmtree(root)
        disk.rename(root)
        again = client.post("/v1/uploads", files={"file": encoded(part())})
        ready_again = client.get("/readyz")

    assert (ready.status_code, ready.json()["storage"], ready.json()["queue"]) == (503, "another", "ok")
    for answer in (sent, asked):
        assert_problem(answer, problems.UNAVAILABLE, None, "storage", "not mounted", "/readyz")
        assert int(answer.headers["retry-after"]) > 0
    assert again.status_code == 201
    assert (ready_again.status_code, ready_again.json()["storage"]) == (200, "ok")


@pytest.mark.parametrize("settings", ["folder"], indirect=True)
def test_too_many_images_at_once_are_asked_to_come_back(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()

    async def slow(door: Door, image: Path) -> Admitted:
        begun.set()
        await asyncio.sleep(1.5)
        raise ImageError("too slow; send another")

    monkeypatch.setattr(Door, "admit", slow)
    crowded = api.settings.model_copy(update={"decode_processes": 1, "decode_timeout_s": 0.2})
    with serving(crowded) as address, client_of(address) as client, ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, "/v1/uploads", files={"file": encoded(part(33, 33))})
        begun.wait()
        second = client.post("/v1/uploads", files={"file": encoded(part(34, 34))})
        alive = client.get("/healthz")

        assert not first.done(), "the others were kept waiting"
        assert first.result().status_code == 422
    assert_problem(second, problems.BUSY, None, "try again")
    assert int(second.headers["retry-after"]) > 0
    assert alive.status_code == 200


@pytest.mark.parametrize("settings", ["folder"], indirect=True)
def test_a_door_without_room_is_busy(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(door: Door, image: Path) -> Admitted:
        raise DoorBusyError(2)

    monkeypatch.setattr(Door, "admit", full)

    answer = api.client.post("/v1/uploads", files={"file": encoded(part(35, 35))})

    assert_problem(answer, problems.BUSY, None, "try again")


@pytest.mark.parametrize("settings", ["folder"], indirect=True)
def test_a_fault_of_the_service_is_a_problem_that_tells_nothing_of_its_inside(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(registry: Registry, tenant: str) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(Registry, "list", broken)

    answer = api.client.get("/v1/defect-types")

    assert_problem(answer, problems.INTERNAL, None, "fault of the service")
    assert "secret" not in answer.text
