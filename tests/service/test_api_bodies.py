"""Limits of bodies, over real sockets: they hold while the body arrives, and memory does not grow with it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from flawsmith.contract import problems
from tests.servers import free_ports
from tests.service.conftest import Api
from tests.service.pictures import encoded, mask, part
from tests.service.test_api_refusals import assert_problem

ROOT = Path(__file__).parents[2]
MEGABYTE = 1_000_000


@contextmanager
def connection(address: str) -> Iterator[socket.socket]:
    url = urlsplit(address)
    with socket.create_connection((url.hostname, url.port), timeout=30) as opened:
        yield opened


def head(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def answered(opened: socket.socket) -> tuple[int, dict[str, object]]:
    """Status and problem that came back."""
    received = b""
    while not re.search(rb"\r\n\r\n.*\}", received, re.DOTALL):
        data = opened.recv(65536)
        assert data, received
        received += data
    start, _, body = received.partition(b"\r\n\r\n")
    return int(start.split()[1]), json.loads(body)


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/v1/uploads", "image/png"),
        ("/v1/uploads", "multipart/form-data; boundary=x"),
        ("/v1/augmentations", "multipart/form-data; boundary=x"),
        ("/v1/augmentations", "application/json"),
    ],
)
def test_a_body_that_says_it_is_too_large_is_refused_before_it_comes(
    api: Api, path: str, content_type: str
) -> None:
    before = api.traces()
    with connection(api.address) as opened:
        opened.sendall(head(path, f"Content-Type: {content_type}", "Content-Length: 10000000000"))
        status, problem = answered(opened)

    assert (status, problem["type"]) == (413, problems.BODY_TOO_LARGE.uri)
    assert api.traces() == before


@pytest.mark.parametrize(
    ("path", "content_type", "start", "filling", "limit"),
    [
        ("/v1/uploads", "image/png", b"", b"\0", 400_000),
        (
            "/v1/augmentations",
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n',
            b"\0",
            400_000,
        ),
        ("/v1/augmentations", "multipart/form-data; boundary=x", b"--x\r\nA: ", b"a", 10_000),
        ("/v1/augmentations", "application/json", b'{"part": "', b"a", MEGABYTE),
    ],
    ids=["raw", "a form's file", "a form's header", "JSON"],
)
def test_a_body_without_a_stated_length_is_cut_off_at_the_limit(
    api: Api, path: str, content_type: str, start: bytes, filling: bytes, limit: int
) -> None:
    before = api.traces()
    sent = 0
    with connection(api.address) as opened:
        opened.sendall(head(path, f"Content-Type: {content_type}", "Transfer-Encoding: chunked"))
        if start:
            opened.sendall(chunk(start))
        while sent < limit + 2 * MEGABYTE:
            opened.settimeout(30)
            opened.sendall(chunk(filling * 10_000))
            sent += 10_000
            opened.settimeout(0.001)
            try:
                if opened.recv(1, socket.MSG_PEEK):
                    break
            except TimeoutError:
                continue
        opened.settimeout(30)
        status, problem = answered(opened)

    assert status in (400, 413)
    assert str(problem["type"]).startswith("urn:flawsmith:problem:")
    assert sent < limit + 2 * MEGABYTE, "the answer came only at the end"
    assert api.traces() == before


def test_a_form_may_fill_its_limit_with_two_files_only(api: Api) -> None:
    padded = {name: encoded(image) for name, image in (("image", part()), ("mask", mask()))}
    padded = {name: data + bytes(400_000 - len(data)) for name, data in padded.items()}

    answer = api.client.post("/v1/augmentations", files=padded, data={"defect_type": "scratch"})

    assert answer.status_code != 413


def test_a_client_that_hangs_up_leaves_nothing(api: Api) -> None:
    before = api.traces()
    for path, content_type in (("/v1/uploads", "image/png"), ("/v1/augmentations", "application/json")):
        with connection(api.address) as opened:
            opened.sendall(head(path, f"Content-Type: {content_type}", "Content-Length: 1000") + b"{")

    assert api.client.get("/healthz").status_code == 200
    assert api.traces() == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="writes to a file that is always full")
def test_where_no_space_is_left_for_a_body_it_is_to_come_later(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.uploads.FIELD", "/dev/full")
    before = api.traces()

    answer = api.client.post("/v1/uploads", content=bytes(300_000), headers={"Content-Type": "image/png"})

    assert_problem(answer, problems.BUSY, None, "no space is left", "try again", "FLAWSMITH_SPOOL_DIR")
    assert answer.headers["retry-after"] == "5"
    assert api.traces() == before


@contextmanager
def service_process(environment: dict[str, str]) -> Iterator[tuple[str, int]]:
    """``python -m service``: its address and process id."""
    port = free_ports(1)[0]
    command = [sys.executable, "-m", "service"]
    with subprocess.Popen(
        command, env=os.environ | environment | {"FLAWSMITH_PORT": str(port)}, cwd=ROOT, stderr=subprocess.PIPE
    ) as process:
        address = f"http://127.0.0.1:{port}"
        try:
            for _ in range(300):
                assert process.poll() is None, process.stderr and process.stderr.read()
                try:
                    httpx.get(f"{address}/healthz")
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
            yield address, process.pid
        finally:
            process.terminate()


def test_what_a_killed_process_left_of_its_requests_is_gone_after_the_next_start(
    redis_url: str, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    environment = {
        "FLAWSMITH_REDIS_URL": redis_url,
        "FLAWSMITH_STORAGE_URL": (tmp_path / "storage").as_uri(),
        "FLAWSMITH_SPOOL_DIR": str(spool),
    }
    with service_process(environment) as (address, pid), connection(address) as opened:
        opened.sendall(
            head("/v1/uploads", "Content-Type: image/png", "Content-Length: 3000000") + bytes(2_000_000)
        )
        deadline = time.monotonic() + 60
        while not list(spool.glob("*/*")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
    assert list(spool.glob("*/*"))
    with service_process(environment):
        assert list(spool.iterdir()) == []


def peak_megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1000


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_hundred_megabytes_pass_through_without_growing_the_process(redis_url: str, tmp_path: Path) -> None:
    def body() -> Iterator[bytes]:
        yield b"\x89PNG\r\n\x1a\n"
        for _ in range(100):
            yield bytes(MEGABYTE)

    environment = {
        "FLAWSMITH_REDIS_URL": redis_url,
        "FLAWSMITH_STORAGE_URL": (tmp_path / "storage").as_uri(),
        "FLAWSMITH_SPOOL_DIR": str(tmp_path),
    }
    with service_process(environment) as (address, pid):
        httpx.post(f"{address}/v1/uploads", content=b"no image", headers={"Content-Type": "image/png"})
        before = peak_megabytes(pid)
        answer = httpx.post(
            f"{address}/v1/uploads", content=body(), headers={"Content-Type": "image/png"}, timeout=60
        )
        grown = peak_megabytes(pid) - before

    assert_problem(answer, problems.INVALID_IMAGE, "file")
    assert grown < 20
