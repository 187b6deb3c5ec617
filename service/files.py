"""Answers that are objects of the storage, streamed."""

from __future__ import annotations

from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.problems import not_found
from service.store.storage import ObjectNotFoundError, Storage

CHUNK_BYTES = 256 * 1024


class StoredFile(Response):
    """One object of the storage as the body; never more of it in memory than a chunk.

    It is opened only when the answer is sent, so that whatever ends the request also closes it.
    """

    def __init__(self, storage: Storage, key: str, media_type: str, etag: str) -> None:
        self._storage = storage
        self._key = key
        self._etag = f'"{etag}"'
        super().__init__(headers={"ETag": self._etag}, media_type=media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the object, or 304 if the client says that it has it.

        Raises:
            ProblemError: the object is gone.
        """
        if _names(scope, self._etag):
            await Response(status_code=304, headers={"ETag": self._etag})(scope, receive, send)
            return
        try:
            size = await run_in_threadpool(self._storage.size, self._key)
            source = self._storage.open(self._key)
            stream = await run_in_threadpool(source.__enter__)
        except ObjectNotFoundError as error:
            raise not_found("this file is gone: its job was deleted") from error
        try:
            self.headers["Content-Length"] = str(size)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            while chunk := await run_in_threadpool(stream.read, CHUNK_BYTES):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            source.__exit__(None, None, None)


def _names(scope: Scope, etag: str) -> bool:
    """Whether If-None-Match names ``etag``."""
    given = b",".join(value for name, value in scope["headers"] if name == b"if-none-match").decode("latin-1")
    return any(tag.strip().removeprefix("W/") in (etag, "*") for tag in given.split(","))
