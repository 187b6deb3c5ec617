"""The house: its duties, each at its own pace, until it is asked to stop."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from service.store import houses
from service.store.connection import QueueUnavailableError
from service.store.storage import StorageError

if TYPE_CHECKING:
    from redis import Redis

_log = logging.getLogger(__name__)

_BEAT_EVERY_S = 5.0
_TTL_S = 20


@dataclass
class Duty:
    """Something to do again and again."""

    name: str
    every_s: float
    do: Callable[[], object]
    due: float = field(default_factory=time.monotonic)


class House:
    """One house worker. Of several only one does the duties at a time; another takes over when it is gone."""

    def __init__(self, redis: Redis, duties: list[Duty]) -> None:
        self._redis = redis
        self._duties = duties
        self._stopping = threading.Event()
        self._leading = False
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"

    def stop(self) -> None:
        """Stop after what is being done."""
        self._stopping.set()

    def stopping(self) -> bool:
        return self._stopping.is_set()

    def run(self) -> None:
        """Do the duties until asked to stop."""
        beating = threading.Thread(target=self._beat, name="heartbeats", daemon=True)
        beating.start()
        _log.info("house worker %s is ready", self.name)
        while not self._stopping.is_set():
            if self._leads():
                for duty in self._duties:
                    if not self._stopping.is_set() and time.monotonic() >= duty.due:
                        self._do(duty)
            self._stopping.wait(self._pause())
        beating.join()
        self._leave()
        _log.info("house worker %s stopped", self.name)

    def _do(self, duty: Duty) -> None:
        try:
            duty.do()
        except (QueueUnavailableError, StorageError) as error:
            _log.warning("%s: %s; trying again later", duty.name, error)
        except Exception:
            _log.exception("%s failed; trying again later", duty.name)
        duty.due = time.monotonic() + duty.every_s

    def _pause(self) -> float:
        return max(0.05, min([_BEAT_EVERY_S, *(duty.due - time.monotonic() for duty in self._duties)]))

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
