"""Hearing that something happened to a job: one subscription a process, however many wait.

A message that is lost, with Redis or on the way, only delays: who waits looks for himself from time to time.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from redis.asyncio import Redis
from redis.exceptions import RedisError

from service.store.records import CHANGES
from service.store.settings import StoreSettings

LOOK_EVERY_S = 2.0
"""How long a change may go unheard."""
_RECONNECT_S = 1.0


class Changes:
    """Who waits for which job."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self.closing = asyncio.Event()
        """Set when the process is to end: nobody should wait any longer."""

    @asynccontextmanager
    async def of(self, job_id: str) -> AsyncIterator[Ear]:
        """Listen to one job while the block runs; what happens from now on is heard."""
        event = asyncio.Event()
        self._waiting[job_id].add(event)
        try:
            yield Ear(event)
        finally:
            self._waiting[job_id].discard(event)
            if not self._waiting[job_id]:
                del self._waiting[job_id]

    def close(self) -> None:
        """Wake all who wait, because the process ends."""
        self.closing.set()
        for job_id in list(self._waiting):
            self._tell(job_id)

    async def listen(self, settings: StoreSettings) -> None:
        """Pass on what Redis says, until canceled."""
        async with Redis.from_url(settings.redis_url, socket_connect_timeout=settings.redis_timeout_s) as redis:
            while True:
                with suppress(RedisError, OSError):
                    async with redis.pubsub() as subscription:
                        await subscription.subscribe(CHANGES)
                        async for message in subscription.listen():
                            if message["type"] == "message":
                                self._tell(message["data"].decode(errors="replace"))
                await asyncio.sleep(_RECONNECT_S)

    def _tell(self, job_id: str) -> None:
        for event in self._waiting.get(job_id, ()):
            event.set()


class Ear:
    """What one listener hears."""

    def __init__(self, event: asyncio.Event) -> None:
        self._event = event

    async def wait(self, timeout_s: float) -> None:
        """Return when something has happened since the last call, or when it is time to look anyway."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), min(timeout_s, LOOK_EVERY_S))
        self._event.clear()
