"""ZIPs that are made while they are sent: of known length, and the same bytes from the same files."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from zipstream import ZipStream

from service.streams import BLOCK_BYTES, Blocks, send_stream

MEDIA_TYPE = "application/zip"
_LOCAL_TIME = slice(10, 14)  # of a file's header: time and date as MS-DOS had them


_IN_MEMORY = 1024 * 1024  # of what the end of a ZIP says of its files; more lies on disk
Content = tuple[str, int, Iterable[bytes]]
"""A file of a ZIP: name, length, bytes."""


class Zip(ZipStream):  # type: ignore[misc]
    """A ZIP of known length whose files all bear one time, where the library would write the present one.

    Of files that were sent it keeps what the end of the ZIP says of them, packed, and on disk once it is long.
    """

    def __init__(self, moment: datetime) -> None:
        super().__init__(sized=True)
        self._moment = moment.astimezone(UTC)
        self._filelist = _Directory(self._moment)

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks()

    def chunks(self, contents: Iterable[Content] = ()) -> Iterator[bytes]:
        """The ZIP of what was added, and of ``contents``, each of which is asked for when its turn comes."""
        try:
            yield from self.all_files()
            for name, size, blocks in contents:
                self.add(iter(blocks), name, size=size)
                yield from self.file()
            yield from self.footer()
        finally:
            self._filelist.close()

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


class _Directory:
    """What the library keeps in a list: an entry a file, each with all that it may want to know."""

    def __init__(self, moment: datetime) -> None:
        self._moment = moment
        self._packed: tempfile.SpooledTemporaryFile[bytes] | None = None
        self._count = 0

    def append(self, entry: Any) -> None:
        if self._packed is None:
            self._packed = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115, see `close`
        entry.date_time = self._moment.timetuple()[:6]
        self._packed.write(entry._central_directory_header_data())
        self._count += 1

    def close(self) -> None:
        if self._packed is not None:
            self._packed.close()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[_Packed]:
        if self._packed is None:
            return
        self._packed.seek(0)
        while block := self._packed.read(BLOCK_BYTES):
            yield _Packed(block)


class _Packed:
    """Some entries of the directory, as they stand in it."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def _central_directory_header_data(self) -> bytes:
        return self._data


def zip_length(files: Iterable[tuple[str, int]]) -> int:
    """How many bytes a `Zip` of files with these names and lengths has, in this order."""
    counted = ZipStream(sized=True)
    for name, size in files:
        counted._add_size_from_file(name, size)
    return len(counted)


async def send_zip(answer: Response, archive: Zip, scope: Scope, receive: Receive, send: Send) -> None:
    """Send ``archive`` under the headers of ``answer``, or these alone to ``HEAD``."""
    await send_chunks(answer, len(archive), iter(archive), scope, receive, send)


async def send_chunks(
    answer: Response, length: int, chunks: Iterator[bytes], scope: Scope, receive: Receive, send: Send
) -> None:
    """Send ``length`` bytes that come in chunks of any size, or the headers alone to ``HEAD``."""
    answer.headers["Content-Length"] = str(length)
    head = {"type": "http.response.start", "status": 200, "headers": answer.raw_headers}
    if scope["method"] == "HEAD":
        await send(head)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    await send_stream(head, _in_blocks(chunks), receive, send)


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
