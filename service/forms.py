"""``multipart/form-data`` as a stream: known parts only, each once, files straight to disk."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from flawsmith.contract import problems
from service.body import MEGABYTE, Spool, SpooledFile, chunks
from service.fields import check_known, duplicate
from service.problems import ProblemError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_TEXT_BYTES = 64 * 1024
"""Of one text part; more than any field may hold, so that the field's own limit answers first."""


@dataclass
class Form:
    """A form that was read: texts not yet understood, files on disk."""

    texts: dict[str, str] = field(default_factory=dict)
    files: dict[str, SpooledFile] = field(default_factory=dict)


async def read_form(
    request: Request,
    boundary: str | None,
    folder: Path,
    *,
    files: Collection[str],
    texts: Collection[str],
    max_file_bytes: int,
    max_full_files: int | None = None,
    max_text_bytes: int = MAX_TEXT_BYTES,
) -> Form:
    """Read the form in the body of ``request``; its files lie in ``folder`` afterwards.

    Every part must be known and may come once, so that the names bound the number of parts.

    Args:
        files, texts: names of the parts that are files, and of those that are not; one of both may be either.
        max_full_files: how many files of ``max_file_bytes`` there is room for in all; for all of them if None.
        max_text_bytes: of one part that is no file.

    Raises:
        ProblemError: the form is malformed or over a limit, or a part is unknown or comes twice.
    """
    if not boundary:
        raise _malformed("the Content-Type names no boundary")
    reader = _FormReader(folder, files, texts, max_file_bytes, max_text_bytes)
    full = len(files) if max_full_files is None else max_full_files
    try:
        parser = MultipartParser(boundary.encode("latin-1"), reader.callbacks())
        async for chunk in chunks(request, full * max_file_bytes + MEGABYTE):
            parser.write(chunk)
            await reader.flush()
    except FormParserError as error:
        raise _malformed("the multipart body does not follow RFC 7578") from error
    finally:
        reader.close()
    if not reader.complete:
        raise _malformed("the multipart body ends before its closing boundary")
    return reader.form


class _FormReader:
    """What the parser calls: gathers texts in memory, hands files to their spools."""

    def __init__(
        self,
        folder: Path,
        files: Collection[str],
        texts: Collection[str],
        max_file_bytes: int,
        max_text_bytes: int,
    ) -> None:
        self.form = Form()
        self.complete = False
        self._folder = folder
        self._files = files
        self._texts = texts
        self._max_file_bytes = max_file_bytes
        self._max_text_bytes = max_text_bytes
        self._seen: set[str] = set()
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._name = ""
        self._text = bytearray()
        self._spool: Spool | None = None
        self._ended: list[tuple[str, Spool]] = []

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._on_part_begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }

    async def flush(self) -> None:
        """Bring what was parsed to disk: the parser's calls are synchronous and must not wait for it."""
        for name, spool in self._ended:
            self.form.files[name] = await spool.finish()
        self._ended.clear()
        if self._spool is not None:
            await self._spool.flush()

    def close(self) -> None:
        for spool in [self._spool, *(spool for _, spool in self._ended)]:
            if spool is not None:
                spool.close()

    def _on_part_begin(self) -> None:
        self._disposition = b""
        self._text = bytearray()

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise _malformed("a part of the multipart body has no name in its Content-Disposition")
        self._name = options[b"name"].decode(errors="replace")
        check_known(self._name, [*self._files, *self._texts])
        if self._name in self._seen:
            raise duplicate(self._name)
        self._seen.add(self._name)
        if self._name in self._files and (b"filename" in options or self._name not in self._texts):
            if b"filename" not in options:
                raise ProblemError(
                    problems.INVALID_REQUEST,
                    f"{self._name} came as text; send it as a file, with a filename in its Content-Disposition",
                    field=self._name,
                )
            self._spool = Spool(self._folder / self._name, self._max_file_bytes, self._name)

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._spool is not None:
            self._spool.add(data[start:end])
            return
        self._text += data[start:end]
        if len(self._text) > self._max_text_bytes:
            raise ProblemError(
                problems.INVALID_REQUEST,
                f"{self._name} is over {self._max_text_bytes} bytes; no field may be that long",
                field=self._name,
            )

    def _on_part_end(self) -> None:
        if self._spool is not None:
            self._ended.append((self._name, self._spool))
            self._spool = None
            return
        try:
            self.form.texts[self._name] = self._text.decode()
        except UnicodeDecodeError as error:
            raise ProblemError(
                problems.INVALID_REQUEST, f"{self._name} is not valid UTF-8; send it as UTF-8", field=self._name
            ) from error

    def _on_end(self) -> None:
        self.complete = True


def _malformed(what: str) -> ProblemError:
    return ProblemError(problems.MALFORMED_BODY, f"{what}; send a complete multipart/form-data body")
