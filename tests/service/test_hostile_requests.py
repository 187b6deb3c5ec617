"""Requests that mean harm: refused with a problem, at little cost in memory, and nothing of them is left.

Each group has the API process to itself; its memory and that of its decoding processes are measured (Linux).
Slow and endless requests are elsewhere, as are damaged files and the refusals of ordinary mistakes.
"""

from __future__ import annotations

import gzip
import json
import re
import socket
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from PIL import Image
from redis import Redis

from flawsmith.contract.problems import PREFIX
from service.store.folder import FolderStorage
from service.store.registry import Registry
from tests.servers import Valkey, database_of
from tests.service.conftest import SCRATCH
from tests.service.images import files
from tests.service.pictures import bomb, encoded, mask, part
from tests.service.process import MemoryWatch, ServiceProcess, service_process

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
]

MEGABYTE = 1_000_000
OWN_BOUND = 32 * MEGABYTE
"""By how much the API process may grow while it refuses a group."""
DECODE_BUDGET = 300 * MEGABYTE
"""What its decoding processes may set aside together, in these tests."""
PROCESSES = 2
EACH_PROCESS = 100 * MEGABYTE
"""Of one decoding process before it asks for more: the interpreter, the codecs, the file."""
PATIENCE_S = 120.0
"""An answer must be there by then, on a computer however busy."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "spool").mkdir()
    Registry(FolderStorage(folder / "storage")).publish(SCRATCH)
    return folder


@pytest.fixture(scope="module")
def service(folder: Path, valkey: Valkey) -> Iterator[ServiceProcess]:
    """The API process, which has seen one good request of each kind, so that all its modules are loaded."""
    environment = {
        "FLAWSMITH_REDIS_URL": database_of(valkey.url, 4),
        "FLAWSMITH_STORAGE_URL": (folder / "storage").as_uri(),
        "FLAWSMITH_SPOOL_DIR": str(folder / "spool"),
        "FLAWSMITH_DECODE_MEMORY_BYTES": str(DECODE_BUDGET),
        "FLAWSMITH_DECODE_PROCESSES": str(PROCESSES),
        "FLAWSMITH_DECODE_TIMEOUT_S": "20",
        "FLAWSMITH_RATE_LIMIT": "off",
        "FLAWSMITH_CREATE_RATE_LIMIT": "off",
    }
    with service_process(environment, folder / "service.log") as running:
        sent = {"image": encoded(part()), "mask": encoded(mask())}
        for _ in range(3):
            answer = httpx.post(
                f"{running.address}/v1/augmentations",
                files=sent,
                data={"defect_type": "scratch", "dry_run": "true"},
                timeout=PATIENCE_S,
            )
            assert answer.status_code == 200
        yield running


@pytest.fixture
def cheap(service: ServiceProcess, folder: Path) -> Iterator[MemoryWatch]:
    """Watches a test, and holds it to what a hostile request may cost."""
    with MemoryWatch(service.pid) as watch:
        yield watch
    assert service.process.poll() is None, "the API died"
    assert watch.grown < OWN_BOUND, f"the API grew by {watch.grown / MEGABYTE:.0f} MB"
    assert watch.children < DECODE_BUDGET + PROCESSES * EACH_PROCESS
    for _ in range(100):  # a request whose client is gone may take a moment to end
        if not list((folder / "spool").iterdir()):
            break
        time.sleep(0.05)
    else:
        pytest.fail("a request left files behind")
    assert "Traceback" not in service.log.read_text(errors="replace")
    assert httpx.get(f"{service.address}/healthz", timeout=PATIENCE_S).status_code == 200


@pytest.fixture
def harmless(cheap: MemoryWatch, folder: Path, redis: Redis) -> Iterator[MemoryWatch]:
    """The same for requests of which storage and queue must know nothing."""
    before = sorted((folder / "storage").rglob("*"))
    yield cheap
    assert sorted((folder / "storage").rglob("*")) == before
    assert not [key for key in redis.scan_iter() if not key.startswith(b"flawsmith:metrics")]


def refused(answer: httpx.Response) -> None:
    """Assert that an answer is a problem, and the client's fault."""
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"].startswith(PREFIX)
    assert len(problem["detail"]) < 1000


# Images


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG with this header and these packed rows, whether or not they fit each other."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", rows), (b"IEND", b"")]
    return files.SIGNATURE + b"".join(files.chunk(*one) for one in chunks)


def zeros(megabytes: int) -> bytes:
    """So many megabytes of zeros, packed to a thousandth."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(MEGABYTE)) for _ in range(megabytes)) + packer.flush()


def text_bombs() -> bytes:
    """A small PNG between texts and a profile that would unpack to a gigabyte."""
    packed = zeros(100)
    texts = [(b"zTXt", b"Comment\0\0" + packed)] * 5
    international = [(b"iTXt", b"Comment\0\1\0\0\0" + packed)] * 4
    return png(64, 48, 8, 0, zlib.compress(bytes(65 * 48)), *texts, *international, (b"iCCP", b"x\0\0" + packed))


def deflated_tiff(unpacked: int) -> bytes:
    """An 8×8 TIFF whose only strip unpacks to so many megabytes."""
    packed = zeros(unpacked)
    data = bytearray(files.tiff(np.zeros((8, 8), np.uint8), compression="zlib", rowsperstrip=8))
    _set_tags(data, {273: len(data), 279: len(packed)})
    return bytes(data) + packed


def wide_tiff() -> bytes:
    """A TIFF that says it is 16,000×4,000 in one strip of a hundred bytes."""
    data = bytearray(files.tiff(np.zeros((8, 8, 3), np.uint16), photometric="rgb", rowsperstrip=4000))
    _set_tags(data, {256: 16_000, 257: 4_000})
    return bytes(data)


def many_pages() -> bytes:
    """A TIFF whose pages, each a small copy of the first, follow each other ninety thousand times."""
    count, pages = 3, bytearray(b"II*\0\x08\0\0\0")
    for page in range(90_000):
        after = len(pages) + 2 + 12 * count + 4
        pages += struct.pack("<H", count)
        for tag, value in ((254, int(page > 0)), (256, 8), (257, 8)):
            pages += struct.pack("<HHII", tag, 4, 1, value)
        pages += struct.pack("<I", after)
    return bytes(pages)


def _set_tags(data: bytearray, values: dict[int, int]) -> None:
    """Make tags of a little-endian TIFF's first page hold one 32-bit value each."""
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    for place in range(directory + 2, directory + 2 + 12 * count, 12):
        (tag,) = struct.unpack_from("<H", data, place)
        if tag in values:
            struct.pack_into("<HII", data, place + 2, 4, 1, values[tag])


def webp_in_a_small_frame() -> bytes:
    """A WebP whose frame says 8×8 around a picture of 16,000×4,000."""
    inner = encoded(Image.new("RGB", (16_000, 4_000)), "WEBP", lossless=True, quality=0, method=0)
    at = inner.index(b"VP8L")
    frame = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\7\0\0" * 2
    body = b"WEBP" + frame + inner[at:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def wide_jpeg() -> bytes:
    """A JPEG that says it is 16,000×4,000 over the data of a small one."""
    data = bytearray(encoded(part(), "JPEG"))
    struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, 4_000, 16_000)
    return bytes(data)


def run_length_bmp() -> bytes:
    """A BMP of 7,000×2,000 pixels in forty bytes of run lengths."""
    header = struct.pack("<IiiHHIIiiII", 40, 7_000, 2_000, 1, 8, 1, 40, 0, 0, 256, 0)
    offset = 14 + len(header) + 1024
    rows = b"\xff\1" * 19 + b"\0\1"
    return b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset) + header + bytes(1024) + rows


IMAGES = {
    "a PNG that says 100,000×100,000": bomb,
    "a PNG that says half a gigabyte": lambda: png(16_000, 4_000, 16, 6, zlib.compress(bytes(1000))),
    "a TIFF whose strip goes on for 200 MB": lambda: deflated_tiff(200),
    "a TIFF that says 16,000×4,000": wide_tiff,
    "a TIFF of ninety thousand pages": many_pages,
    "a WebP larger than its frame": webp_in_a_small_frame,
    "a JPEG that says 16,000×4,000": wide_jpeg,
    "a BMP of run lengths": run_length_bmp,
}


@pytest.mark.parametrize("name", IMAGES)
def test_image_bombs(service: ServiceProcess, harmless: MemoryWatch, name: str) -> None:
    data = IMAGES[name]()
    assert len(data) < 4 * MEGABYTE

    answer = httpx.post(f"{service.address}/v1/uploads", files={"file": data}, timeout=PATIENCE_S)
    refused(answer)
    for field in ("image", "mask"):
        answer = httpx.post(
            f"{service.address}/v1/augmentations",
            files={"image": encoded(part()), "mask": encoded(mask()), field: data},
            data={"defect_type": "scratch"},
            timeout=PATIENCE_S,
        )
        refused(answer)


@pytest.mark.parametrize(
    "make",
    [lambda: png(64, 48, 8, 0, zeros(200)), text_bombs],
    ids=["rows that go on for 200 MB", "texts of a gigabyte"],
)
def test_what_a_png_holds_beside_its_picture_is_never_unpacked(
    service: ServiceProcess, cheap: MemoryWatch, make: Callable[[], bytes]
) -> None:
    answer = httpx.post(f"{service.address}/v1/uploads", files={"file": make()}, timeout=PATIENCE_S)

    assert answer.status_code == 201
    assert answer.json()["image"]["has_icc_profile"] is False
    assert cheap.largest_child < EACH_PROCESS


# Bodies


def post(service: ServiceProcess, path: str, content: bytes | Iterator[bytes], kind: str) -> httpx.Response:
    return httpx.post(
        f"{service.address}{path}", content=content, headers={"Content-Type": kind}, timeout=PATIENCE_S
    )


def in_chunks(data: bytes) -> Iterator[bytes]:
    """A body without a stated length."""
    for start in range(0, len(data), 65536):
        yield data[start : start + 65536]


JSON = {
    "brackets, ten million deep": b"[" * 10_000_000,
    "brackets within the limit": b"[" * 999_000,
    "objects within the limit": b'{"a":' * 199_000,
    "objects as metadata": b'{"metadata":' + b'{"a":' * 190_000 + b"1" + b"}" * 190_001,
    "a number of a million digits": b'{"seed": ' + b"9" * 999_000 + b"}",
    "an exponent beyond all": b'{"severity": 1e' + b"9" * 999_000 + b"}",
    "a text of a million characters": b'{"part": "' + b"x" * 999_000 + b'"}',
    "escapes of a surrogate": b'{"part": "' + b"\\ud800" * 160_000 + b'"}',
    "a hundred thousand fields": json.dumps({f"{number:x}": 0 for number in range(85_000)}).encode(),
    "a field's name of a million characters": b'{"' + b"x" * 999_000 + b'": 0}',
    "half a million numbers": b'{"metadata": [' + b"0," * 490_000 + b"0]}",
    "spaces": b" " * 999_000,
    "NUL bytes": bytes(999_000),
    "broken UTF-8": b'{"part": "' + b"\xff" * 999_000 + b'"}',
}


@pytest.mark.parametrize("name", JSON)
def test_json_bombs(service: ServiceProcess, harmless: MemoryWatch, name: str) -> None:
    for body in (JSON[name], in_chunks(JSON[name])):
        try:
            refused(post(service, "/v1/augmentations", body, "application/json"))
        except httpx.WriteError:  # the answer came before the body was sent
            assert len(JSON[name]) > MEGABYTE


def test_a_json_bomb_of_many_values_is_refused_unread(service: ServiceProcess, harmless: MemoryWatch) -> None:
    body = b'{"metadata": [' + b"[]," * 2_000_000 + b"0]}"
    answer = post(service, "/v1/datasets", body, "application/json")
    refused(answer)
    assert answer.status_code == 413
    assert "more than 1,000,000 values" in answer.json()["detail"]


def test_values_are_refused_by_name_however_deep_they_nest(service: ServiceProcess) -> None:
    for depth in range(900, 1000):  # the parser's own limit lies among these
        nested = b"[" * depth + b"]" * depth
        refused(post(service, "/v1/augmentations", b'{"count": ' + nested + b"}", "application/json"))


def form_of(parts: list[bytes]) -> bytes:
    return b"".join(b"--x\r\n" + part + b"\r\n" for part in parts) + b"--x--\r\n"


def text(name: bytes, value: bytes = b"1", headers: bytes = b"") -> bytes:
    return b'Content-Disposition: form-data; name="' + name + b'"\r\n' + headers + b"\r\n" + value


FORMS = {
    "ten thousand parts": form_of([text(b"metadata", b"{}")] * 10_000),
    "ten thousand fields": form_of([text(b"%x" % number) for number in range(10_000)]),
    "ten thousand parts without a name": form_of([b"A: b\r\n\r\n"] * 10_000),
    "ten thousand headers": form_of([text(b"metadata", b"{}", b"A: b\r\n" * 10_000)]),
    "a header of a megabyte": form_of([text(b"metadata", b"{}", b"A: " + b"b" * MEGABYTE + b"\r\n")]),
    "a name of a megabyte": form_of([text(b"x" * 900_000)]),
    "a text of a megabyte": form_of([text(b"part", b"x" * 900_000)]),
    "metadata, thirty thousand deep": form_of([text(b"metadata", b'{"a":' * 13_000)]),
    "a seed of sixty thousand digits": form_of([text(b"seed", b"9" * 60_000)]),
    "a preamble of a megabyte": b"x" * 900_000 + form_of([text(b"metadata", b"{}")]),
    "boundaries only": b"--x\r\n" * 100_000,
    "dashes and line ends": b"\r\n--" * 200_000,
    "a name with line ends": form_of([text(b"part%0d%0aSet-Cookie: a=b")]),
    "a file's name that climbs": form_of(
        [b'Content-Disposition: form-data; name="../../image"; filename="../../../etc/passwd"\r\n\r\nx']
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_form_bombs(service: ServiceProcess, harmless: MemoryWatch, name: str) -> None:
    for path in ("/v1/augmentations", "/v1/uploads"):
        for body in (FORMS[name], in_chunks(FORMS[name])):
            try:
                refused(post(service, path, body, "multipart/form-data; boundary=x"))
            except httpx.WriteError:  # the answer came before the body was sent
                assert len(FORMS[name]) > 65536


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "x-gzip"])
def test_compressed_bodies_stay_packed(service: ServiceProcess, harmless: MemoryWatch, encoding: str) -> None:
    packed = gzip.compress(bytes(50 * MEGABYTE))
    for path, kind in (
        ("/v1/uploads", "image/png"),
        ("/v1/augmentations", "application/json"),
        ("/v1/augmentations", "multipart/form-data; boundary=x"),
    ):
        answer = httpx.post(
            f"{service.address}{path}",
            content=packed,
            headers={"Content-Type": kind, "Content-Encoding": encoding},
            timeout=PATIENCE_S,
        )
        refused(answer)
        assert answer.status_code == 415


# Heads


LIES = {
    "a negative length": [b"Content-Length: -1"],
    "a length of words": [b"Content-Length: many"],
    "a length of twenty digits": [b"Content-Length: " + b"9" * 20],
    "a length of five thousand digits": [b"Content-Length: " + b"9" * 5_000],
    "two lengths": [b"Content-Length: 5", b"Content-Length: 6"],
    "two lengths in one": [b"Content-Length: 5, 6"],
    "a length and chunks": [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
    "an unknown transfer": [b"Transfer-Encoding: gzip, chunked"],
    "chunks twice": [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
    "a chunk of no number": [b"Transfer-Encoding: chunked", b"", b"zz", b"{"],
    "ten thousand headers": [b"A: b"] * 10_000,
    "a header of a megabyte": [b"A: " + b"b" * MEGABYTE],
    "a header without a name": [b": b"],
    "a header with a bare line end": [b"A: b\rSet-Cookie: c=d"],
    "a header with a NUL": [b"A: b\0c"],
    "a folded header": [b"A: b", b" c"],
}


@pytest.mark.parametrize("name", LIES)
def test_heads_that_lie(service: ServiceProcess, harmless: MemoryWatch, name: str) -> None:
    head = [
        *(b"POST /v1/augmentations HTTP/1.1", b"Host: localhost", b"Connection: close"),
        *(b"Content-Type: application/json", *LIES[name]),
    ]
    status, answer = spoken(service.address, b"\r\n".join(head) + b"\r\n\r\n{}\r\n")

    assert 400 <= status < 500, answer
    assert b"set-cookie" not in answer.lower()


def test_a_chunk_of_a_terabyte_is_not_waited_for_in_memory(service: ServiceProcess, harmless: MemoryWatch) -> None:
    url = urlsplit(service.address)
    for path in ("/v1/augmentations", "/v1/uploads"):
        with socket.create_connection((url.hostname, url.port), timeout=PATIENCE_S) as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
            connection.sendall(
                head.encode() + b"Transfer-Encoding: chunked\r\n\r\nffffffffff\r\n" + bytes(100_000)
            )


def spoken(address: str, request: bytes) -> tuple[int, bytes]:
    """Status and bytes of what comes back to exactly these bytes, up to the end of the connection."""
    url = urlsplit(address)
    with socket.create_connection((url.hostname, url.port), timeout=PATIENCE_S) as connection:
        received = b""
        with suppress(ConnectionError):  # the service may hang up before it has read everything
            connection.sendall(request)
        with suppress(ConnectionError):
            while data := connection.recv(65536):
                received += data
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", received)
    assert found, f"no answer to {request[:200]!r}"
    return int(found[1]), received


JOB = "job_" + 26 * "0"
PATHS = {
    "up and away": "/v1/jobs/..%2f..%2f..%2fetc%2fpasswd",
    "up and away, twice encoded": "/v1/jobs/%252e%252e%252f%252e%252e%252fetc",
    "up and away, plainly": "/v1/jobs/../../../../etc/passwd",
    "up from an item": f"/v1/jobs/{JOB}/items/..%2f..%2finput/image",
    "an upload that climbs": "/v1/uploads/sha256:..%2f..%2f..%2fbuiltin%2fdefect-types",
    "a type that climbs": "/v1/defect-types/..%2fscratch",
    "a line end after an id": f"/v1/jobs/{JOB}%0a",
    "a header after an id": f"/v1/jobs/{JOB}%0d%0aSet-Cookie:%20a=b",
    "a NUL in an id": f"/v1/jobs/{JOB[:-1]}%00",
    "a star for an id": "/v1/jobs/job_*",
    "broken UTF-8": "/v1/jobs/%ff%fe",
    "digits of other scripts": f"/v1/jobs/{JOB}/items/%D9%A3/image",
    "an index of twenty thousand digits": f"/v1/jobs/{JOB}/items/{'9' * 20_000}/image",
    "an index below zero": f"/v1/jobs/{JOB}/items/-1/image",
    "an id of sixty thousand letters": f"/v1/jobs/job_{'0' * 60_000}",
    "a path of a megabyte": f"/v1/jobs/{'0' * MEGABYTE}",
    "ten thousand parameters": "/v1/jobs?" + "&".join(f"{number:x}=1" for number in range(8_000)),
    "a cursor of sixty thousand letters": f"/v1/jobs?cursor={'A' * 60_000}",
    "a cursor that climbs": "/v1/jobs?cursor=MTo uLi8uLi9l".replace(" ", ""),
    "a limit of twenty thousand digits": f"/v1/jobs?limit={'9' * 20_000}",
}


@pytest.mark.parametrize("name", PATHS)
def test_paths_that_mean_harm(service: ServiceProcess, harmless: MemoryWatch, name: str) -> None:
    for method in ("GET", "DELETE", "POST"):
        head = f"{method} {PATHS[name]} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        status, answer = spoken(service.address, head.encode())

        assert 400 <= status < 500, answer[:1000]
        assert b"set-cookie:" not in answer.lower().partition(b"\r\n\r\n")[0]
        assert b"root:" not in answer
