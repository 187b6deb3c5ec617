"""Waiting for a job: the service answers when it is final, or when it is time to look again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from flawsmith.client.errors import JobFailedError, JobTimeoutError
from flawsmith.client.retries import FIRST, PATIENT, Retries
from flawsmith.contract.jobs import Job, JobStatus

LONGEST_WAIT_S = 20.0
"""Of one request; proxies end those that are silent for longer."""
WATCHED_WAIT_S = 0.5
"""Of one request, where somebody wants to see progress."""

ProgressCallback = Callable[[Job], None]


class Watch:
    """One wait: reports what it sees and says how long the service may take for its next answer.

    Args:
        timeout: seconds that the wait may take; None for as long as it takes.
        answer_timeout: seconds after which the connection gives an answer up.
    """

    def __init__(
        self, timeout: float | None, on_progress: ProgressCallback | None, check: bool, answer_timeout: float
    ) -> None:
        self._timeout = timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._on_progress = on_progress
        self._check = check
        longest = WATCHED_WAIT_S if on_progress is not None else LONGEST_WAIT_S
        self._longest = min(longest, answer_timeout / 2)
        self._has_seen = False

    @property
    def retries(self) -> Retries:
        """How often the next look may be tried; for no longer than the wait may take."""
        retries = PATIENT if self._has_seen else FIRST
        if self._deadline is None:
            return retries
        return replace(retries, patience_s=min(retries.patience_s, self._deadline - time.monotonic()))

    def look(self, job: Job) -> float | None:
        """Seconds that the next look may wait; None if ``job`` is final.

        Raises:
            JobFailedError: the job failed, and the wait was to check that.
            JobTimeoutError: the time is over.
        """
        self._has_seen = True
        if self._on_progress is not None:
            self._on_progress(job)
        if job.status.is_final:
            if self._check and job.status is JobStatus.FAILED:
                raise JobFailedError(job)
            return None
        left = self._longest if self._deadline is None else self._deadline - time.monotonic()
        if left <= 0 and self._timeout is not None:
            raise JobTimeoutError(job, self._timeout)
        return min(self._longest, left)
