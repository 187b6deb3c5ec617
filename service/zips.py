"""ZIPs that are made while they are sent: of known length, and the same bytes from the same files."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from zipstream import ZipStream

from service.streams import BLOCK_BYTES, Blocks, send_stream

MEDIA_TYPE = "application/zip"
_LOCAL_TIME = slice(10, 14)  # of a file's header: time and date as MS-DOS had them


class Zip(ZipStream):  # type: ignore[misc]
    """A ZIP of known length whose files all bear one time, where the library would write the present one."""

    def __init__(self, moment: datetime) -> None:
        super().__init__(sized=True)
        self._moment = moment.astimezone(UTC)

    def _gen_file_entry(self, **entry: Any) -> Iterator[bytes]:
        chunks = super()._gen_file_entry(**entry)
        header = bytearray(next(chunks))
        moment = self._moment
        header[_LOCAL_TIME] = struct.pack(
            "<HH",
            moment.hour << 11 | moment.minute << 5 | moment.second // 2,
            (moment.year - 1980) << 9 | moment.month << 5 | moment.day,
        )
        yield bytes(header)
        yield from chunks
        self._filelist[-1].date_time = moment.timetuple()[:6]


async def send_zip(answer: Response, archive: Zip, scope: Scope, receive: Receive, send: Send) -> None:
    """Send ``archive`` under the headers of ``answer``, or these alone to ``HEAD``."""
    answer.headers["Content-Length"] = str(len(archive))
    head = {"type": "http.response.start", "status": 200, "headers": answer.raw_headers}
    if scope["method"] == "HEAD":
        await send(head)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    await send_stream(head, _in_blocks(iter(archive)), receive, send)


def _in_blocks(chunks: Iterator[bytes]) -> Blocks:
    """The same bytes in pieces that are worth a step each."""
    waiting = bytearray()
    for chunk in chunks:
        waiting += chunk
        if len(waiting) >= BLOCK_BYTES:
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)
