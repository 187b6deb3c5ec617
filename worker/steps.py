"""What happens at each denoising step: progress is shown, and a wish to stop is heard."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from rq.timeouts import JobTimeoutException

from service.store.connection import QueueUnavailableError
from service.store.jobs import Jobs
from worker import time_limit

_ASK_EVERY_S = 0.02
_SHOW_EVERY_S = 0.1
_OUTAGE_PAUSE_S = 5.0


class StoppingError(Exception):
    """The worker is to stop."""


class JobCanceledError(Exception):
    """The job was canceled, or has ended otherwise."""


class Steps:
    """Steps of one shard, which has until the time limit of the thread that makes this.

    Args:
        stopping: whether the worker is to stop.
        items: how many items are to be made.

    Attributes:
        ended: why the shard has ended, if it has: nothing that is still at work for it is of any use.
    """

    def __init__(self, jobs: Jobs, tenant: str, job_id: str, stopping: Callable[[], bool], items: int) -> None:
        self._jobs = jobs
        self._tenant = tenant
        self._job_id = job_id
        self._stopping = stopping
        self._items = items
        self._made = 0
        self._counting = threading.Lock()
        self._ends_at = time_limit.ends_at()
        self._ask_at = self._show_at = 0.0
        self.ended: BaseException | None = None

    @property
    def left_s(self) -> float | None:
        """Seconds that are left of the shard's time; None without a limit."""
        return None if self._ends_at == math.inf else max(0.0, self._ends_at - time.monotonic())

    def made(self, items: int) -> None:
        """So many more items are made."""
        with self._counting:
            self._made += items

    def end(self, why: BaseException) -> None:
        """The shard has ended."""
        self.ended = self.ended or why

    def during(self, items: int, share: float, company: int = 1) -> None:
        """As `take`, while so many further items are made, ``share`` of whose steps are done."""
        self.take((self._made + items * share) / self._items, company)

    def take(self, share: float, company: int = 1) -> None:
        """Show that ``share`` of the shard is done, 0–1, and hear whether to stop; as `hear` does."""
        self.hear(company)
        now = time.monotonic()
        if now >= self._show_at:
            self._show_at = now + _SHOW_EVERY_S * company
            try:
                self._jobs.progress(self._tenant, self._job_id, share)
            except QueueUnavailableError:
                self._sit_out()

    def hear(self, company: int = 1) -> None:
        """Hear whether to stop.

        Args:
            company: shards of one batch; each asks the more rarely, for while one asks none is drawn.

        Raises:
            StoppingError: the worker is to stop.
            JobTimeoutException: the shard's time is up.
            JobCanceledError: the job was canceled, or has ended otherwise.
        """
        if self._stopping():
            raise StoppingError
        now = time.monotonic()
        if now >= self._ends_at:
            raise JobTimeoutException("the shard took longer than it may; see FLAWSMITH_SHARD_TIMEOUT_S")
        if now >= self._ask_at:
            self._ask_at = now + _ASK_EVERY_S * company
            try:
                if self._jobs.cancel_requested(self._tenant, self._job_id):
                    raise JobCanceledError
            except QueueUnavailableError:
                self._sit_out()

    def _sit_out(self) -> None:
        """The work is not lost as long as the item can be stored in the end."""
        self._ask_at = self._show_at = time.monotonic() + _OUTAGE_PAUSE_S
