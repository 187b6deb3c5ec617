"""One job of many items through the whole service, and the same items by the bare pipeline."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.service import figures
from bench.service.bare import Bare
from bench.service.wishes import Wish, finished
from bench.stack import Stack
from flawsmith.client import Flawsmith

GOAL = 0.95
"""Items a second through the service over those of the bare pipeline."""


@dataclass(frozen=True)
class Round:
    """Seconds of one round.

    Attributes:
        service: from the request until the job is final.
        fetched: until all its files are there as an archive.
        unlike: items with other pixels.
    """

    bare: float
    service: float
    fetched: float
    unlike: int


def measure(stack: Stack, bare: Bare, items: int, rounds: int, side: int, steps: int | None) -> list[Round]:
    """Rounds, each on a photo of its own, so that nothing of it is known to either; who begins takes turns.

    One round, which loads things, is left out.
    """
    found = []
    with Flawsmith(stack.url, timeout=120) as client:
        for number in range(rounds + 1):
            wish = Wish.made(side, seed=1000 + number, count=items, steps=steps)
            drawn = bare.draw(wish) if number % 2 == 0 else None
            began = time.perf_counter()
            job = finished(client, wish.sent(client))
            final = time.perf_counter() - began
            client.archive(job, stack.folder / "archive.zip")
            fetched = time.perf_counter() - began
            drawn = drawn or bare.draw(wish)
            pixels = [item.pixels_sha256 for item in job.items]
            unlike = sum(a != b for a, b in zip(pixels, drawn.pixels, strict=True))
            found.append(Round(drawn.seconds, final, fetched, unlike))
    return found[1:]


def table(rounds: list[Round], items: int) -> list[dict[str, Any]]:
    """Items a second, medians over rounds; ratios are of the same round."""
    bare = [items / one.bare for one in rounds]
    whom = {
        "bare pipeline": bare,
        "service, job final": [items / one.service for one in rounds],
        "service, archive fetched": [items / one.fetched for one in rounds],
    }
    return [
        {
            "who": name,
            "items/s": median(rates),
            "of bare": figures.ratio(rates, bare),
            "unlike": 0 if rates is bare else sum(one.unlike for one in rounds),
        }
        for name, rates in whom.items()
    ]


def broken(rows: list[dict[str, Any]]) -> list[str]:
    """What was promised and is not kept."""
    _, service, _ = rows
    return [
        *([f"{service['unlike']} items have other pixels"] if service["unlike"] else []),
        *([f"the service has {service['of bare']:.3f} of the rate"] if service["of bare"] < GOAL else []),
    ]
