"""Clients of one item each: all at once, and one after the other."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.service import figures
from bench.service.wishes import Wish, finished
from bench.stack import Stack
from flawsmith.client import Flawsmith

GOAL = 1.2
"""Rate of all at once over that of one after the other, on a CPU."""


@dataclass(frozen=True)
class Round:
    """Seconds of one round.

    Attributes:
        latencies: of each client when all come at once.
        unlike: items with other pixels than alone.
    """

    alone: float
    together: float
    latencies: list[float]
    unlike: int


def measure(stack: Stack, clients: int, rounds: int, side: int, steps: int | None) -> list[Round]:
    """Rounds, after one that is left out; who begins takes turns.

    Those who come at once and those who do not ask for other photos, so that nobody finds inversions that are
    known. What came at once is then asked for again, alone, and compared.
    """
    found = []
    for number in range(rounds + 1):
        some, others = (
            [_wish(number, one, side, steps) for one in range(at, at + clients)] for at in (0, clients)
        )
        if number % 2 == 0:
            alone, together = _run(stack, some, 1), _run(stack, others, clients)
        else:
            together, alone = _run(stack, others, clients), _run(stack, some, 1)
        again = _run(stack, others, 1)
        unlike = sum(a != b for a, b in zip(together.pixels, again.pixels, strict=True))
        found.append(Round(alone.seconds, together.seconds, together.latencies, unlike))
    return found[1:]


def _wish(number: int, one: int, side: int, steps: int | None) -> Wish:
    return Wish.made(side, seed=3000 + 100 * number + one, steps=steps)


@dataclass(frozen=True)
class _Run:
    """Seconds of all clients, pixels of the item of each, and its seconds."""

    seconds: float
    pixels: list[str]
    latencies: list[float]


def _run(stack: Stack, wishes: Sequence[Wish], at_once: int) -> _Run:
    """All wishes, so many at once."""

    def ask(wish: Wish) -> tuple[str, float]:
        began = time.perf_counter()
        with Flawsmith(stack.url, timeout=120) as client:
            job = finished(client, wish.sent(client))
            client.item_image(job, 0)
            return job.items[0].pixels_sha256 or "", time.perf_counter() - began

    began = time.perf_counter()
    with ThreadPoolExecutor(at_once) as threads:
        answers = list(threads.map(ask, wishes))
    took = time.perf_counter() - began
    return _Run(took, [pixels for pixels, _ in answers], [seconds for _, seconds in answers])


def table(rounds: Sequence[Round], clients: int) -> list[dict[str, Any]]:
    """Medians over rounds; the ratio is of the same round."""
    alone = [clients / one.alone for one in rounds]
    together = [clients / one.together for one in rounds]
    return [
        {
            "clients": clients,
            "one after the other, items/s": median(alone),
            "at once, items/s": median(together),
            "ratio": figures.ratio(together, alone),
            "latency at once, s": median(median(one.latencies) for one in rounds),
            "unlike": sum(one.unlike for one in rounds),
        }
    ]


def broken(rows: Sequence[dict[str, Any]], device: str) -> list[str]:
    """What was promised and is not kept."""
    (row,) = rows
    return [
        *([f"{row['unlike']} items have other pixels than alone"] if row["unlike"] else []),
        *([f"at once is {row['ratio']:.2f} times as fast"] if device == "cpu" and row["ratio"] < GOAL else []),
    ]
