"""`/healthz` and `/readyz`."""

from __future__ import annotations

from typing import Literal

from flawsmith.contract.base import Answer


class Health(Answer):
    status: Literal["ok"]
    version: str


class Readiness(Answer):
    """Ready means: a request sent now would be accepted; without a live worker it waits for one."""

    ready: bool
    queue: Literal["ok", "unreachable"]
    storage: Literal["ok", "unreachable", "another"]
    """`another`: not the one that the queue belongs to; perhaps its disk is not mounted."""
    workers: int
    """Live compute workers."""
    house_workers: int = 0
    """Live house workers; jobs are worked on without one."""
    defect_types: int
