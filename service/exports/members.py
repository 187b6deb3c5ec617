"""Files of an archive: where their bytes come from, and how long they are."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from service.store.storage import Storage
from service.streams import BLOCK_BYTES, stored

_IN_MEMORY = 256 * 1024


class Spool:
    """Texts that go together.

    Args:
        folder: where long ones lie; the system's own for such files if None.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._texts: list[Text] = []

    def text(self) -> Text:
        """A new one, empty."""
        self._texts.append(Text(self._folder))
        return self._texts[-1]

    def close(self) -> None:
        """Remove all of them."""
        for text in self._texts:
            text.close()


class Text:
    """A text that grows piece by piece, on disk once it is long."""

    def __init__(self, folder: Path | None) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, dir=str(folder) if folder else None)  # noqa: SIM115, closed by `close`
        self.size = 0

    def write(self, text: str) -> None:
        """Add to its end."""
        self.size += self._file.write(text.encode())

    def take(self, other: Text) -> None:
        """Add all of another one to its end."""
        for block in other.blocks():
            self.size += self._file.write(block)

    def blocks(self) -> Iterator[bytes]:
        """All of it, to be read to its end before the next piece is added."""
        self._file.seek(0)
        while block := self._file.read(BLOCK_BYTES):
            yield block

    def lines(self) -> Iterator[bytes]:
        """All of it, line by line."""
        self._file.seek(0)
        yield from self._file

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True)
class Stored:
    """An object of the storage as it is."""

    key: str
    size: int

    def blocks(self, storage: Storage) -> Iterator[bytes]:
        return stored(storage, self.key, 0, self.size)


@dataclass(frozen=True)
class Written:
    """A short text."""

    text: str

    @property
    def size(self) -> int:
        return len(self.text.encode())

    def blocks(self, storage: Storage) -> Iterator[bytes]:
        yield self.text.encode()


@dataclass(frozen=True)
class Blank:
    """The label of a good part: an 8-bit grey PNG of zeros, ``width`` × ``height``."""

    width: int
    height: int

    @property
    def size(self) -> int:
        return len(_blank(self.width, self.height))

    def blocks(self, storage: Storage) -> Iterator[bytes]:
        yield _blank(self.width, self.height)


Source: TypeAlias = "Stored | Written | Blank"


@dataclass(frozen=True)
class Member:
    """A file of an archive."""

    name: str
    source: Source

    def line(self) -> str:
        """It as a line of text, which `member` reads back."""
        match self.source:
            case Stored(key, size):
                values: list[str | int] = ["stored", key, size]
            case Written(text):
                values = ["written", text]
            case Blank(width, height):
                values = ["blank", width, height]
        return json.dumps([self.name, *values]) + "\n"


def member(line: bytes) -> Member:
    """What `Member.line` wrote."""
    match json.loads(line):
        case [str() as name, "stored", str() as key, int() as size]:
            return Member(name, Stored(key, size))
        case [str() as name, "written", str() as text]:
            return Member(name, Written(text))
        case [str() as name, "blank", int() as width, int() as height]:
            return Member(name, Blank(width, height))
    raise ValueError("not a member of an archive")


@lru_cache(4)
def _blank(width: int, height: int) -> bytes:
    import numpy as np

    from service.images.encoding import encode_mask_png

    return encode_mask_png(np.zeros((height, width), bool))
