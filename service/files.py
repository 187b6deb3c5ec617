"""Answers that are objects of the storage: whole or in part, streamed, or by a redirect to the store itself."""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from flawsmith.contract import problems
from service import problems as answers
from service import ranges
from service.etags import Verdict, judge, range_holds
from service.problems import not_found
from service.ranges import UnsatisfiableRangeError
from service.store.storage import ObjectNotFoundError, Storage
from service.streams import send_stream, stored

KEPT = {"Cache-Control": "private, max-age=31536000, immutable", "Vary": "Authorization"}
"""Files never change, and belong to one tenant."""
_FOR_NOW = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}


class Kept(Response, ABC):
    """Something under a strong entity tag: conditions are judged before it is made.

    Args:
        lasting: it never changes; if not, a client is to ask each time whether it has.
    """

    def __init__(self, media_type: str, etag: str, disposition: str, *, lasting: bool = True) -> None:
        self.etag = f'"{etag}"'
        self.disposition = disposition
        self._caching = KEPT if lasting else _FOR_NOW
        super().__init__(
            headers={"ETag": self.etag, **self._caching, "Content-Disposition": disposition}, media_type=media_type
        )
        del self.headers["Content-Length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer it, or 304 or 412 if the conditions of the request say so.

        Raises:
            ProblemError: it is gone.
            StorageError: nothing was sent yet, and nothing can be.
        """
        verdict = judge(Headers(scope=scope), self.etag)
        if verdict is Verdict.NOT_MODIFIED:
            await Response(status_code=304, headers={"ETag": self.etag, **self._caching})(scope, receive, send)
        elif verdict is Verdict.FAILED:
            refusal = answers.answer(
                Request(scope),
                problems.PRECONDITION_FAILED,
                f"the file here is {self.etag}; leave out If-Match to get it",
                headers={"ETag": self.etag},
            )
            await refusal(scope, receive, send)
        else:
            try:
                await self.answer(scope, receive, send)
            except ObjectNotFoundError as error:
                raise not_found("what was asked for is gone: it was deleted") from error

    @abstractmethod
    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer it, whatever the client has."""


class StoredFile(Kept):
    """One object of the storage.

    Args:
        etag: its entity tag without quotes; the digest, where it is known.
        name: what it is called where it is saved.
        sha256: its digest in hex, if it is known.
        lasting: whether this is what there will always be under the address.
    """

    def __init__(
        self,
        storage: Storage,
        key: str,
        media_type: str,
        *,
        etag: str,
        name: str,
        sha256: str | None,
        lasting: bool = True,
    ) -> None:
        super().__init__(media_type, etag, f'inline; filename="{name}"', lasting=lasting)
        self._storage = storage
        self._key = key
        self.headers["Accept-Ranges"] = "bytes"
        if sha256 is not None:
            digest = base64.b64encode(bytes.fromhex(sha256)).decode()
            self.headers["Repr-Digest"] = f"sha-256=:{digest}:"

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        size = await run_in_threadpool(self._storage.size, self._key)
        if scope["method"] == "HEAD":
            self.headers["Content-Length"] = str(size)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        link = await run_in_threadpool(self._storage.link, self._key, str(self.media_type), self.disposition)
        if link is not None:
            await _redirect(link)(scope, receive, send)
            return
        try:
            part = ranges.requested(headers.getlist("range"), size) if range_holds(headers, self.etag) else None
        except UnsatisfiableRangeError:
            await self._refusal_of_range(scope, size)(scope, receive, send)
            return
        status = 200 if part is None else 206
        if part is None:
            part = range(size)
        else:
            self.headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
        self.headers["Content-Length"] = str(len(part))
        head = {"type": "http.response.start", "status": status, "headers": self.raw_headers}
        await send_stream(head, stored(self._storage, self._key, part.start, len(part)), receive, send)

    def _refusal_of_range(self, scope: Scope, size: int) -> Response:
        return answers.answer(
            Request(scope),
            problems.RANGE_NOT_SATISFIABLE,
            f"the file has {size} bytes, and none of them lies in the range that was asked for",
            headers={"Content-Range": f"bytes */{size}", "Accept-Ranges": "bytes"},
        )


def _redirect(link: str) -> Response:
    """To an address that soon expires, so that nobody is to remember it."""
    return Response(
        status_code=307, headers={"Location": link, "Cache-Control": "no-store", "Vary": "Authorization"}
    )


def file_route(
    router: APIRouter, path: str, **options: Any
) -> Callable[[Callable[..., Response]], Callable[..., Response]]:
    """Register an endpoint that answers a file, for ``GET`` and for ``HEAD``.

    ``HEAD`` is not in the OpenAPI document, where it would repeat every word of ``GET``.
    """

    def register(endpoint: Callable[..., Response]) -> Callable[..., Response]:
        router.get(path, response_class=Response, **options)(endpoint)
        router.add_api_route(
            path,
            endpoint,
            methods=["HEAD"],
            include_in_schema=False,
            dependencies=options.get("dependencies"),
        )
        return endpoint

    return register
