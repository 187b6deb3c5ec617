"""ZIP archives from outside: listed and read within limits, never unpacked under their own names."""

from __future__ import annotations

import errno
import hashlib
import io
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

from service.samples.errors import SampleError
from service.samples.limits import MAX_NAME, SampleLimits

_BLOCK = 1 << 20
_ENTRY_BYTES = 1024
"""Of the directory at a ZIP's end, an entry at most: its names are not that long."""
_LEAST_READ = 4 << 20
_MAX_RATIO = 200
"""Unpacked to packed of a whole archive. A blank bitmap packs better, photographs beside it never."""
_RATIO_MATTERS = 64_000_000
"""Unpacked bytes below which no ratio does harm."""
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    UnicodeDecodeError,
)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_SAYS_UTF8 = 1 << 11
"""Flag of an entry whose name is in UTF-8."""
_CLUTTER = ("__MACOSX", "Thumbs.db", "desktop.ini")

_PACK_AGAIN = "Pack the folder anew as an ordinary ZIP and send that."


class _TooMuchError(Exception):
    """More was to be read at once than a directory may take."""


class _BoundedFile(io.FileIO):
    """At most ``most`` bytes of it are read at once: a ZIP says itself how long its directory is."""

    def __init__(self, path: Path, most: int) -> None:
        super().__init__(path)
        self._most = most

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self._most:
            raise _TooMuchError
        return super().read(-1 if size is None else size)


class Archive:
    """A ZIP open for reading; use it as a context manager.

    Args:
        path: the file as it was sent.
        limits: on entries and on what is unpacked in all.
        field: of the request that the file came as: what errors name.
        max_file_bytes: largest single file that may be unpacked.
        remedy: what errors advise, whatever is wrong; without it, what helps with samples.

    Raises:
        SampleError: it is no ZIP, damaged, encrypted, too large, or an entry has a name that leads out of it.
    """

    def __init__(
        self, path: Path, limits: SampleLimits, field: str, max_file_bytes: int, remedy: str | None = None
    ) -> None:
        self.field = field
        self._max_file_bytes = max_file_bytes
        self._limits = limits
        self._remedy = remedy
        self._packed = path.stat().st_size
        self._unpacked = 0
        with ExitStack() as opened:
            file = opened.enter_context(_BoundedFile(path, max(_LEAST_READ, limits.max_entries * _ENTRY_BYTES)))
            try:
                self._zip = opened.enter_context(zipfile.ZipFile(file))
                self._entries = dict(self._files())
            except SampleError:
                raise
            except _TooMuchError:
                raise self._too_many() from None
            except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, struct.error) as error:
                raise self._error(f"the file is no ZIP, or damaged or cut off ({error})") from error
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    @property
    def names(self) -> list[str]:
        """Names of its files, in the archive's order, without what file managers leave behind.

        They are paths in NFC, without ``./`` and the like.
        """
        return list(self._entries)

    def size(self, name: str) -> int:
        """Bytes that a file takes unpacked, as the archive says; more are never unpacked."""
        return self._entries[name].file_size

    def read(self, name: str, limit: int) -> bytes:
        """A file of at most ``limit`` bytes.

        Raises:
            SampleError: it is larger, or damaged, or the limits of the whole are reached.
        """
        return b"".join(self._blocks(name, limit))

    def extract(self, name: str, target: Path) -> str:
        """Write a file to ``target``; its SHA-256 in hex.

        Raises:
            SampleError: as `read`.
        """
        digest = hashlib.sha256()
        with target.open("wb") as file:
            for block in self._blocks(name, self._max_file_bytes):
                digest.update(block)
                file.write(block)
        return digest.hexdigest()

    def _blocks(self, name: str, limit: int) -> Iterator[bytes]:
        size = 0
        with self._reporting_damage(name), self._zip.open(self._entries[name]) as file:
            while block := file.read(_BLOCK):
                size += len(block)
                self._unpacked += len(block)
                if size > limit:
                    raise self._error(
                        f"{name} is over {limit:,} bytes unpacked", "Leave it out or make it smaller."
                    )
                self._check_unpacked()
                yield block

    def _check_unpacked(self) -> None:
        if self._unpacked > self._limits.max_bytes:
            raise self._error(
                f"the set takes more than {self._limits.max_bytes:,} bytes unpacked",
                "Send fewer images, or crop them to the part.",
            )
        if self._unpacked > max(_RATIO_MATTERS, _MAX_RATIO * self._packed):
            raise self._error(
                f"the ZIP unpacks to more than {_MAX_RATIO} times its size, which no set of photos does",
                "Save the images as PNG and pack those.",
            )

    @contextmanager
    def _reporting_damage(self, name: str) -> Iterator[None]:
        try:
            yield
        except _DAMAGE as error:
            raise self._error(f"{name} is damaged in the ZIP ({error})") from error
        except OSError as error:
            if error.errno not in (None, errno.EINVAL):  # of a place before the file's beginning
                raise
            raise self._error(f"{name} is damaged in the ZIP ({error})") from error

    def _files(self) -> Iterator[tuple[str, zipfile.ZipInfo]]:
        """Its files by name, each checked, without clutter."""
        entries = self._zip.infolist()
        if len(entries) > self._limits.max_entries:
            raise self._too_many()
        seen: set[str] = set()
        for entry in entries:
            for sent in (entry.orig_filename, entry.filename):  # the second ends before a null byte
                self._check_name(sent)
            name = _name(entry)
            self._check_name(name)
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise self._error(
                    f"{_shown(name)} is a link or a device, not a file", "Pack the files themselves and send that."
                )
            if entry.is_dir() or is_clutter(name):
                continue
            if name in seen:
                raise self._error(f"{_shown(name)} is in the ZIP twice")
            seen.add(name)
            if entry.flag_bits & 1:
                raise self._error(
                    f"{_shown(name)} is encrypted", "Pack the folder without a password and send that."
                )
            if entry.compress_type not in _METHODS:
                raise self._error(
                    f"{_shown(name)} is packed by a method that is not read here", "Pack the folder with Deflate."
                )
            yield name, entry

    def _check_name(self, name: str) -> None:
        if len(name) > MAX_NAME:
            raise self._error(
                f"the name {_shown(name)} has more than {MAX_NAME:,} characters",
                "Call its folders by shorter names, or lay fewer of them into each other.",
            )
        parts = name.split("/")
        if not name or "\\" in name or name.startswith("/") or ".." in parts or ":" in parts[0] or "\0" in name:
            raise self._error(f"the name {_shown(name)} leads out of the ZIP or is no name in a ZIP")

    def _too_many(self) -> SampleError:
        return self._error(
            f"the ZIP has more than {self._limits.max_entries:,} entries",
            "Send only images, masks and annotations.",
        )

    def _error(self, what: str, remedy: str = _PACK_AGAIN) -> SampleError:
        return SampleError(self.field, f"{what}. {self._remedy or remedy}")


def _name(entry: zipfile.ZipInfo) -> str:
    """What an entry is called, alike for all spellings; older archivers of macOS do not say that it is UTF-8."""
    name = entry.filename
    if not entry.flag_bits & _SAYS_UTF8:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode()
    return str(PurePosixPath(unicodedata.normalize("NFC", name)))


def is_clutter(name: str) -> bool:
    """Whether a file is one of those that file managers leave behind, by its path."""
    parts = PurePosixPath(name).parts
    return any(part.startswith(".") or part in _CLUTTER for part in parts)


def _shown(name: str) -> str:
    """A name as an answer may hold it: short, without what a terminal would act on."""
    clean = "".join(letter if letter.isprintable() else "?" for letter in name)
    return clean if len(clean) <= 120 else clean[:119] + "…"
