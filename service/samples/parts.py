"""Which part a photo shows, told from its name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

_WILD = re.compile(r"\{part\}|\*")


class PartError(ValueError):
    """A photo's name does not fit the pattern."""


def parts_of(pattern: str, names: Iterable[str]) -> list[str]:
    """The part that each photo shows.

    Args:
        pattern: a `PartPattern`.
        names: paths of photos within their set.

    Raises:
        PartError: one does not fit; says which.
    """
    fitting, depth = _compiled(_composed(pattern)), pattern.count("/") + 1
    found = []
    for name in names:
        match = fitting.fullmatch("/".join(PurePosixPath(_composed(name)).with_suffix("").parts[-depth:]))
        if match is None:
            raise PartError(f"{name!r} does not fit {pattern!r}")
        found.append(match["part"])
    return found


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _compiled(pattern: str) -> re.Pattern[str]:
    """A text is found where it comes first, and is not looked for again: no name takes long."""
    begins, *texts = _WILD.split(pattern)
    found = re.escape(begins)
    for number, (wild, text) in enumerate(zip(_WILD.findall(pattern), texts, strict=True), start=1):
        any_ = "(?P<part>[^/]+{})" if wild == "{part}" else "[^/]*{}"
        if number < len(texts):
            found += f"(?>{any_.format('?')}{re.escape(text)})"
        else:
            found += any_.format("") + re.escape(text)
    return re.compile(found)
