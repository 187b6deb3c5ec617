"""``/healthz`` and ``/readyz``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

import anyio
from fastapi import APIRouter, Response

import flawsmith
from flawsmith.contract.health import Health, Readiness
from flawsmith.contract.ids import DEFAULT_TENANT
from service.resources import Has
from service.store.connection import QueueUnavailableError
from service.store.identity import AnotherStorageError, Identity

router = APIRouter(tags=["health"])

PATIENCE_S = 1.5
"""How long a part may take to answer before it counts as unreachable."""

T = TypeVar("T")


@router.get("/healthz", operation_id="getHealth", summary="Is the process alive?", response_description="It is.")
async def healthz() -> Health:
    """The API process runs. Says nothing about queue, storage and workers; see `/readyz`."""
    return Health(status="ok", version=flawsmith.__version__)


@router.get(
    "/readyz",
    operation_id="getReadiness",
    summary="Would a request be accepted?",
    response_description="It would.",
    responses={503: {"model": Readiness, "description": "Not ready: the body says which part is missing."}},
)
async def readyz(response: Response, has: Has) -> Readiness:
    """Ready: the queue takes what it is told, storage answers and is its own, and a defect type is there to draw.

    Then jobs are accepted, and kept until a compute worker lives, of which `workers` tells beside.
    """
    found: dict[str, int | None] = {}
    storage_found: Literal["ok", "unreachable", "another"] = "unreachable"

    async def ask(name: str, probe: Callable[[], int]) -> None:
        found[name] = await within_patience(probe, has.probe_threads)

    def defect_types() -> int:
        nonlocal storage_found
        has.storage.check()
        try:
            Identity(has.probe_redis, has.storage).confirm()
        except AnotherStorageError:
            storage_found = "another"
            raise
        except QueueUnavailableError:
            pass  # the others say so
        count = len(has.registry.list(DEFAULT_TENANT))
        storage_found = "ok"
        return count

    def workers() -> int:
        has.probe.check()
        return has.probe.workers()

    async with anyio.create_task_group() as group:
        group.start_soon(ask, "workers", workers)
        group.start_soon(ask, "house_workers", has.readings.house_workers)
        group.start_soon(ask, "defect_types", defect_types)
    readiness = Readiness(
        ready=found["workers"] is not None and bool(found["defect_types"]),
        queue="unreachable" if found["workers"] is None else "ok",
        storage=storage_found,
        workers=found["workers"] or 0,
        house_workers=found["house_workers"] or 0,
        defect_types=found["defect_types"] or 0,
    )
    response.status_code = 200 if readiness.ready else 503
    return readiness


async def within_patience(probe: Callable[[], T], limiter: anyio.CapacityLimiter) -> T | None:
    """What ``probe`` found, or None if it failed or did not come back in time.

    A probe that hangs keeps its thread; ``limiter`` bounds how many may.
    """
    try:
        with anyio.fail_after(PATIENCE_S):
            return await anyio.to_thread.run_sync(probe, abandon_on_cancel=True, limiter=limiter)
    except Exception:  # whatever it is, this part does not work
        return None
