"""What the endpoints work with, opened once a process."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, closing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import anyio
from fastapi import Depends
from fastapi.concurrency import run_in_threadpool
from redis import Redis
from starlette.requests import Request

from service import access
from service.access import Gate
from service.changes import Changes
from service.images.decoders import LoadedProcess
from service.images.door import Door
from service.images.folders import sweep
from service.problems import busy
from service.settings import ServiceSettings
from service.store.connection import QueueUnavailableError, connect_redis
from service.store.idempotency import Reservations
from service.store.identity import Identity
from service.store.jobs import Jobs
from service.store.opening import open_storage
from service.store.readings import Readings
from service.store.registry import Registry
from service.store.storage import Storage
from service.telemetry.jobs import count_final
from service.telemetry.metrics import Metrics

PROBE_TIMEOUT_S = 1.0
_CONFIRMED_S = 10.0
"""How long storage counts as confirmed, so that requests do not all ask."""


@dataclass(frozen=True)
class Resources:
    """Storage, queue, gate and door of this process."""

    settings: ServiceSettings
    storage: Storage
    jobs: Jobs
    registry: Registry
    reservations: Reservations
    changes: Changes
    door: Door
    gate: Gate
    turns: anyio.Semaphore
    """Requests that may hold decoded images in memory; see `turn`."""
    metrics: Metrics
    """What this process counts."""
    identity: Identity
    """Whether that is the storage which the queue belongs to."""
    probe: Jobs
    """The same jobs over a connection that gives up soon."""
    probe_redis: Redis
    """That connection."""
    readings: Readings
    """What stands in Redis now, over that connection."""
    probe_threads: anyio.CapacityLimiter
    """What health probes may hold, so that hanging ones never take the threads of requests."""

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """One of the places for requests that decode images and keep what came of it until it is stored.

        Raises:
            ProblemError: none came free in time.
        """
        try:
            with anyio.fail_after(self.settings.decode_timeout_s):
                await self.turns.acquire()
        except TimeoutError:
            raise busy() from None
        try:
            yield
        finally:
            self.turns.release()


@asynccontextmanager
async def open_resources(settings: ServiceSettings) -> AsyncIterator[Resources]:
    """Open everything; nothing needs to answer yet, `/readyz` tells when it does."""
    await asyncio.to_thread(sweep, settings.spool_dir)
    storage = open_storage(settings)
    impatient = settings.model_copy(update={"redis_timeout_s": PROBE_TIMEOUT_S})
    changes = Changes()
    async with AsyncExitStack() as held:
        redis = held.enter_context(closing(connect_redis(settings)))
        probe_redis = held.enter_context(closing(connect_redis(impatient)))
        metrics = held.enter_context(closing(Metrics(probe_redis)))
        gate = await held.enter_async_context(aclosing(Gate(settings, storage)))
        loaded = await held.enter_async_context(LoadedProcess()) if sys.platform == "linux" else None
        metrics.start()
        listening = asyncio.create_task(changes.listen(settings))
        yield Resources(
            settings=settings,
            storage=storage,
            jobs=Jobs(redis, storage, settings, on_final=partial(count_final, metrics)),
            registry=Registry(storage),
            reservations=Reservations(redis),
            changes=changes,
            door=Door(
                settings.limits,
                byte_budget=settings.decode_memory_bytes,
                max_children=settings.decode_processes,
                timeout_s=settings.decode_timeout_s,
                folder=settings.spool_dir,
                loaded=loaded,
            ),
            gate=gate,
            turns=anyio.Semaphore(settings.decode_processes),
            metrics=metrics,
            identity=Identity(redis, storage),
            probe=Jobs(probe_redis, storage, settings),
            probe_redis=probe_redis,
            readings=Readings(probe_redis),
            probe_threads=anyio.CapacityLimiter(4),
        )
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening


async def resources(request: Request) -> Resources:
    """A dependency: what this process opened when it started."""
    found: Resources = request.app.state.resources
    return found


Has = Annotated[Resources, Depends(resources)]


async def right_storage(has: Has) -> None:
    """A dependency: nothing is looked for in a storage that is not the queue's, nor written there.

    Raises:
        AnotherStorageError: it is another.
        StorageUnavailableError: it does not say.
    """
    if has.identity.was_confirmed(_CONFIRMED_S):  # most requests need no thread for it
        return
    with suppress(QueueUnavailableError):  # what needs the queue will say so
        await run_in_threadpool(has.identity.confirm, _CONFIRMED_S)


Tenant = Annotated[str, Depends(access.tenant)]
Quota = Annotated[int | None, Depends(access.quota)]
