"""CPU time of processes and of the machine, as Linux counts it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def process_seconds(pid: int) -> float:
    """CPU time that a process and all that it started have taken so far.

    Raises:
        FileNotFoundError: there is no such process.
    """
    # The name, in brackets, may hold anything.
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace").rpartition(")")[2].split()
    seconds = sum(int(value) for value in fields[11:15]) * _TICK_S  # with that of children that were waited for
    for child in _children(pid):
        with suppress(OSError):  # it ended just now
            seconds += process_seconds(child)
    return seconds


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, task.read_text("ascii").split())
    return found


def machine_seconds() -> float:
    """CPU time that this machine has taken so far for anything, over all its cores."""
    with Path("/proc/stat").open(encoding="ascii") as file:
        user, nice, system, _idle, _waiting, *interrupts = (int(value) for value in file.readline().split()[1:9])
    return (user + nice + system + sum(interrupts)) * _TICK_S


@dataclass
class Usage:
    """CPU time while a block ran.

    Attributes:
        seconds: by part.
        busiest: by part, of that process of it that took most.
        machine: of everything.
        wall_s: how long the block took.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    busiest: dict[str, float] = field(default_factory=dict)
    machine: float = 0.0
    wall_s: float = 0.0

    @property
    def cores(self) -> dict[str, float]:
        """How many cores each part took."""
        return {part: seconds / self.wall_s for part, seconds in self.seconds.items()}

    @property
    def cores_of_busiest(self) -> dict[str, float]:
        return {part: seconds / self.wall_s for part, seconds in self.busiest.items()}

    @property
    def cores_of_machine(self) -> float:
        return self.machine / self.wall_s


@contextmanager
def used(parts: Mapping[str, Sequence[int]]) -> Iterator[Usage]:
    """What the processes of each part take while the block runs; the values are there afterwards.

    Args:
        parts: process ids of each.
    """
    usage = Usage()
    before = {part: [process_seconds(pid) for pid in pids] for part, pids in parts.items()}
    machine, began = machine_seconds(), time.perf_counter()
    yield usage
    usage.wall_s = time.perf_counter() - began
    usage.machine = machine_seconds() - machine
    for part, pids in parts.items():
        took = [process_seconds(pid) - was for pid, was in zip(pids, before[part], strict=True)]
        usage.seconds[part], usage.busiest[part] = sum(took), max(took, default=0.0)
