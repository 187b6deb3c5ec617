"""Archives of data sets: held against their own manifests, and unpacked as a whole or not at all."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, BinaryIO

from pydantic import ValidationError

from flawsmith.client.errors import CorruptDownloadError, InvalidParameterError
from flawsmith.contract.files import DATASET_FILE, LOCK_FILE, MANIFEST_FILE, REPORT_FILES
from flawsmith.contract.rows import DatasetRow

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class DatasetFolder:
    """A data set as it lies on disk."""

    path: Path

    @property
    def manifest(self) -> Path:
        return self.path / MANIFEST_FILE

    @property
    def lock(self) -> Path:
        return self.path / LOCK_FILE

    @property
    def report(self) -> Path:
        """A page for people; the same as JSON lies beside it."""
        return self.path / REPORT_FILES["html"]

    def rows(self) -> Iterator[DatasetRow]:
        """The rows of its manifest.

        Raises:
            CorruptDownloadError: it is no manifest.
            OSError: it cannot be read.
        """
        return read_rows(self.manifest)


def read_rows(manifest: Path) -> Iterator[DatasetRow]:
    """The rows of a ``manifest.jsonl``, in its order.

    Raises:
        CorruptDownloadError: a line of it is no row.
        OSError: it cannot be read.
    """
    with manifest.open("rb") as lines:
        yield from _rows(lines, str(manifest))


def checked_folder(out_dir: str | os.PathLike[str]) -> Path:
    """``out_dir`` as an absolute path, of which the folder above is there.

    Raises:
        InvalidParameterError: it holds something that is no data set, or is a file, or the present folder.
        OSError: the folder above cannot be made.
    """
    folder = Path(out_dir).resolve()
    if folder in (Path.cwd(), *Path.cwd().parents):
        raise InvalidParameterError(
            f"{out_dir} is replaced as a whole, and is where you are; name a folder in it for the data set"
        )
    if folder.exists() and not folder.is_dir():
        raise InvalidParameterError(f"{out_dir} is a file; name a folder for the data set")
    if folder.is_dir() and any(folder.iterdir()):
        missing = [name for name in (MANIFEST_FILE, DATASET_FILE) if not (folder / name).is_file()]
        if missing:
            raise InvalidParameterError(
                f"{out_dir} holds something that is no data set ({missing[0]} is missing), and would be replaced "
                "as a whole; name another folder, or empty it"
            )
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def archive_beside(folder: Path) -> Iterator[BinaryIO]:
    """A file without a name, on the disk of ``folder``, for the archive on its way.

    Raises:
        OSError: there is no room for it.
    """
    with tempfile.TemporaryFile(dir=folder.parent) as file:
        yield file


def unpack(archive: BinaryIO, folder: Path) -> DatasetFolder:
    """Unpack an archive beside ``folder``, check it, and let it take the place of ``folder``.

    Raises:
        CorruptDownloadError: the archive is broken, or not what its manifest says; ``folder`` is as it was.
        OSError: it cannot be written.
    """
    stem = f".{folder.name}.{secrets.token_hex(4)}"
    fresh, old = folder.with_name(f"{stem}.new"), folder.with_name(f"{stem}.old")
    fresh.mkdir()
    try:
        _read(archive, fresh)
        replaced = folder.exists()
        if replaced:
            folder.rename(old)
        try:
            fresh.rename(folder)
        except OSError:
            if replaced:
                old.rename(folder)
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    return DatasetFolder(folder)


def check(archive: BinaryIO) -> None:
    """Hold an archive against its own manifest.

    Raises:
        CorruptDownloadError: it is broken, lacks a file, or a file is another one.
    """
    _read(archive, None)


def _read(archive: BinaryIO, folder: Path | None) -> None:
    """Read every file of an archive, write it below ``folder`` if there is one, and compare digests."""
    digests: dict[str, str] = {}
    rows: list[tuple[str, str | None]] = []
    try:
        with zipfile.ZipFile(archive) as members:
            for member in members.infolist():
                if member.is_dir():
                    continue
                target = None if folder is None else folder / _checked(member.filename)
                with members.open(member) as source:
                    digests[member.filename] = _copy(source, target)
            for name in (MANIFEST_FILE, LOCK_FILE, DATASET_FILE):
                if name not in digests:
                    raise CorruptDownloadError(f"the archive lacks {name}, so it is of no data set")
            with members.open(MANIFEST_FILE) as lines:
                rows = [
                    (row.image, row.image_sha256)
                    for row in _rows(lines, MANIFEST_FILE)
                    if row.accepted and row.image is not None
                ]
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise CorruptDownloadError(f"the archive is broken: {error}") from error
    roots = {name.partition("/")[0] for name in digests}
    for name, sha256 in rows:
        if name.partition("/")[0] not in roots:
            continue  # of a layout that was not asked for
        if name not in digests:
            raise CorruptDownloadError(f"the archive lacks {name}, which its manifest names")
        if sha256 is not None and digests[name] != sha256:
            raise CorruptDownloadError(f"{name} in the archive is not what its manifest says")


def _copy(source: IO[bytes], target: Path | None) -> str:
    """Read a member to its end, into ``target`` if there is one; its SHA-256."""
    digest = hashlib.sha256()
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
    with open(os.devnull if target is None else target, "wb") as file:  # noqa: PTH123
        while block := source.read(_BLOCK_BYTES):
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def _checked(name: str) -> PurePosixPath:
    """The name of a member as a path that stays in its folder, on Windows too."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or PureWindowsPath(name).drive:
        raise CorruptDownloadError(f"the archive has a file called {name!r}, which would lie elsewhere")
    return path


def _rows(lines: Iterable[bytes], where: str) -> Iterator[DatasetRow]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield DatasetRow.model_validate_json(line)
        except ValidationError as error:
            raise CorruptDownloadError(f"{where}, line {number}, is no row of a data set") from error
