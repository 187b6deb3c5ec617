"""What cannot be read, among much that is gone through: it is left aside."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import ResponseError


class Unreadable:
    """What could not be read so far.

    Args:
        log: told of each, once.
        fate: what becomes of it, in words.
    """

    def __init__(self, log: logging.Logger, fate: str) -> None:
        self._log = log
        self._fate = fate
        self._known: set[str] = set()

    @contextmanager
    def aside(self, what: str) -> Iterator[None]:
        """Let one thing that cannot be read not keep the others from being looked at."""
        try:
            yield
        except (ValueError, KeyError, ResponseError) as error:  # not of this format version, or broken
            if what not in self._known:
                self._log.error("%s cannot be read%s: %.200s", what, self._fate, error)
            self._known.add(what)
