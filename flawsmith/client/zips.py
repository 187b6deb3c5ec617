"""Files packed into a ZIP whose bytes depend on their names and contents alone."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from flawsmith.client.errors import InvalidParameterError
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
    """
    try:
        if path.is_dir():
            found = files(path)
            with tempfile.TemporaryFile() as packed:
                pack(found, packed)
                packed.seek(0)
                yield ImageFile(name, packed)
        else:
            with path.open("rb") as file:
                yield ImageFile(path.name, file)
    except OSError as error:
        if error.filename is None:
            raise
        at = f"{field}: " if field else ""
        raise InvalidParameterError(f"{at}{error.filename} cannot be read: {error.strerror or error}") from error


def pack(files: Mapping[str, Path], target: BinaryIO) -> None:
    """Write ``files``, paths by the names that they get, as a ZIP in this order.

    Raises:
        OSError: one of them cannot be read.
    """
    with zipfile.ZipFile(target, "w") as archive:
        for name, path in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            is_packed = path.suffix.lower() in _PACKED
            entry.compress_type = zipfile.ZIP_STORED if is_packed else zipfile.ZIP_DEFLATED
            entry.file_size = path.stat().st_size
            with path.open("rb") as source, archive.open(entry, "w") as packed:
                while block := source.read(_BLOCK_BYTES):
                    packed.write(block)
