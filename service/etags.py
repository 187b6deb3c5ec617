"""Conditions on the copy that a client has: ``If-Match``, ``If-None-Match`` and ``If-Range`` of RFC 9110."""

from __future__ import annotations

from enum import Enum, auto

from starlette.datastructures import Headers


class Verdict(Enum):
    """What the conditions of a request say about the file."""

    SEND = auto()
    NOT_MODIFIED = auto()
    """The client has it already: 304."""
    FAILED = auto()
    """The client wants another one than there is: 412."""


def judge(headers: Headers, etag: str) -> Verdict:
    """Hold a request for the file whose strong entity tag is ``etag``, quotes included, against its conditions."""
    if "if-match" in headers and not _names(headers.getlist("if-match"), etag, weak=False):
        return Verdict.FAILED
    if _names(headers.getlist("if-none-match"), etag, weak=True):
        return Verdict.NOT_MODIFIED
    return Verdict.SEND


def range_holds(headers: Headers, etag: str) -> bool:
    """Whether a ``Range`` is to be heeded: not if ``If-Range`` names another file than there is.

    A date names none, for files have entity tags only.
    """
    return headers.get("if-range", etag).strip() == etag


def _names(values: list[str], etag: str, *, weak: bool) -> bool:
    tags = [tag.strip() for tag in ",".join(values).split(",")]
    return "*" in tags or etag in tags or (weak and f"W/{etag}" in tags)
