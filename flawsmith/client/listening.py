"""Listening to a job's events, over as many connections as it takes."""

from __future__ import annotations

import time
from typing import Any

import httpx
from httpx_sse import ServerSentEvent
from pydantic import ValidationError

from flawsmith.client import calls
from flawsmith.client.calls import Call
from flawsmith.client.connection import Connection
from flawsmith.client.errors import FlawsmithError
from flawsmith.client.retries import FIRST, PATIENT
from flawsmith.contract.events import JobEvent
from flawsmith.contract.jobs import Item, Job

SILENCE_S = 45.0
"""The service breaks its silence each quarter of a minute; a connection that is silent for longer is dead."""
BETWEEN_CONNECTIONS_S = 1.0


class Listener:
    """Where one listener stands: what it heard last, and how often it failed to hear anything since."""

    def __init__(self, connection: Connection, job_id: str) -> None:
        self._connection = connection
        self._call: Call[None] = Call("GET", calls.events_path(job_id), lambda answer: None, repeatable=True)
        self._last: str | None = None
        self._failures = 0
        self._failing_since = 0.0
        self._has_heard = False
        self.done = False
        """The job's last event was heard."""

    def arguments(self) -> dict[str, Any]:
        """For ``stream`` of either httpx client."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": self._last} if self._last else {})
        return {
            "method": "GET",
            "url": self._call.path,
            "headers": headers,
            "timeout": httpx.Timeout(SILENCE_S, connect=self._connection.connect_timeout),
        }

    def take(self, event: ServerSentEvent) -> JobEvent | None:
        """What was heard; None for what a later service may say.

        Raises:
            FlawsmithError: what speaks there is no Flawsmith service.
        """
        self._failures = 0
        self._has_heard = True
        self._last = event.id or self._last
        try:
            if event.event == "item":
                return JobEvent(kind="item", id=event.id or None, item=Item.model_validate_json(event.data))
            if event.event not in ("status", "progress"):
                return None
            job = Job.model_validate_json(event.data)
        except ValidationError as error:
            raise FlawsmithError(f"{self._connection.url} told an event that is not Flawsmith's") from error
        found = JobEvent.model_validate({"kind": event.event, "id": event.id or None, "job": job})
        self.done = found.is_last
        return found

    def pause(self, outcome: httpx.Response | httpx.RequestError | None) -> float:
        """Seconds until the next connection, after one that ended (None), was refused or broke.

        Raises:
            FlawsmithError: it is of no use to try again.
        """
        if outcome is None:
            return BETWEEN_CONNECTIONS_S
        if self._failures == 0:
            self._failing_since = time.monotonic()
        since_s = time.monotonic() - self._failing_since
        pause = (PATIENT if self._has_heard else FIRST).pause(self._call, self._failures, outcome, since_s)
        self._failures += 1
        if pause is None:
            self._connection.result(self._call, outcome)
        return pause or BETWEEN_CONNECTIONS_S
