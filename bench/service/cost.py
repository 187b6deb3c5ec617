"""CPU time an item, by process, with models that take none."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.service import cpu, figures
from bench.service.crew import simulated
from bench.service.wishes import Wish, finished
from bench.stack import Stack
from flawsmith.client import Flawsmith

GOAL_MS = 10.0
"""Of bookkeeping by API, workers and house, an item."""
_SETTLE_S = 1.0
"""After a job: what is counted in its name may come a little later."""


@dataclass(frozen=True)
class Cost:
    """CPU milliseconds an item.

    Attributes:
        parts: by process, the workers with everything that they do.
        pixels: of the workers, what was done to pixels, by kind; ``model`` stands for the models.
        rate: items a second.
        calls: of S3 by the workers, an item, with those that a job makes at its beginning and its end.
    """

    parts: dict[str, float]
    pixels: dict[str, float]
    rate: float
    calls: float = 0.0

    @property
    def bookkeeping(self) -> float:
        """Of the workers, what is left."""
        return self.parts["workers"] - sum(self.pixels.values())

    @property
    def ours(self) -> float:
        """Bookkeeping in API, workers and house."""
        return self.bookkeeping + self.parts["API"] + self.parts.get("house", 0.0)


def measure(stack: Stack, items: int, rounds: int, side: int, item_s: float, batch: int) -> Cost:
    """Medians over jobs of so many items, on one worker, after one job that is left out."""
    usages: list[cpu.Usage] = []
    with simulated(stack, 1, item_s, batch) as crew, Flawsmith(stack.url, timeout=120) as client:
        for number in range(rounds + 1):
            wish = Wish.made(side, seed=4000 + number, count=items)
            with cpu.used(crew.parts) as usage:
                began = time.perf_counter()
                finished(client, wish.sent(client))
                took = time.perf_counter() - began
                time.sleep(_SETTLE_S)
            usage.wall_s = took
            usages.append(usage)
    usages = usages[1:]
    parts = {part: median(usage.seconds[part] for usage in usages) for part in usages[0].seconds}
    return Cost(
        figures.each(parts, items),
        figures.each(crew.seconds, crew.items),
        items / median(usage.wall_s for usage in usages),
        crew.calls / crew.items,
    )


def table(cost: Cost) -> list[dict[str, Any]]:
    """A row a process and part of it."""
    rows = [{"who": part, "CPU ms an item": ms} for part, ms in cost.parts.items()]
    rows += [{"who": f"  workers: {kind}", "CPU ms an item": ms} for kind, ms in sorted(cost.pixels.items())]
    rows.append({"who": "  workers: bookkeeping", "CPU ms an item": cost.bookkeeping})
    rows.append({"who": "bookkeeping of ours", "CPU ms an item": cost.ours})
    return rows


def broken(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What was promised and is not kept."""
    ours = rows[-1]["CPU ms an item"]
    return [f"bookkeeping takes {ours:.1f} CPU-ms an item"] if ours > GOAL_MS else []
