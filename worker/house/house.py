"""The house: its duties, each at its own pace and in its own thread, until it is asked to stop."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from service.store import houses
from service.store.connection import QueueUnavailableError
from service.store.storage import StorageError

if TYPE_CHECKING:
    from redis import Redis

_log = logging.getLogger(__name__)

_BEAT_EVERY_S = 5.0
_LOOK_EVERY_S = 1.0
"""How often one looks whether another house still has the duties."""
_TTL_S = 20


@dataclass
class Duty:
    """Something to do again and again."""

    name: str
    every_s: float
    do: Callable[[], object]
    due: float = field(default_factory=time.monotonic)


class House:
    """One house worker. Of several only one does the duties at a time; another takes over when it is gone.

    Args:
        before: called before a duty is done; if it fails, so does the duty.
    """

    def __init__(self, redis: Redis, duties: list[Duty], before: Callable[[], object] = lambda: None) -> None:
        self._redis = redis
        self._duties = duties
        self._before = before
        self._stopping = threading.Event()
        self._leading = False
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"

    def stop(self) -> None:
        """Stop after what is being done."""
        self._stopping.set()

    def stopping(self) -> bool:
        return self._stopping.is_set()

    def run(self) -> None:
        """Do the duties until asked to stop; one that takes hours keeps no other from being done."""
        beating = threading.Thread(target=self._beat, name="heartbeats", daemon=True)
        beating.start()
        _log.info("house worker %s is ready", self.name)
        with ThreadPoolExecutor(len(self._duties), "duty") as threads:
            keeping = [threads.submit(self._keep, duty) for duty in self._duties]
            wait(keeping, return_when=FIRST_EXCEPTION)
            self.stop()
        beating.join()
        self._leave()
        for kept in keeping:
            kept.result()
        _log.info("house worker %s stopped", self.name)

    def _keep(self, duty: Duty) -> None:
        """Do a duty whenever it is due and this house has the duties, until asked to stop."""
        while not self._stopping.is_set():
            pause = _LOOK_EVERY_S
            if self._leads():
                if time.monotonic() >= duty.due:
                    self._do(duty)
                pause = min(_BEAT_EVERY_S, max(0.0, duty.due - time.monotonic()))
            self._stopping.wait(pause)

    def _do(self, duty: Duty) -> None:
        try:
            self._before()
            duty.do()
        except (QueueUnavailableError, StorageError) as error:
            _log.warning("%s: %s; trying again later", duty.name, error)
        except Exception:
            _log.exception("%s failed; trying again later", duty.name)
        duty.due = time.monotonic() + duty.every_s

    def _leads(self) -> bool:
        try:
            self._leading = houses.lead(self._redis, self.name, _TTL_S)
        except QueueUnavailableError as error:
            _log.warning("the queue does not answer; trying again: %s", error)
            self._leading = False
        return self._leading

    def _beat(self) -> None:
        """Be known as alive, also while a duty takes its time."""
        while True:
            try:
                houses.beat(self._redis, self.name, _TTL_S)
                if self._leading:
                    houses.lead(self._redis, self.name, _TTL_S)
            except QueueUnavailableError as error:
                _log.warning("no heartbeat: %s", error)
            if self._stopping.wait(_BEAT_EVERY_S):
                return

    def _leave(self) -> None:
        try:
            houses.leave(self._redis, self.name)
        except QueueUnavailableError as error:
            _log.warning("the queue did not hear that house worker %s stops: %s", self.name, error)
