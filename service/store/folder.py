"""Storage in a folder."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from service.store.keys import InvalidKeyError, check_key, check_prefix, import_area
from service.store.storage import (
    Entry,
    ObjectNotFoundError,
    ObjectUnreadableError,
    Readable,
    StorageUnavailableError,
)

_SCRATCH = ".scratch"  # no key begins with a dot, so nothing here is ever an object
_SCRATCH_TTL_S = 24 * 3600
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK)


class FolderStorage:
    """A file an object, below ``root``, which is made if need be.

    Raises:
        StorageUnavailableError: ``root`` cannot be made.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._expected: tuple[Path, bytes] | None = None
        scratch = self.root / _SCRATCH
        with _os_errors():
            scratch.mkdir(parents=True, exist_ok=True)
            for path in scratch.iterdir():  # left by processes that were killed while they wrote
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime < time.time() - _SCRATCH_TTL_S:
                        path.unlink()

    def expect(self, key: str, data: bytes) -> None:
        """Take the folder for another one, which is unavailable, whenever the object ``key`` is not ``data``."""
        self._expected = (self._path(key), data)

    def put(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        path = self._path(key)
        self._check_mounted()
        with _os_errors(), self._written(data) as scratch:
            path.parent.mkdir(parents=True, exist_ok=True)
            scratch.replace(path)
            _sync_folder(path.parent)

    def put_if_absent(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> bool:
        path = self._path(key)
        self._check_mounted()
        with _os_errors(), self._written(data) as scratch:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                path.hardlink_to(scratch)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_HARD_LINKS:
                    raise
                if path.exists():
                    return False
                scratch.replace(path)
            _sync_folder(path.parent)
            return True

    def get(self, key: str) -> bytes:
        with self._finding(key):
            return self._path(key).read_bytes()

    @contextmanager
    def open(self, key: str, start: int = 0, length: int | None = None) -> Iterator[Readable]:
        with self._finding(key):
            file = self._path(key).open("rb")
        with file:
            file.seek(start)
            yield _Part(file, length)

    def link(self, key: str, media_type: str, disposition: str) -> str | None:
        return None

    def exists(self, key: str) -> bool:
        with _os_errors():
            if self._path(key).is_file():
                return True
        self._check_mounted()
        return False

    def size(self, key: str) -> int:
        with self._finding(key):
            return self._path(key).stat().st_size

    def list(self, prefix: str) -> Iterator[str]:
        folder = self.root / check_prefix(prefix)
        self._check_mounted()
        with _os_errors():
            yield from _walk(folder, prefix)

    def entries(self, prefix: str) -> Iterator[Entry]:
        folder = self.root / check_prefix(prefix)
        self._check_mounted()
        with suppress(ObjectNotFoundError), _os_errors(prefix):
            self._check_within(folder, prefix)
            for key in _walk(folder, prefix, links=import_area(prefix) is None):
                with suppress(FileNotFoundError):  # deleted meanwhile
                    found = (self.root / key).stat()
                    modified = datetime.fromtimestamp(found.st_mtime, UTC)
                    yield Entry(key, found.st_size, modified, f"{found.st_mtime_ns}-{found.st_ino}")

    def folders(self, prefix: str, after: str = "") -> Iterator[str]:
        folder = self.root / check_prefix(prefix)
        self._check_mounted()
        with _os_errors(), suppress(FileNotFoundError, NotADirectoryError):
            names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
            for name in names:
                if name > after and not name.startswith("."):
                    yield name

    def sizes(self, prefix: str) -> dict[str, int]:
        found = {}
        for key in self.list(prefix):
            with suppress(ObjectNotFoundError):  # deleted meanwhile
                found[key] = self.size(key)
        return found

    def modified(self, prefix: str) -> dict[str, datetime]:
        found = {}
        for key in self.list(prefix):
            with suppress(ObjectNotFoundError), self._finding(key):  # deleted meanwhile
                found[key] = datetime.fromtimestamp(self._path(key).stat().st_mtime, UTC)
        return found

    def copy(self, source: str, target: str) -> None:
        self.put(target, self.get(source))

    def delete(self, key: str) -> None:
        self._check_mounted()
        with _os_errors(), suppress(FileNotFoundError, NotADirectoryError):
            self._path(key).unlink()

    def delete_prefix(self, prefix: str, last: str | None = None) -> None:
        if not prefix:
            raise InvalidKeyError("an empty prefix would delete everything")
        folder = self.root / check_prefix(prefix)
        self._check_mounted()
        with _os_errors(), suppress(FileNotFoundError):
            if last is not None:  # a tree goes in whatever order
                for key in _walk(folder, prefix, links=False):
                    if key != last:
                        (self.root / key).unlink(missing_ok=True)
            shutil.rmtree(folder)

    def check(self) -> None:
        self._check_mounted()
        with _os_errors(), self._written(b""):
            pass

    def _check_mounted(self) -> None:
        """Raise `StorageUnavailableError` if the folder itself is gone: then nothing is known of what is in it.

        Where its disk is not mounted, who starts meanwhile may have made an empty one in its place.
        """
        with _os_errors():
            there = (self.root / _SCRATCH).is_dir()
            if there and self._expected is not None:
                path, data = self._expected
                there = path.is_file() and path.read_bytes() == data
        if not there:
            raise StorageUnavailableError(f"{self.root} is not there, or is not mounted")

    @contextmanager
    def _finding(self, key: str) -> Iterator[None]:
        """Storage errors for reading ``key``; what is not found in a folder that is gone may be there."""
        try:
            with _os_errors(key):
                self._check_within(self._path(key), key)
                yield
        except ObjectNotFoundError:
            self._check_mounted()
            raise

    def _check_within(self, path: Path, key: str) -> None:
        """Raise `ObjectNotFoundError` if links that people made lead out of what their tenant may read."""
        area = import_area(key)
        if area is not None and not path.resolve().is_relative_to((self.root / area).resolve()):
            raise ObjectNotFoundError(key)

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    @contextmanager
    def _written(self, data: bytes) -> Iterator[Path]:
        """A file beside the objects that holds ``data`` for certain; gone afterwards unless moved."""
        scratch = self.root / _SCRATCH / secrets.token_hex(16)
        try:
            with scratch.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield scratch
        finally:
            scratch.unlink(missing_ok=True)


class _Part:
    """The next ``left`` bytes of a file, or all of them, with storage errors."""

    def __init__(self, file: BinaryIO, left: int | None) -> None:
        self._file = file
        self._left = left

    def read(self, size: int = -1, /) -> bytes:
        if self._left is not None:
            size = self._left if size < 0 else min(size, self._left)
        with _os_errors():
            data = self._file.read(size)
        if self._left is not None:
            self._left -= len(data)
        return data


def _walk(folder: Path, prefix: str, *, links: bool = True) -> Iterator[str]:
    try:
        entries = [(entry.name, entry.is_dir()) for entry in os.scandir(folder) if links or not entry.is_symlink()]
    except (FileNotFoundError, NotADirectoryError):
        return
    for name, is_folder in entries:
        if name.startswith("."):
            continue
        if is_folder:
            yield from _walk(folder / name, f"{prefix}{name}/", links=links)
        else:
            yield prefix + name


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _os_errors(key: str | None = None) -> Iterator[None]:
    """Turn what the operating system says into storage errors; a missing file into a missing ``key``."""
    try:
        yield
    except OSError as error:
        if key is not None and import_area(key) and isinstance(error, PermissionError):
            raise ObjectUnreadableError(f"{key} may not be read") from error
        if key is not None and isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError):
            raise ObjectNotFoundError(key) from error
        raise StorageUnavailableError(f"the storage folder failed: {error}") from error
