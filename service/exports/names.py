"""What the files of a data set are called in its archive: ASCII, safe on every system."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from flawsmith.contract.specs import DatasetFormat, DatasetItemKind, Split

_STRANGE = re.compile(r"[^A-Za-z0-9._+-]+")
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_LONGEST = 100
_GOOD = "good"
_READ_AS_GOOD = frozenset({_GOOD, "ok", "normal", "normals"})
"""Folders that readers of MVTec's layout take for good parts."""


def safe(name: str) -> str:
    """``name`` if it can be that of a file anywhere, else one like it that no other name becomes.

    Letters, digits, ``.``, ``_``, ``+``, ``-``; at most 100 characters; no dot at either end, and no device of
    Windows. What is changed gets eight hex digits of the digest of what it was.
    """
    clean = _STRANGE.sub("-", name).strip(".")[:_LONGEST].rstrip(".")
    if clean == name and clean and not _RESERVED.fullmatch(clean):
        return clean
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{clean[: _LONGEST - 9].rstrip('.').replace('.', '-')}-{digest}".lstrip("-")


class Unique:
    """Names that were given away; the case of letters tells no two files apart on some systems."""

    def __init__(self) -> None:
        self._taken: set[bytes] = set()

    def name(self, wanted: str, index: int) -> str:
        """``wanted``, with the index of its item behind it if another one is called so."""
        while not self._take(wanted):
            wanted = f"{wanted[: _LONGEST - 12]}-{index}"
        return wanted

    def _take(self, name: str) -> bool:
        digest = hashlib.blake2b(name.lower().encode(), digest_size=10).digest()
        if digest in self._taken:
            return False
        self._taken.add(digest)
        return True


def together(names: Sequence[str]) -> str:
    """``dent+scratch``: one name for several types, at most 100 characters."""
    return safe("+".join(names))


def label(names: Sequence[str]) -> str:
    """What an image shows, in a word: its types, or ``good``."""
    return together(names) if names else _GOOD


def mvtec_folder(category: str, kind: DatasetItemKind, split: Split, names: Sequence[str]) -> str:
    """``mvtec/parts/test/scratch``: the folder of an image in MVTec's layout.

    Args:
        names: of its types, each once, in order of class numbers; none of good parts.
    """
    side = "train" if kind == "normal" and split == "train" else "test"
    return f"mvtec/{category}/{side}/{mvtec_class(names)}"


def mvtec_class(names: Sequence[str]) -> str:
    """Folder of those that show the same types; a type that is called like good parts are gets another one."""
    found = label(names)
    return f"{found}-defect" if names and found in _READ_AS_GOOD else found


def mvtec_stem(stem: str) -> str:
    """``1f3a9c02-part-1``: what a file is called there.

    Anomalib joins images and masks by their places in two sorted lists. ``1.png`` comes before ``10.png``, and
    ``10_mask.png`` before ``1_mask.png``: of digits in front, as many everywhere, both lists have the same order.
    """
    return f"{hashlib.sha256(stem.encode()).hexdigest()[:8]}-{stem}"


def image_file(
    formats: Sequence[DatasetFormat],
    category: str,
    kind: DatasetItemKind,
    split: Split,
    names: Sequence[str],
    stem: str,
    suffix: str,
) -> str:
    """Where the image of an item lies: in the folder that formats share, or where MVTec's layout has it."""
    shared = any(one != "mvtec" for one in formats)
    if shared:
        return f"images/{split}/{stem}.{suffix}"
    return f"{mvtec_folder(category, kind, split, names)}/{mvtec_stem(stem)}.{suffix}"
