"""Simulated workers until the machine is full."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Any

from bench.service import cpu, figures
from bench.service.crew import simulated
from bench.service.wishes import Wish, finished
from bench.stack import Stack
from flawsmith.client import Flawsmith

COUNT = 64
"""Items of a job."""
GOAL_EFFICIENCY, GOAL_RATE = 0.9, 100.0
"""Of linear until the CPU is full; items a second with a folder."""
_GROWS = 1.2
"""Twice the workers that bring less than this are the last that are tried."""


@dataclass(frozen=True)
class Point:
    """So many workers.

    Attributes:
        rate: items a second.
        busy: cores of the machine that did something.
        cores: by part.
        why: there was not more.
    """

    workers: int
    rate: float
    busy: float
    cores: dict[str, float]
    why: str

    @property
    def full(self) -> bool:
        """Whether the machine had nothing more to give."""
        return self.busy >= figures.FULL * (os.cpu_count() or 1)


def measure(stack: Stack, most: int, seconds: float, side: int, item_s: float, batch: int) -> list[Point]:
    """1, 2, 4, … workers, each time with so much work that the models alone take so many seconds."""
    points: list[Point] = []
    workers = 1
    while workers <= most:
        points.append(_point(stack, workers, seconds, side, item_s, batch))
        if len(points) > 1 and points[-1].rate < _GROWS * points[-2].rate:
            break
        workers *= 2
    return points


def _point(stack: Stack, workers: int, seconds: float, side: int, item_s: float, batch: int) -> Point:
    jobs = max(workers, ceil(seconds * workers / item_s / COUNT))
    with simulated(stack, workers, item_s, batch) as crew, Flawsmith(stack.url, timeout=600) as client:
        finished(client, Wish.made(side, seed=5000, count=workers).sent(client))
        with _held(crew.pids):  # all work is there when it begins
            wishes = [Wish.made(side, seed=5001 + number, count=COUNT) for number in range(jobs)]
            accepted = [wish.sent(client) for wish in wishes]
        with cpu.used(crew.parts) as usage:
            for job in accepted:
                finished(client, job)
    cores = usage.cores
    why = figures.reason(os.cpu_count() or 1, usage.cores_of_machine, cores, usage.cores_of_busiest)
    return Point(workers, jobs * COUNT / usage.wall_s, usage.cores_of_machine, cores, why)


@contextmanager
def _held(pids: Sequence[int]) -> Iterator[None]:
    """Processes stand still while the block runs; briefly, or they are taken for dead."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def table(points: Sequence[Point], item_s: float) -> list[dict[str, Any]]:
    """A row a number of workers."""
    first = points[0].rate
    return [
        {
            "workers": point.workers,
            "items/s": point.rate,
            "of linear": figures.efficiency(point.rate, point.workers, first),
            "of the models": point.rate * item_s / point.workers,
            "cores busy": point.busy,
            **{f"{part}, cores": used for part, used in point.cores.items()},
            "why not more": point.why,
        }
        for point in points
    ]


def broken(points: Sequence[Point], storage: str) -> list[str]:
    """What was promised and is not kept."""
    first, best = points[0].rate, max(point.rate for point in points)
    shares = [(point, figures.efficiency(point.rate, point.workers, first)) for point in points]
    found = [
        f"{point.workers} workers on {storage}: {share:.2f} of linear"
        for point, share in shares
        if not point.full and share < GOAL_EFFICIENCY
    ]
    if storage == "folder" and best < GOAL_RATE:
        found.append(f"{best:.0f} items/s with a folder at most")
    return found
