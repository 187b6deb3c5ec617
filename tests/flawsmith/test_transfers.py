"""Downloads over connections that break, lie or lead elsewhere, against servers that do as told."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from flawsmith import AsyncFlawsmith, CorruptDownloadError, Flawsmith, FlawsmithError, ServiceUnreachableError
from flawsmith.cli.generation import collect
from flawsmith.client import downloads
from flawsmith.client.connection import Connection
from flawsmith.client.downloads import Download
from flawsmith.contract.base import now
from flawsmith.contract.jobs import Item, ItemStatus, Job, JobKind, JobStatus, Progress
from tests.servers import listening

FILE = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(FILE).hexdigest()
JOB = Job(
    id="job_00000000000000000000000000",
    kind=JobKind.AUGMENTATION,
    status=JobStatus.SUCCEEDED,
    progress=Progress(done=1, total=1),
    created_at=now(),
    input_sha256=SHA256,
    items=[Item(index=0, seed=1, status=ItemStatus.SUCCEEDED, image_sha256=SHA256)],
)


@dataclass
class Server:
    """A server of one file, on which connections break after so many bytes in turn."""

    breaks: list[int] = field(default_factory=list)
    content: bytes = FILE
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"one"', "Accept-Ranges": "bytes"})
    heeds_ranges: bool = True
    redirect: str | None = None
    status: int = 200
    asked: list[dict[str, str]] = field(default_factory=list)
    on_request: Callable[[], None] = lambda: None

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append({name.lower(): value for name, value in handler.headers.items()})
        if self.redirect is not None:
            handler.send_response(307)
            handler.send_header("Location", self.redirect)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        start = 0
        wanted = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        if wanted and self.heeds_ranges and handler.headers.get("If-Range") == self.headers.get("ETag"):
            start = int(wanted[1])
        handler.send_response(206 if start else self.status)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        for name, value in self.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(self.content) - start))
        handler.end_headers()
        stop = start + self.breaks.pop(0) if self.breaks else len(self.content)
        handler.wfile.write(self.content[start:stop])
        handler.close_connection = True
        self.on_request()


@contextmanager
def running(server: Server) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.handle(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with listening(Handler) as url:
        yield url


def image(url: str, job: Job | str = JOB, retries: int = 3) -> bytes:
    with Flawsmith(url, retries=retries) as client:
        return client.item_image(job, 0)


def awaited_image(url: str, job: Job | str = JOB, retries: int = 3) -> bytes:
    async def fetch() -> bytes:
        async with AsyncFlawsmith(url, retries=retries) as client:
            return await client.item_image(job, 0)

    return asyncio.run(fetch())


_client_arguments = Connection.client_arguments


def _with_key(connection: Connection) -> dict[str, Any]:
    arguments = _client_arguments(connection)
    return arguments | {"headers": arguments["headers"] | {"Authorization": "Bearer secret"}}


both = pytest.mark.parametrize("fetch", [image, awaited_image])
Fetch = Callable[..., bytes]


@both
def test_a_broken_download_goes_on_where_it_broke(fetch: Fetch) -> None:
    server = Server(breaks=[300_000, 300_000])
    with running(server) as url:
        assert fetch(url) == FILE
    assert [asked.get("range") for asked in server.asked] == [None, "bytes=300000-", "bytes=600000-"]
    assert [asked.get("if-range") for asked in server.asked] == [None, '"one"', '"one"']


def test_more_breaks_than_retries_are_survived_while_something_comes() -> None:
    server = Server(breaks=[200_000] * 5)
    with running(server) as url:
        assert image(url, retries=1) == FILE
    assert len(server.asked) == 6


@both
def test_a_download_that_brings_nothing_more_ends(fetch: Fetch) -> None:
    server = Server(breaks=[300_000, 0, 0, 0])
    with running(server) as url, pytest.raises(ServiceUnreachableError, match="broke"):
        fetch(url, retries=1)
    assert len(server.asked) == 2


@pytest.mark.parametrize("headers", [{}, {"ETag": '"one"'}, {"ETag": 'W/"one"', "Accept-Ranges": "bytes"}])
def test_without_parts_or_a_strong_tag_it_is_fetched_anew(headers: dict[str, str]) -> None:
    server = Server(breaks=[300_000], headers=headers)
    with running(server) as url:
        assert image(url) == FILE
    assert [asked.get("range") for asked in server.asked] == [None, None]


def test_a_server_that_sends_the_whole_again_is_understood() -> None:
    server = Server(breaks=[300_000], heeds_ranges=False)
    with running(server) as url:
        assert image(url) == FILE


@both
def test_another_file_than_the_job_names_is_refused(fetch: Fetch) -> None:
    with running(Server(content=FILE[:-1] + b"x")) as url, pytest.raises(CorruptDownloadError, match=SHA256):
        fetch(url)


def test_without_a_job_the_digest_in_the_answer_counts() -> None:
    digest = base64.b64encode(hashlib.sha256(FILE).digest()).decode()
    headers = {"Repr-Digest": f"md5=:AAAA:, sha-256=:{digest}:"}
    with running(Server(headers=headers)) as url:
        assert image(url, JOB.id) == FILE
    with running(Server(headers=headers, content=b"other")) as url, pytest.raises(CorruptDownloadError):
        image(url, JOB.id)


def test_parts_that_do_not_fit_together_are_fetched_anew() -> None:
    server = Server(breaks=[300_000], content=FILE[:1000] + b"x" + FILE[1001:])

    def mend() -> None:
        server.content = FILE

    server.on_request = mend
    with running(server) as url:
        assert image(url) == FILE
    assert [asked.get("range") for asked in server.asked] == [None, "bytes=300000-", None]


def test_a_job_in_the_place_of_another_leaves_none_of_its_items_and_all_else(tmp_path: Path) -> None:
    items = [Item(index=index, seed=1, status=ItemStatus.SUCCEEDED) for index in range(3)]
    jobs = {
        f"job_{number:026}": (JOB.model_copy(update={"id": f"job_{number:026}", "items": items[:count]}), content)
        for number, count, content in ((1, 3, b"II*\0 image"), (2, 1, b"\x89PNG image"))
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            job, content = jobs[self.path.split("/")[3]]
            body = content if "/items/" in self.path else job.model_dump_json().encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    first, second = jobs
    of_others = {"item-07.png": b"mine", "notes.txt": b"mine", "overview.png": b"mine"}
    with listening(Handler) as url, Flawsmith(url) as client:
        client.download(first, tmp_path)
        assert (tmp_path / "item-00.tif").exists()
        for name, data in of_others.items():
            (tmp_path / name).write_bytes(data)
        client.download(first, tmp_path)
        assert (tmp_path / "item-02-mask.png").exists()
        client.download(second, tmp_path)
    of_second = {"job.json", "item-00.png", "item-00-mask.png", "item-00-preview.png"}
    assert {path.name for path in tmp_path.iterdir()} == of_second | of_others.keys()


def test_the_overview_of_another_job_goes_with_its_items(tmp_path: Path) -> None:
    def job(number: int, status: ItemStatus) -> Job:
        return JOB.model_copy(update={"id": f"job_{number:026}", "items": [Item(index=0, seed=1, status=status)]})

    class Client(Flawsmith):
        def download(self, job: Job | str, out_dir: str | os.PathLike[str]) -> Download:
            assert isinstance(job, Job)
            return downloads.begin(job, out_dir)

    overview = tmp_path / "overview.png"
    with Client("http://127.0.0.1:9") as client:
        for number, status, before, stays in (
            (1, ItemStatus.CANCELED, None, True),  # of no job of ours
            (2, ItemStatus.CANCELED, job(1, ItemStatus.CANCELED), True),  # which had none
            (3, ItemStatus.CANCELED, job(2, ItemStatus.SUCCEEDED), False),
            (4, ItemStatus.SUCCEEDED, job(4, ItemStatus.SUCCEEDED), True),  # the same one again
        ):
            overview.write_bytes(b"of before")
            if before is not None:
                downloads.begin(before, tmp_path)
            result = collect(client, job(number, status), tmp_path)
            assert result.overview is None
            assert overview.exists() == stays, number


def test_a_job_file_that_is_none_stays_out_of_the_way(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text("{}")
    (tmp_path / "item-00.tif").write_bytes(b"mine")
    assert downloads.begin(JOB, tmp_path).job_file == tmp_path / "job.json"
    assert (tmp_path / "item-00.tif").read_bytes() == b"mine"


def test_a_refused_or_broken_download_leaves_no_file(tmp_path: Path) -> None:
    for server in (Server(status=404), Server(status=204, content=b""), Server(breaks=[1000, 0, 0])):
        with running(server) as url, Flawsmith(url, retries=1) as client, pytest.raises(FlawsmithError):
            client.archive(JOB, tmp_path / "results.zip")
        assert list(tmp_path.iterdir()) == []


@both
def test_a_redirect_is_followed_without_the_secrets(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store at the other end learns nothing that it has no use for."""
    store = Server(breaks=[300_000])
    with running(store) as store_url:
        service = Server(redirect=f"{store_url}/bucket/image.png?signature=abc")
        with running(service) as url:
            monkeypatch.setattr("flawsmith.client.connection.Connection.client_arguments", _with_key)
            assert fetch(url) == FILE
    assert [asked["authorization"] for asked in service.asked] == ["Bearer secret", "Bearer secret"]
    assert not any("authorization" in asked or "cookie" in asked for asked in store.asked)
    assert [asked.get("range") for asked in store.asked] == [None, "bytes=300000-"]


def test_a_refusal_of_the_store_does_not_show_the_signature() -> None:
    with running(Server(status=403, content=b"<Error/>")) as store_url:
        service = Server(redirect=f"{store_url}/bucket/image.png?signature=abc")
        with running(service) as url, pytest.raises(FlawsmithError, match="403") as refused:
            image(url)
    assert "signature" not in str(refused.value)
