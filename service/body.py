"""Bodies, read within a limit: never more of one in memory than a chunk."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import anyio
from fastapi.concurrency import run_in_threadpool
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from flawsmith.contract import problems
from service.connections import MIN_RATE
from service.problems import ProblemError

if TYPE_CHECKING:
    from service.resources import Resources

MEGABYTE = 1_000_000
MAX_JSON_BYTES = MEGABYTE


def media_type(request: Request) -> tuple[str, dict[str, str]]:
    """The body's media type in lower case, and its parameters.

    Raises:
        ProblemError: the body is compressed as a whole, which would hide its size.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ProblemError(
            problems.UNSUPPORTED_MEDIA_TYPE,
            "a Content-Encoding is not accepted here; send the body as it is, uncompressed",
        )
    kind, parameters = parse_options_header(request.headers.get("content-type", ""))
    return kind.decode("latin-1"), {
        name.decode("latin-1"): value.decode("latin-1") for name, value in parameters.items()
    }


def unsupported(request: Request, accepted: str) -> ProblemError:
    """The refusal of a media type, naming those that are accepted."""
    given = request.headers.get("content-type")
    return ProblemError(
        problems.UNSUPPORTED_MEDIA_TYPE,
        f"Content-Type {given!r} is not accepted here; send {accepted}"
        if given
        else f"the Content-Type is missing; send {accepted}",
    )


def too_large(limit: int, field: str | None = None) -> ProblemError:
    subject = field or "the body"
    return ProblemError(
        problems.BODY_TOO_LARGE, f"{subject} is over the limit of {limit} bytes; send less", field=field
    )


async def chunks(request: Request, limit: int, field: str | None = None) -> AsyncIterator[bytes]:
    """The body as it arrives.

    Raises:
        ProblemError: it says that it is over ``limit`` bytes, or proves to be, or comes too slowly.
    """
    if int(request.headers.get("content-length", 0)) > limit:
        raise too_large(limit, field)
    resources: Resources = request.app.state.resources
    patience_s = resources.settings.body_timeout_s
    received = 0
    waited_s = 0.0
    stream = request.stream()
    while True:
        began = time.monotonic()
        try:
            with anyio.fail_after(patience_s):
                chunk = await anext(stream, None)
        except TimeoutError:
            raise _too_slow(f"nothing of the body came for {patience_s:g} s") from None
        if chunk is None:
            return
        # Only what the client took counts, not what its chunks took here.
        waited_s += time.monotonic() - began
        received += len(chunk)
        if received > limit:
            raise too_large(limit, field)
        if waited_s > patience_s and received < MIN_RATE * waited_s:
            raise _too_slow(f"the body comes slower than {MIN_RATE} bytes a second")
        yield chunk


def _too_slow(what: str) -> ProblemError:
    return ProblemError(problems.REQUEST_TIMEOUT, f"{what}; send it again over a faster connection")


async def read(request: Request, limit: int) -> bytes:
    """A small body as a whole."""
    return b"".join([chunk async for chunk in chunks(request, limit)])


@dataclass(frozen=True)
class SpooledFile:
    """A file of a request, on disk."""

    path: Path
    size: int
    sha256: str


class Spool:
    """A file of a request, being written to disk in steps large enough to be worth a thread each."""

    STEP = 1 << 20

    def __init__(self, path: Path, limit: int, field: str) -> None:
        self._path = path
        self._limit = limit
        self._field = field
        self._size = 0
        self._digest = hashlib.sha256()
        self._waiting = bytearray()
        self._file: BinaryIO | None = None

    def add(self, data: bytes) -> None:
        """Take ``data`` in.

        Raises:
            ProblemError: the file is over its limit.
        """
        self._size += len(data)
        if self._size > self._limit:
            raise too_large(self._limit, self._field)
        self._waiting += data

    async def flush(self) -> None:
        """Write to disk if enough is waiting."""
        if len(self._waiting) >= self.STEP:
            await run_in_threadpool(self._write)

    async def finish(self) -> SpooledFile:
        """Write the rest and close the file."""
        await run_in_threadpool(self._write)
        self.close()
        return SpooledFile(self._path, self._size, self._digest.hexdigest())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self) -> None:
        if self._file is None:
            self._file = self._path.open("wb")
        self._file.write(self._waiting)
        self._digest.update(self._waiting)
        self._waiting.clear()


async def spool(request: Request, path: Path, limit: int, field: str) -> SpooledFile:
    """The body as one file on disk."""
    target = Spool(path, limit, field)
    try:
        async for chunk in chunks(request, limit, field):
            target.add(chunk)
            await target.flush()
        return await target.finish()
    finally:
        target.close()
