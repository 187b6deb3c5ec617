"""What happens at each denoising step: progress is shown, and a wish to stop is heard."""

from __future__ import annotations

import time
from collections.abc import Callable

from service.store.connection import QueueUnavailableError
from service.store.jobs import Jobs
from service.telemetry import catalog
from service.telemetry.metrics import Metrics

_ASK_EVERY_S = 0.02
_SHOW_EVERY_S = 0.1
_OUTAGE_PAUSE_S = 5.0


class StoppingError(Exception):
    """The worker is to stop."""


class JobCanceledError(Exception):
    """The job was canceled, or has ended otherwise."""


class Steps:
    """Steps of one shard.

    Args:
        stopping: whether the worker is to stop.
        items: how many items are to be drawn.
        metrics: where the time of steps is counted.
    """

    def __init__(
        self,
        jobs: Jobs,
        tenant: str,
        job_id: str,
        stopping: Callable[[], bool],
        items: int,
        metrics: Metrics,
    ) -> None:
        self._jobs = jobs
        self._tenant = tenant
        self._job_id = job_id
        self._stopping = stopping
        self._items = items
        self._metrics = metrics
        self._ask_at = self._show_at = 0.0

    def of(self, first: int, count: int) -> Callable[[int, int], None]:
        """The ``on_step`` of ``count`` items, drawn together after ``first`` others.

        It raises `StoppingError` or `JobCanceledError` to end the work.
        """
        before: float | None = None

        def on_step(done: int, total: int) -> None:
            nonlocal before
            now = time.monotonic()
            if before is not None:  # ahead of the first one images are prepared
                self._metrics.observe(catalog.STEP, now - before)
            before = now
            self.take((first + count * done / max(total, 1)) / self._items)

        return on_step

    def take(self, share: float) -> None:
        """Show that ``share`` of the shard is done, 0–1, and hear whether to stop.

        Raises:
            StoppingError: the worker is to stop.
            JobCanceledError: the job was canceled, or has ended otherwise.
        """
        if self._stopping():
            raise StoppingError
        now = time.monotonic()
        try:
            if now >= self._ask_at:
                self._ask_at = now + _ASK_EVERY_S
                if self._jobs.cancel_requested(self._tenant, self._job_id):
                    raise JobCanceledError
            if now >= self._show_at:
                self._show_at = now + _SHOW_EVERY_S
                self._jobs.progress(self._tenant, self._job_id, share)
        except QueueUnavailableError:
            # The work is not lost as long as the item can be stored in the end.
            self._ask_at = self._show_at = time.monotonic() + _OUTAGE_PAUSE_S
