"""The time that a shard may take: kept where it is worked on, and heard at each step."""

from __future__ import annotations

import math
import time
from contextvars import ContextVar, Token

from rq.timeouts import BaseDeathPenalty

_ends_at: ContextVar[float] = ContextVar("shard_ends_at", default=math.inf)


class TimeLimit(BaseDeathPenalty):
    """RQ's time limit of a job, of which several run in one process.

    RQ's own limits are an alarm, which only the main thread hears, and an exception thrown into a thread, which
    may hit it anywhere, even where it has just stored an item. `worker.steps.Steps` hears this one.
    """

    _bound: Token[float]

    def setup_death_penalty(self) -> None:
        """Let the time run."""
        self._bound = _ends_at.set(time.monotonic() + self._timeout)

    def cancel_death_penalty(self) -> None:
        """The job is done."""
        _ends_at.reset(self._bound)


def ends_at() -> float:
    """When the time of this thread's shard is up, on the monotonic clock; infinity without a limit."""
    return _ends_at.get()
