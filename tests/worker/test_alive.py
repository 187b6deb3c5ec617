"""`python -m worker.alive` is what a container's health check asks."""

from __future__ import annotations

import socket

import pytest
from redis import Redis
from rq import worker_registration

from service.store import houses
from service.store.queue import shard_queue
from service.store.settings import StoreSettings
from tests.servers import HOST, free_ports
from worker.alive import compute_worker_lives_on, main
from worker.compute import ComputeWorker
from worker.settings import WorkerSettings


@pytest.fixture
def settings(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> StoreSettings:
    monkeypatch.setenv("FLAWSMITH_REDIS_URL", redis_url)
    return StoreSettings()


def test_a_compute_worker_lives_on_its_host_until_its_heartbeat_ends(
    redis: Redis, settings: StoreSettings
) -> None:
    host = socket.gethostname()
    assert not compute_worker_lives_on(redis, host)
    assert main([]) == 1
    worker = ComputeWorker(redis, WorkerSettings())
    worker.register_birth()  # type: ignore[no-untyped-call]
    assert compute_worker_lives_on(redis, host)
    assert not compute_worker_lives_on(redis, "another")
    assert main([]) == 0
    redis.delete(worker.key)
    assert worker_registration.get_keys(shard_queue(redis))  # type: ignore[no-untyped-call]
    assert not compute_worker_lives_on(redis, host)


def test_a_house_worker_lives_on_its_host_until_its_heartbeat_ends(redis: Redis, settings: StoreSettings) -> None:
    host = socket.gethostname()
    name = f"{host}-17-abcd"
    assert main(["house"]) == 1
    houses.beat(redis, name, 20)
    assert main(["house"]) == 0
    assert not houses.lives_on(redis, host[:-1])
    assert main([]) == 1
    redis.delete(*redis.keys("flawsmith:house:*"))
    assert main(["house"]) == 1


def test_a_queue_that_does_not_answer_is_said_and_is_no_life(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLAWSMITH_REDIS_URL", f"redis://{HOST}:{free_ports(1)[0]}/0")
    assert main([]) == 1
    assert "the queue does not answer" in capsys.readouterr().err


def test_another_kind_of_worker_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpu"]) == 2
    assert "compute, house" in capsys.readouterr().err
