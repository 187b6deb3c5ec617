"""Waiting for a job by asking again and again, with pauses that grow."""

from __future__ import annotations

import time
from collections.abc import Callable

from flawsmith.client.errors import JobFailedError, JobTimeoutError
from flawsmith.contract.jobs import Job, JobStatus

FIRST_PAUSE_S = 0.2
LAST_PAUSE_S = 2.0

ProgressCallback = Callable[[Job], None]


class Watch:
    """One wait: reports what it sees and says how long to pause until the next look."""

    def __init__(self, timeout: float | None, on_progress: ProgressCallback | None, check: bool) -> None:
        self._timeout = timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._on_progress = on_progress
        self._check = check
        self._pause = FIRST_PAUSE_S

    def look(self, job: Job) -> float | None:
        """Seconds until the next look; None if ``job`` is final.

        Raises:
            JobFailedError: the job failed, and the wait was to check that.
            JobTimeoutError: the time is over.
        """
        if self._on_progress is not None:
            self._on_progress(job)
        if job.status.is_final:
            if self._check and job.status is JobStatus.FAILED:
                raise JobFailedError(job)
            return None
        left = LAST_PAUSE_S if self._deadline is None else self._deadline - time.monotonic()
        if left <= 0 and self._timeout is not None:
            raise JobTimeoutError(job, self._timeout)
        pause = min(self._pause, left)
        self._pause = min(self._pause * 1.5, LAST_PAUSE_S)
        return pause
