"""What normal images are called, and how masks and metadata refer to them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

from service.samples.limits import MAX_NAME

_SUFFIX = "_mask"


class NormalNames:
    """Names of the normal images in a ZIP.

    Args:
        names: paths in the ZIP.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._by_path: dict[str, list[str]] = {}
        self._by_file: dict[str, list[str]] = {}
        self._by_bare: dict[str, list[str]] = {}
        self._by_stem: dict[str, list[str]] = {}
        for name in names:
            path = _path(name)
            for index, key in (
                (self._by_path, str(path)),
                (self._by_file, path.name),
                (self._by_bare, str(path.with_suffix(""))),
                (self._by_stem, path.stem),
            ):
                index.setdefault(key, []).append(name)

    def named(self, reference: str) -> list[str]:
        """Those that a path in the ZIP, or else a file name, means; several if they are called alike."""
        if len(reference) > MAX_NAME:  # no file is called so, and taking it apart takes long
            return []
        path = str(_path(reference.replace("\\", "/")))
        return self._by_path.get(path) or self._by_file.get(path, [])

    def with_mask(self, name: str) -> list[str]:
        """Those that an image of another ZIP belongs to: of the same path, or else of the same file name.

        Endings do not count, and ``_mask`` before the ending may be there.
        """
        bare = _path(name).with_suffix("")
        for index, key in ((self._by_bare, str(bare)), (self._by_stem, bare.name)):
            found = index.get(key) or index.get(key.removesuffix(_SUFFIX))
            if found:
                return found
        return []


def _path(name: str) -> PurePosixPath:
    """A name as a path, alike however its accents are spelled."""
    return PurePosixPath(unicodedata.normalize("NFC", name))
