"""Where ``python -m service`` listens, and when it does not start at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from flawsmith.contract.access import Scope
from service.listening import is_loopback, settled
from service.settings import ServiceSettings
from service.store.access import AccessRegistry
from service.store.opening import open_storage
from tests.flawsmith.running import ROOT
from tests.servers import free_ports
from tests.service.keyed import HASHER, SECRET, folder_settings

NOWHERE = "redis://127.0.0.1:1/0"


@contextmanager
def service(folder: Path, **settings: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """``python -m service`` while the block runs, and its log."""
    log = folder / "service.log"
    environment = os.environ | {
        "FLAWSMITH_STORAGE_URL": (folder / "storage").as_uri(),
        "FLAWSMITH_REDIS_URL": NOWHERE,
        **settings,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "service"], cwd=ROOT, env=environment, stdout=output, stderr=output
        )
    try:
        yield process, log
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def make_key(folder: Path) -> None:
    AccessRegistry(open_storage(folder_settings(NOWHERE, folder))).create(HASHER, "default", [Scope.READ])


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_loopback_addresses_are_known(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "", "no such host"])
def test_all_others_are_not(host: str) -> None:
    assert not is_loopback(host)


def test_without_keys_it_listens_on_the_loopback_address_and_says_so(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with service(tmp_path, FLAWSMITH_HOST="0.0.0.0", FLAWSMITH_PORT=str(port)) as (process, log):
        deadline = time.monotonic() + 120
        while "running on" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
        assert httpx.get(f"http://127.0.0.1:{port}/v1/defect-types").status_code == 200
    said = log.read_text()
    assert "listens on 127.0.0.1 only, and not on FLAWSMITH_HOST=0.0.0.0" in said
    assert "flawsmith keys create" in said
    assert f"running on http://127.0.0.1:{port}" in said


def test_with_keys_but_without_their_secret_it_does_not_start(tmp_path: Path) -> None:
    make_key(tmp_path)
    with service(tmp_path) as (process, log):
        assert process.wait(60) == 1
    assert "FLAWSMITH_KEY_SECRET is not set" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_with_keys_it_listens_where_it_is_told(tmp_path: Path) -> None:
    make_key(tmp_path)
    settings = folder_settings(NOWHERE, tmp_path, host="0.0.0.0")
    assert settled(settings) == settings


@pytest.mark.parametrize(
    ("host", "instead"), [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("127.0.0.2", "127.0.0.2")]
)
def test_without_keys_the_loopback_address_of_the_family_is_used(tmp_path: Path, host: str, instead: str) -> None:
    assert settled(folder_settings(NOWHERE, tmp_path, host=host)).host == instead


def test_while_storage_does_not_say_it_listens_where_it_is_told_and_everyone_needs_a_key() -> None:
    settings = ServiceSettings(
        host="0.0.0.0",
        key_secret=SECRET,
        storage_url="s3://bucket",
        s3_endpoint_url=f"http://127.0.0.1:{free_ports(1)[0]}",
        s3_access_key_id="id",
        s3_secret_access_key="secret",  # type: ignore[arg-type]
    )
    assert settled(settings).host == "0.0.0.0"
