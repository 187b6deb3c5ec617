"""What is being worked on: the ids that every log line of a request, a shard or an item carries."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

FIELDS = ("request_id", "trace_id", "tenant", "job_id", "shard", "item")
"""What may be bound, in the order in which lines show it."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

_bound: ContextVar[Mapping[str, str | int]] = ContextVar("flawsmith_context", default={})  # noqa: B039 - never changed


def fields() -> Mapping[str, str | int]:
    """What is bound here and now."""
    return _bound.get()


def bind(**values: str | int | None) -> None:
    """Bind from here to the end of the enclosing `bound`; None takes a binding away."""
    unknown = values.keys() - set(FIELDS)
    if unknown:
        raise ValueError(f"no field of a log line: {', '.join(sorted(unknown))}")
    merged = {**_bound.get(), **values}
    _bound.set({name: value for name in FIELDS if (value := merged.get(name)) is not None})


@contextmanager
def bound(**values: str | int | None) -> Iterator[None]:
    """Bind while the block runs; what the block binds itself ends with it."""
    token = _bound.set(_bound.get())
    try:
        bind(**values)
        yield
    finally:
        _bound.reset(token)


def request_id() -> str | None:
    """The id of the HTTP request that this work is for."""
    found = _bound.get().get("request_id")
    return None if found is None else str(found)


def new_request_id() -> str:
    """A fresh request id: 96 random bits."""
    return f"req_{secrets.token_hex(12)}"


def is_request_id(text: str) -> bool:
    """Whether a client's own request id may be taken over: up to 64 letters, digits, ``.``, ``_``, ``-``."""
    return _REQUEST_ID.fullmatch(text) is not None
