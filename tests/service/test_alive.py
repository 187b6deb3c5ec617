"""`python -m service.alive` is what a container's health check asks."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from service import alive
from service.settings import ServiceSettings
from tests.servers import HOST, free_ports
from tests.service.serving import serving


def test_a_running_api_is_alive_though_queue_and_storage_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAWSMITH_STORAGE_URL", (tmp_path / "storage").as_uri())
    monkeypatch.setenv("FLAWSMITH_REDIS_URL", f"redis://{HOST}:{free_ports(1)[0]}/0")
    with serving(ServiceSettings()) as address:
        port = int(address.rpartition(":")[2])
        assert alive.answers(port)
    assert not alive.answers(port)


def test_a_port_that_says_nothing_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alive, "_PATIENCE_S", 0.2)
    with socket.create_server((HOST, 0)) as silent:
        assert not alive.answers(silent.getsockname()[1])
