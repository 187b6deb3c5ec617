"""Parts of a file: the ``Range`` header of RFC 9110, section 14."""

from __future__ import annotations

import re
from collections.abc import Sequence

_ONE_RANGE = re.compile(r"bytes=[ \t]*([0-9]{0,300})-([0-9]{0,300})[ \t]*", re.IGNORECASE | re.ASCII)


class UnsatisfiableRangeError(Exception):
    """The range lies beyond the end of the file."""


def requested(values: Sequence[str], size: int) -> range | None:
    """The bytes of a file of ``size`` that the ``Range`` headers ask for; None for the whole of it.

    The whole is also the answer to what is malformed and to several ranges at once, as the standard allows: no
    reader of images needs parts in parts.

    Raises:
        UnsatisfiableRangeError: none of the bytes that are asked for exist.
    """
    found = _ONE_RANGE.fullmatch(values[0]) if len(values) == 1 else None
    if found is None:
        return None
    match found[1], found[2]:
        case "", "":
            return None
        case "", length:
            part = range(max(0, size - int(length)), size)
        case first, "":
            part = range(int(first), size)
        case first, last:
            if int(last) < int(first):
                return None
            part = range(int(first), min(int(last) + 1, size))
    if not part:
        raise UnsatisfiableRangeError
    return part
