"""Clients that are slow, endless or malformed, over raw sockets: each is told so, and none is held for ever."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import urlsplit

import httpx
import pytest

from flawsmith.contract import problems
from flawsmith.contract.ids import new_job_id
from flawsmith.contract.problems import ProblemType
from service.connections import MAX_HEADER_BYTES, WAITING_ROOM
from service.settings import ServiceSettings
from service.store import keys
from service.store.opening import open_storage
from tests.servers import Valkey, database_of
from tests.service.serving import serving
from tests.service.test_api_jobs import manifest

PATIENCE_S = 0.5
CONNECTIONS = 8


@pytest.fixture(scope="module")
def settings(valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> ServiceSettings:
    folder = tmp_path_factory.mktemp("connections")
    return ServiceSettings(
        redis_url=database_of(valkey.url, 3),
        storage_url=(folder / "storage").as_uri(),
        spool_dir=folder,
        header_timeout_s=PATIENCE_S,
        body_timeout_s=PATIENCE_S,
        max_connections=CONNECTIONS,
    )


@pytest.fixture(scope="module")
def address(settings: ServiceSettings) -> Iterator[str]:
    with serving(settings) as address:
        yield address


@contextmanager
def connection(address: str) -> Iterator[socket.socket]:
    url = urlsplit(address)
    with socket.create_connection((url.hostname, url.port), timeout=10) as opened:
        yield opened


def head(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


def _read_until_closed(opened: socket.socket) -> bytes:
    received = b""
    try:
        while data := opened.recv(65536):
            received += data
    except OSError:
        pass
    return received


def read_to_end(opened: socket.socket) -> bytes:
    """All that comes until the server closes."""
    received = bytearray()
    while data := opened.recv(65536):
        received += data
    return bytes(received)


def check_health(opened: socket.socket) -> None:
    """One request on a connection that stays open."""
    opened.sendall(head("GET", "/healthz"))
    received = b""
    while b'"ok"' not in received:
        data = opened.recv(65536)
        assert data, received
        received += data


def drip(opened: socket.socket, data: bytes, pause_s: float = 0.1) -> bytes:
    """Send byte by byte until something comes back or the server closes, and give what came."""
    for byte in data:
        try:
            opened.sendall(bytes([byte]))
        except OSError:
            break
        opened.settimeout(pause_s)
        try:
            opened.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            continue
        break
    opened.settimeout(10)
    return read_to_end(opened)


def assert_refused(received: bytes, kind: ProblemType, *words: str) -> None:
    """That ``received`` is this problem and nothing after it, and says that the connection closes."""
    head, _, body = received.partition(b"\r\n\r\n")
    assert int(head.split()[1]) == kind.status, received
    headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"connection"] == b"close"
    problem = json.loads(body)
    assert problem["type"] == kind.uri
    for word in words:
        assert word in problem["detail"]


def test_headers_that_drip_are_cut_off(address: str) -> None:
    began = time.monotonic()
    with connection(address) as opened:
        received = drip(opened, b"GET /healthz HTTP/1.1\r\n" + b"X: " + 1000 * b"x")

    assert_refused(received, problems.REQUEST_TIMEOUT, "headers")
    assert time.monotonic() - began < 5


def test_headers_that_go_on_after_they_were_cut_off_do_not_lose_the_answer(address: str) -> None:
    with connection(address) as opened:
        opened.sendall(b"GET /healthz HTTP/1.1\r\nX: x")
        opened.recv(1, socket.MSG_PEEK)
        for _ in range(3):
            opened.sendall(b"x")
            time.sleep(0.1)
        received = read_to_end(opened)

    assert_refused(received, problems.REQUEST_TIMEOUT, "headers")


def test_headers_that_drip_on_a_used_connection_are_cut_off(address: str) -> None:
    with connection(address) as opened:
        check_health(opened)
        received = drip(opened, b"GET /healthz HTTP/1.1\r\n" + b"X: " + 1000 * b"x")

    assert_refused(received, problems.REQUEST_TIMEOUT, "headers")


def test_a_connection_on_which_nothing_comes_is_closed(address: str) -> None:
    with connection(address) as opened:
        assert read_to_end(opened) == b""


def test_connections_are_kept_for_further_requests(address: str) -> None:
    with connection(address) as opened:
        for _ in range(4):
            check_health(opened)
            time.sleep(0.4 * PATIENCE_S)


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/v1/uploads", "image/png"),
        ("/v1/uploads", "multipart/form-data; boundary=x"),
        ("/v1/augmentations", "application/json"),
        ("/v1/augmentations", "multipart/form-data; boundary=x"),
    ],
)
def test_a_body_that_does_not_come_is_not_waited_for(address: str, path: str, content_type: str) -> None:
    with connection(address) as opened:
        opened.sendall(head("POST", path, f"Content-Type: {content_type}", "Content-Length: 1000") + b"--")
        received = read_to_end(opened)

    assert_refused(received, problems.REQUEST_TIMEOUT, "nothing of the body came")


def test_a_body_that_drips_is_cut_off(address: str) -> None:
    with connection(address) as opened:
        opened.sendall(head("POST", "/v1/uploads", "Content-Type: image/png", "Content-Length: 100000"))
        received = drip(opened, bytes(1000))

    assert_refused(received, problems.REQUEST_TIMEOUT, "slower than 1000 bytes a second")


def test_a_body_that_pauses_less_and_comes_faster_is_read(address: str) -> None:
    with connection(address) as opened:
        opened.sendall(head("POST", "/v1/uploads", "Content-Type: image/png", "Content-Length: 5000"))
        for _ in range(5):
            time.sleep(0.6 * PATIENCE_S)
            opened.sendall(bytes(1000))
        received = opened.recv(65536)

    assert b" 422 " in received.partition(b"\r\n")[0]


@pytest.mark.parametrize(
    "lines",
    [("Transfer-Encoding: chunked",), ("Content-Length: 100000000000",)],
    ids=["chunked", "with a length"],
)
@pytest.mark.parametrize("path", ["/v1/uploads", "/v1/nothing", "/healthz"])
def test_a_body_without_end_is_not_read_for_ever(address: str, path: str, lines: tuple[str, ...]) -> None:
    """After the answer the connection closes, whether the body was refused for its size or never wanted."""
    began = time.monotonic()
    block = b"%x\r\n%s\r\n" % (10_000, bytes(10_000)) if "chunked" in lines[0] else bytes(10_000)
    with connection(address) as opened:
        opened.sendall(head("POST", path, "Content-Type: image/png", *lines))
        answers: list[bytes] = []
        reader = threading.Thread(target=lambda: answers.append(_read_until_closed(opened)))
        reader.start()
        sent = 0
        try:
            while sent < 2_000_000_000 and time.monotonic() - began < 20:
                sent += opened.send(block)
        except OSError:
            pass
        opened.close()
        reader.join()

    assert time.monotonic() - began < 10
    status = int(answers[0].split()[1])
    assert status in (404, 405, 413)
    assert b"connection: close" in answers[0].lower()


def test_an_answer_that_nobody_takes_is_given_up(address: str, settings: ServiceSettings) -> None:
    job_id, size = new_job_id(), 64 << 20
    _put_job(settings, job_id, size)
    with connection(address) as opened:
        opened.sendall(head("GET", f"/v1/jobs/{job_id}/input"))
        time.sleep(4 * PATIENCE_S)
        received = _read_until_closed(opened)
    assert b" 200 " in received.partition(b"\r\n")[0]
    assert len(received) < size  # what was on its way when it was given up


def test_an_answer_that_is_taken_slowly_but_surely_arrives(address: str, settings: ServiceSettings) -> None:
    job_id, size = new_job_id(), 16 << 20
    _put_job(settings, job_id, size)
    received = 0
    with connection(address) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        opened.sendall(head("GET", f"/v1/jobs/{job_id}/input", "Connection: close"))
        began = time.monotonic()
        while data := opened.recv(65536):
            received += len(data)
            if time.monotonic() - began < 4 * PATIENCE_S:
                time.sleep(0.4 * PATIENCE_S)
    assert received > size


def test_connections_have_a_greatest_number(address: str) -> None:
    with ExitStack() as stack:
        held = [stack.enter_context(connection(address)) for _ in range(CONNECTIONS)]
        for opened in held:  # each is busy with a request whose body is still to come
            opened.sendall(head("POST", "/v1/uploads", "Content-Type: image/png", "Content-Length: 1000") + b"x")
        time.sleep(0.1)
        with connection(address) as guest:
            guest.sendall(head("GET", "/healthz"))
            received = read_to_end(guest)
    assert_refused(received, problems.BUSY, "too many connections")
    assert b"retry-after: 5" in received.lower()
    _wait_until_free(address)


def test_a_flood_of_connections_is_cut_off_at_once(address: str) -> None:
    with ExitStack() as stack:
        for _ in range(CONNECTIONS + WAITING_ROOM):
            stack.enter_context(connection(address))
        time.sleep(0.2)
        with connection(address) as guest:
            guest.settimeout(0.2)
            with suppress(ConnectionError):
                assert guest.recv(1) == b""
    _wait_until_free(address)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Evil: a\0b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Evil: a\rSet-Cookie: b\r\n\r\n",
        b"GET /healthz\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Odd : a\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"POST /v1/uploads HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
    ids=[
        "NUL in a header",
        "CR in a header",
        "NUL in the path",
        "blank in the path",
        "blank in a name",
        "two lengths",
        "negative length",
        "no host",
        "no chunk",
        "TLS",
    ],
)
def test_what_is_not_http_is_refused(address: str, request_bytes: bytes) -> None:
    with connection(address) as opened:
        opened.sendall(request_bytes)
        received = read_to_end(opened)

    assert_refused(received, problems.MALFORMED_REQUEST, "RFC 9112")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /" + 200_000 * b"a" + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /healthz?" + 200_000 * b"a" + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + 200_000 * b"a" + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + 20_000 * b"X: a\r\n" + b"\r\n",
    ],
    ids=["path", "query", "header", "many headers"],
)
def test_headers_without_end_are_refused(address: str, request_bytes: bytes) -> None:
    with connection(address) as opened:
        opened.sendall(request_bytes)
        received = read_to_end(opened)

    assert_refused(received, problems.HEADERS_TOO_LARGE, str(MAX_HEADER_BYTES))


@pytest.mark.parametrize(
    "target",
    [
        "/v1/jobs/%0d%0aSet-Cookie:%20a=b",
        "/v1/jobs?cursor=%0d%0aSet-Cookie:%20a=b",
        "/v1/jobs?%0d%0aSet-Cookie:%20a=b=c",
        "/v1/uploads/sha256:%0d%0aSet-Cookie:%20a=b",
        "/v1/defect-types/%0d%0aSet-Cookie:%20a=b",
    ],
)
def test_what_is_in_a_path_or_query_gets_into_no_header(address: str, target: str) -> None:
    answer = httpx.get(address + target)

    assert answer.status_code in (404, 422)
    assert "set-cookie" not in answer.headers
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "evil", ["..%2f..%2f..%2fetc%2fpasswd", "..%5c..", "%2e%2e", "....//", "%00", "~root", "*"]
)
@pytest.mark.parametrize(
    "path",
    [
        "/v1/jobs/{}",
        "/v1/jobs/{}/input",
        "/v1/jobs/{}/mask",
        "/v1/jobs/{}/archive",
        "/v1/jobs/{}/items/0/image",
        "/v1/jobs/job_00000000000000000000000000/items/{}/image",
        "/v1/jobs/job_00000000000000000000000000/items/0/{}",
        "/v1/uploads/{}",
        "/v1/uploads/sha256:{}",
        "/v1/defect-types/{}",
    ],
)
def test_paths_lead_nowhere_else(address: str, path: str, evil: str) -> None:
    with connection(address) as opened:  # no client library that would tidy the path up
        opened.sendall(head("GET", path.format(evil), "Connection: close"))
        received = read_to_end(opened)

    assert received.split()[1] == b"404"
    assert b"application/problem+json" in received


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 900_000,
        b'{"a":' * 150_000,
        b'{"metadata":' + b"[" * 400_000 + b"]" * 400_000 + b"}",
        b'{"seed":' + b"9" * 900_000 + b"}",
        b"[" + b"{}," * 300_000 + b"{}]",
        b'{"defect_type":"' + b"\\u0000" * 150_000 + b'"}',
    ],
    ids=["open brackets", "open objects", "deep metadata", "long number", "many objects", "long text"],
)
def test_huge_and_deep_json_is_refused(address: str, body: bytes) -> None:
    began = time.monotonic()
    answer = httpx.post(f"{address}/v1/augmentations", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code in (400, 422)
    assert re.match(r"urn:flawsmith:problem:(malformed-body|invalid-request)", answer.json()["type"])
    assert len(answer.content) < 2000
    assert time.monotonic() - began < 5


def _put_job(settings: ServiceSettings, job_id: str, size: int) -> None:
    """A job in storage whose input has ``size`` bytes."""
    storage = open_storage(settings)
    storage.put(keys.job_request("default", job_id), manifest(job_id).model_dump_json().encode())
    storage.put(keys.job_input("default", job_id), bytes(size))


def _wait_until_free(address: str) -> None:
    for _ in range(100):
        try:
            if httpx.get(f"{address}/healthz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    pytest.fail("the service stayed full")
