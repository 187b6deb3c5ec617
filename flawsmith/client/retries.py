"""When a request is sent again, and after which pause."""

from __future__ import annotations

import math
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

    limit: float = 3
    patience_s: float = math.inf
    """Seconds after the first try at which the last one is made."""
    through_proxies: bool = False
    """Whether a proxy's word that nobody answers behind it (502, 504) is taken for a connection that broke."""

    def pause(
        self, call: Call[T], attempt: int, outcome: httpx.Response | httpx.RequestError, since_s: float = 0.0
    ) -> float | None:
        """Seconds to wait before sending ``call`` again after its ``attempt``-th outcome (from 0); None ends it.

        A call that is not repeatable is sent again only if the service cannot have taken it: nobody answered
        the connection, or the service said that it takes no work now (503), no more of it (429), or that the same
        is still at work (409 under an ``Idempotency-Key``).

        Args:
            since_s: seconds since the first try.
        """
        pause = self._wanted(call, attempt, outcome)
        if pause is None or attempt >= self.limit or since_s >= self.patience_s:
            return None
        return min(pause, self.patience_s - since_s)

    def _wanted(self, call: Call[T], attempt: int, outcome: httpx.Response | httpx.RequestError) -> float | None:
        if isinstance(outcome, httpx.Response):
            if outcome.status_code in call.accepted:
                return None
            if _asks_to_come_back(outcome):
                return _retry_after(outcome) or _growing(attempt)
            broke = self.through_proxies and call.repeatable and _is_of_proxy(outcome)
            return _growing(attempt) if broke else None
        never_arrived = isinstance(outcome, httpx.ConnectError | httpx.ConnectTimeout)
        return _growing(attempt) if call.repeatable or never_arrived else None


FIRST = Retries(10, through_proxies=True)
"""For the first look of a wait: half a minute, for there may be no service at all."""
PATIENT = Retries(math.inf, patience_s=300.0, through_proxies=True)
"""For the later ones: jobs outlive a restart of the service, and of its computer, so the wait should too."""


def _asks_to_come_back(answer: httpx.Response) -> bool:
    if answer.status_code == httpx.codes.CONFLICT:
        return "retry-after" in answer.headers
    return answer.status_code in (httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.TOO_MANY_REQUESTS)


def _is_of_proxy(answer: httpx.Response) -> bool:
    """Whether a proxy says that it had no answer, and not the service."""
    is_problem = answer.headers.get("content-type", "").startswith("application/problem+json")
    return answer.status_code in (httpx.codes.BAD_GATEWAY, httpx.codes.GATEWAY_TIMEOUT) and not is_problem


def _growing(attempt: int) -> float:
    return float(min(0.25 * 2**attempt, MAX_GROWN_PAUSE_S) * random.uniform(0.8, 1.2))


def _retry_after(answer: httpx.Response) -> float | None:
    seconds = answer.headers.get("retry-after", "")
    return min(float(seconds), MAX_PAUSE_S) if seconds.isdecimal() else None
