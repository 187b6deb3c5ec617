"""Shards at work in one process: how many there may be, and which one must be alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_STORING = 2
"""Shards at work at most beyond those that are drawn and those of a next batch, all of single rows: of others what
was drawn is still being stored."""
_PIXELS = 100_000_000
"""Of the images of all shards at work, beyond which no further one is taken: a large image has no company."""


class Member:
    """A shard at work. Until it has said what it expects, no further one is taken."""

    def __init__(self, changed: threading.Condition, others: Callable[[Member], list[Member]]) -> None:
        self._changed = changed
        self._others = others
        self.rows: int | None = None
        self.pixels = 0
        self.waits = self.alone = False

    def expect(self, rows: int) -> None:
        """Say how many rows of model calls the shard is going to ask for."""
        with self._changed:
            self.rows = rows
            self._changed.notify_all()

    def hold(self, pixels: int) -> None:
        """An image of so many pixels, times channels, is in memory for the shard."""
        self.pixels = max(self.pixels, pixels)

    def begin(self, rows: int) -> None:
        """So many of the rows are being drawn, or are not needed: the next batch has room for those of others."""
        with self._changed:
            self.rows = max(0, (self.rows or 0) - rows)
            self._changed.notify_all()

    def rest(self) -> None:
        """Ask for nothing any more, and let others in."""
        with self._changed:
            self.rows, self.alone = 0, False
            self._changed.notify_all()

    def be_alone(self, patience_s: float = 0.0) -> bool:
        """Whether no other shard is at work, nor will be before this one has ended or rests.

        Args:
            patience_s: how long others are given to end; while this one waits, no further one is taken.
        """
        with self._changed:
            self.waits = True
            self.alone = self._changed.wait_for(self._others_wait, patience_s)
            self.waits = not self.alone
            return self.alone

    def _others_wait(self) -> bool:
        return all(other.waits for other in self._others(self))


class Company:
    """The shards at work in this process; any thread may ask.

    Args:
        batch_shape: tells the rows of a model call.
        lanes: batches that are drawn at a time.
    """

    def __init__(self, batch_shape: Callable[[], int] = lambda: 1, lanes: int = 1) -> None:
        self._batch_shape = batch_shape
        self._lanes = lanes
        self._changed = threading.Condition()
        self._members: list[Member] = []

    def enter(self) -> Member:
        """A shard begins; it is at work until it leaves."""
        member = Member(self._changed, self._besides)
        with self._changed:
            self._members.append(member)
        return member

    def leave(self, member: Member) -> None:
        """A shard has ended."""
        with self._changed:
            self._members.remove(member)
            self._changed.notify_all()

    @property
    def rows(self) -> int:
        """Rows of model calls that are drawn at a time."""
        return self._lanes * self._batch_shape()

    @property
    def empty(self) -> bool:
        """Whether no shard is at work."""
        return not self._members

    def has_room(self) -> bool:
        """Whether a further shard may be taken: what is asked for and not being drawn yet fills no batch."""
        with self._changed:
            asked = [member.rows for member in self._members]
            if any(rows is None for rows in asked) or any(one.alone or one.waits for one in self._members):
                return False
            if sum(one.pixels for one in self._members) > _PIXELS:
                return False
            batch = self._batch_shape()
            return len(asked) < self.rows + batch + _STORING and sum(rows or 0 for rows in asked) < batch

    def wait(self, seconds: float) -> None:
        """Wait for something to change."""
        with self._changed:
            self._changed.wait(seconds)

    @contextmanager
    def member(self) -> Iterator[Member]:
        """The member that this thread works for; where there is none, one for the block."""
        present = _present.get()
        if present is not None:
            yield present
            return
        member = self.enter()
        try:
            with self.working_for(member):
                yield member
        finally:
            self.leave(member)

    @contextmanager
    def working_for(self, member: Member) -> Iterator[None]:
        """This thread works for a member while the block runs."""
        token = _present.set(member)
        try:
            yield
        finally:
            _present.reset(token)

    def _besides(self, member: Member) -> list[Member]:
        return [other for other in self._members if other is not member]


_present: ContextVar[Member | None] = ContextVar("member", default=None)
