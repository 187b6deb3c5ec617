"""When a request is sent again, and after which pause."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TypeVar

import httpx

from flawsmith.client.calls import Call

T = TypeVar("T")

MAX_PAUSE_S = 30.0
"""However long a Retry-After asks for: better an error that says so than a client that seems to hang."""
MAX_GROWN_PAUSE_S = 5.0


@dataclass(frozen=True)
class Retries:
    """A bounded number of retries with growing pauses."""

    limit: int = 3

    def pause(self, call: Call[T], attempt: int, outcome: httpx.Response | httpx.RequestError) -> float | None:
        """Seconds to wait before sending ``call`` again after its ``attempt``-th outcome (from 0); None ends it.

        A call that is not repeatable is sent again only if the service cannot have taken it: nobody answered
        the connection, or the service said that it takes no work now (503), no more of it (429), or that the same
        is still at work (409 under an ``Idempotency-Key``).
        """
        if attempt >= self.limit:
            return None
        if isinstance(outcome, httpx.Response):
            if outcome.status_code in call.accepted or not _asks_to_come_back(outcome):
                return None
            return _retry_after(outcome) or _growing(attempt)
        never_arrived = isinstance(outcome, httpx.ConnectError | httpx.ConnectTimeout)
        return _growing(attempt) if call.repeatable or never_arrived else None


PATIENT = Retries(10)
"""For the looks of a long wait: jobs outlive a restart of the service, so the wait should too."""


def _asks_to_come_back(answer: httpx.Response) -> bool:
    if answer.status_code == httpx.codes.CONFLICT:
        return "retry-after" in answer.headers
    return answer.status_code in (httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.TOO_MANY_REQUESTS)


def _growing(attempt: int) -> float:
    return float(min(0.25 * 2**attempt, MAX_GROWN_PAUSE_S) * random.uniform(0.8, 1.2))


def _retry_after(answer: httpx.Response) -> float | None:
    seconds = answer.headers.get("retry-after", "")
    return min(float(seconds), MAX_PAUSE_S) if seconds.isdecimal() else None
