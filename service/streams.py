"""Bodies that are made while they are sent: never more of one in memory than a block."""

from __future__ import annotations

import logging
from collections.abc import Generator

import anyio
from fastapi.concurrency import run_in_threadpool
from starlette.types import Message, Receive, Send

from service.store.storage import Storage, StorageError

_log = logging.getLogger(__name__)

BLOCK_BYTES = 256 * 1024

Blocks = Generator[bytes, None, None]


def stored(storage: Storage, key: str, start: int, length: int) -> Blocks:
    """``length`` bytes of an object from ``start``, in blocks.

    Raises:
        ObjectNotFoundError: there is no such object.
        StorageError: storage failed, or the object ends before.
    """
    with storage.open(key, start, length) as source:
        while length:
            block = source.read(min(length, BLOCK_BYTES))
            if not block:
                raise StorageError(f"{key} ends {length} bytes before its length of a moment ago")
            length -= len(block)
            yield block


async def send_stream(head: Message, blocks: Blocks, receive: Receive, send: Send) -> None:
    """Answer ``head`` and then ``blocks``; stop when the client hangs up.

    An error of the first block is raised before anything is sent, so that it can become an answer of its own.
    After a later one the body is left unfinished: the server closes the connection, and the client sees that a
    part is missing.
    """
    try:
        first = await run_in_threadpool(next, blocks, b"")
        await send(head)
        async with anyio.create_task_group() as group:
            group.start_soon(_cancel_when_gone, receive, group.cancel_scope)
            await _send_body(first, blocks, send)
            group.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await run_in_threadpool(blocks.close)


async def _send_body(block: bytes, blocks: Blocks, send: Send) -> None:
    while block:
        await send({"type": "http.response.body", "body": block, "more_body": True})
        try:
            block = await run_in_threadpool(next, blocks, b"")
        except StorageError as error:
            _log.warning("an answer broke off halfway: %s", error)
            return
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _cancel_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
