"""Files packed into a ZIP whose bytes depend on their names and contents alone."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from flawsmith.client.errors import FlawsmithError, InvalidParameterError
from flawsmith.client.images import ImageFile

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Of every file in a ZIP made here, so that the same files make the same bytes."""
_PACKED = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".webp"})
"""Images that are packed already; of BMP and TIFF, and of outlines, much air goes out."""
_BLOCK_BYTES = 1 << 20


def files_in(folder: Path, endings: Collection[str]) -> Iterator[Path]:
    """The files in ``folder`` and the folders in it that have one of ``endings`` (lower case, with a dot), by
    name; hidden ones are left out."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in endings:
                yield Path(parent, name)


@contextmanager
def sent(
    path: Path, name: str, files: Callable[[Path], Mapping[str, Path]], field: str = ""
) -> Iterator[ImageFile]:
    """What a request sends of ``path``: a file as it is, a folder packed into a temporary ZIP.

    Args:
        name: of that ZIP.
        files: what of a folder goes into it, by the names that they get.
        field: of the request, which errors name first.

    Raises:
        InvalidParameterError: something cannot be read.
        FlawsmithError: there is no room for the ZIP.
    """
    at = f"{field}: " if field else ""
    with reading(path, at):
        folder = files(path) if path.is_dir() else None
        file = path.open("rb") if folder is None else _packed(folder, path, at)
    with file:
        yield ImageFile(path.name if folder is None else name, file)


def _packed(files: Mapping[str, Path], folder: Path, at: str) -> BinaryIO:
    """A temporary ZIP, open at its beginning; it is gone once it is closed."""
    with writing(folder), ExitStack() as held:
        packed = held.enter_context(tempfile.TemporaryFile())
        pack(files, packed, at)
        packed.seek(0)
        held.pop_all()
    return packed


@contextmanager
def reading(path: Path, at: str = "") -> Iterator[None]:
    """Say of which file an `OSError` in the block tells.

    Args:
        path: of the file, unless the error names one.
        at: where it was named, at the beginning of the message.

    Raises:
        InvalidParameterError: there was one.
    """
    try:
        yield
    except OSError as error:
        name = path if error.filename is None else error.filename
        raise InvalidParameterError(f"{at}{name} cannot be read: {error.strerror or error}") from error


@contextmanager
def writing(what: Path) -> Iterator[None]:
    """Say what to do about an `OSError` in the block, where ``what`` is packed into the temporary folder.

    Raises:
        FlawsmithError: there was one.
    """
    try:
        yield
    except OSError as error:
        raise FlawsmithError(
            f"no room in {tempfile.tempdir or 'the temporary folder'} to pack {what} ({error.strerror or error}); "
            "make room, set TMPDIR, or send a ZIP"
        ) from error


def pack(files: Mapping[str, Path], target: BinaryIO, at: str = "") -> None:
    """Write ``files``, paths by the names that they get, as a ZIP in this order.

    Args:
        at: where they were named, at the beginning of a message.

    Raises:
        InvalidParameterError: one of them cannot be read.
        OSError: the ZIP cannot be written.
    """
    with zipfile.ZipFile(target, "w") as archive:
        for name, path in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            is_packed = path.suffix.lower() in _PACKED
            entry.compress_type = zipfile.ZIP_STORED if is_packed else zipfile.ZIP_DEFLATED
            with reading(path, at):
                entry.file_size = path.stat().st_size
                source = path.open("rb")
            with source, archive.open(entry, "w") as packed:
                while block := _block(source, path, at):
                    packed.write(block)


def _block(source: BinaryIO, path: Path, at: str) -> bytes:
    with reading(path, at):
        return source.read(_BLOCK_BYTES)
