"""The watchdog: finds work that lost its place, and puts it back."""

from __future__ import annotations

import logging

from service.store.mending import Mender
from worker.house.settings import HouseSettings

_log = logging.getLogger(__name__)


class Watchdog:
    """Raises `QueueUnavailableError` and storage errors."""

    def __init__(self, mender: Mender, settings: HouseSettings) -> None:
        self._mender = mender
        self._settings = settings

    def look(self) -> None:
        """Look once, at everything if Redis is new or was emptied."""
        if not self._mender.redis_remembers():
            _log.warning("Redis is new or was emptied; looking at all jobs in storage")
            found = self._mender.rebuild()
            _log.warning("Redis was filled from storage: %s", found)
        elif found := self._mender.recover_recent(self._settings.watch_recent_s):
            _log.warning("mended: %s", found)
        if found := self._mender.mend_open():
            _log.warning("mended: %s", found)
        if found := self._mender.forget_deleted():
            _log.warning("mended: %s", found)
