"""Whose turn it is to call models: of the threads of a worker one at a time."""

from __future__ import annotations

import threading
from types import TracebackType


class Turn:
    """A lock, to be held while models are called; the thread that holds it may take it again.

    Attributes:
        changed: notified whenever a turn ends; whoever waits for something else, too, may notify it of that.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._whose: int | None = None
        self._depth = 0

    @property
    def is_free(self) -> bool:
        """Whether nobody calls models."""
        return self._whose is None

    def __enter__(self) -> None:
        own = threading.get_ident()
        with self.changed:
            self.changed.wait_for(lambda: self._whose in (None, own))
            self._whose = own
            self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self.changed:
            self._depth -= 1
            if not self._depth:
                self._whose = None
                self.changed.notify_all()
