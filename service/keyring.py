"""API keys as one API process knows them: from storage, and from memory for a short, stated time."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import anyio

from service.store.access import AccessRegistry, KeyRecord, TenantRecord, UnknownKeyError
from service.store.storage import StorageUnavailableError

T = TypeVar("T")

RECORD_AGE_S = 3.0
"""How long a record is believed: a revoked key is refused after so long at most."""
LOOKS_PER_S = 20
"""How often a second an unknown key makes this process list the keys anew, so that a fresh one is known at once.
However many are guessed, storage is asked no more."""
IDS_AGE_S = 1.0
"""How long that list is believed when more unknown keys come."""
OUTAGE_AGE_S = 60.0
"""How long a record is believed while storage does not answer: nobody can revoke a key then either."""
PATIENCE_S = 2.0
"""How long a request waits for news when there is something older to go by."""
MAX_RECORDS = 10_000
"""Keys that are kept in memory; those used longest ago make room."""


@dataclass(frozen=True)
class Entry:
    """A key and its tenant."""

    key: KeyRecord
    tenant: TenantRecord


class KeyRing:
    """Who holds a key. Methods raise `StorageUnavailableError` when storage is away and nothing is known."""

    def __init__(self, registry: AccessRegistry) -> None:
        self._registry = registry
        # Threads of its own: neither do hanging looks take those of requests, nor the other way round.
        self._threads = anyio.CapacityLimiter(4)
        self._ids = _Known(registry.ids, self._threads, outage_age_s=math.inf)
        self._records: dict[str, _Known[Entry | None]] = {}
        self._in_use = False
        self._looks: deque[float] = deque(maxlen=LOOKS_PER_S)

    async def in_use(self) -> bool:
        """Whether there are keys at all. Once seen, they count as there: this process never opens up again."""
        if not self._in_use:
            self._in_use = bool(await self._ids.get(RECORD_AGE_S))
        return self._in_use

    async def find(self, key_id: str) -> Entry | None:
        """The key with this id, and its tenant."""
        if key_id not in self._records and key_id not in await self._ids.get(self._age_for_unknown()):
            return None
        known = self._records.pop(key_id, None)
        if known is None:
            known = _Known(partial(self._load, key_id), self._threads, OUTAGE_AGE_S)
        self._records[key_id] = known  # at the end: the one used last
        if len(self._records) > MAX_RECORDS:
            del self._records[next(iter(self._records))]
        return await known.get(RECORD_AGE_S)

    def _age_for_unknown(self) -> float:
        """How old the list may be that an unknown key is looked up in."""
        now = time.monotonic()
        if len(self._looks) == LOOKS_PER_S and now - self._looks[0] < 1.0:
            return IDS_AGE_S
        self._looks.append(now)
        return 0.0

    def _load(self, key_id: str) -> Entry | None:
        try:
            key = self._registry.get(key_id)
        except UnknownKeyError:
            return None
        return Entry(key, self._registry.tenant(key.tenant))


class _Known(Generic[T]):
    """Something in storage, asked for by one thread at a time, however many requests wait for it."""

    def __init__(self, load: Callable[[], T], threads: anyio.CapacityLimiter, outage_age_s: float) -> None:
        self._load = load
        self._threads = threads
        self._outage_age_s = outage_age_s
        self._value: tuple[T, float] | None = None
        self._loading: asyncio.Task[None] | None = None
        self._spare_until = 0.0

    async def get(self, max_age_s: float) -> T:
        """The value as of ``max_age_s`` ago or later, unless storage is away or slow."""
        now = time.monotonic()
        while True:
            fallback: tuple[T] | None = None
            if self._value is not None:
                value, asked_at = self._value
                usable = now - asked_at <= self._outage_age_s
                if now - asked_at <= max_age_s or (usable and now < self._spare_until):
                    return value
                fallback = (value,) if usable else None
            if self._loading is None:
                self._loading = asyncio.create_task(self._read())
                self._loading.add_done_callback(self._loaded)
            try:
                async with asyncio.timeout(PATIENCE_S if fallback else None):
                    await asyncio.shield(self._loading)
            except (TimeoutError, StorageUnavailableError):
                if fallback is None:
                    raise
                self._spare_until = time.monotonic() + PATIENCE_S
                return fallback[0]

    async def _read(self) -> None:
        asked_at = time.monotonic()
        value = await anyio.to_thread.run_sync(self._load, abandon_on_cancel=True, limiter=self._threads)
        self._value = (value, asked_at)

    def _loaded(self, task: asyncio.Task[None]) -> None:
        self._loading = None
        if not task.cancelled():
            task.exception()  # seen: whoever waited has it too
