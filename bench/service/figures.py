"""The arithmetic of the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median

FULL = 0.9
"""Share from which on a processor counts as full."""


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Median over rounds of ours over theirs in the same round."""
    return median(a / b for a, b in zip(ours, theirs, strict=True))


def efficiency(rate: float, workers: int, rate_of_one: float) -> float:
    """A rate over that of as many workers if each did as much as the only one did."""
    return rate / (workers * rate_of_one)


def each(seconds: Mapping[str, float], items: int) -> dict[str, float]:
    """Milliseconds an item."""
    return {name: 1000 * value / items for name, value in seconds.items()}


def reason(cores: int, busy: float, used: Mapping[str, float], most_of_one: Mapping[str, float]) -> str:
    """Why there was not more.

    Args:
        cores: of the machine.
        busy: how many of them did something, whoever had asked.
        used: how many of them each part took.
        most_of_one: the same of the busiest process of each part.
    """
    order = sorted(used, key=lambda part: -used[part])
    if busy >= FULL * cores:
        others = max(0.0, busy - sum(used.values()))
        told = [f"{part} {used[part]:.2f}" for part in order if used[part] >= 0.05]
        return f"CPU is full: {', '.join([*told, f'others {others:.2f}'])} of {cores}"
    single = [part for part in order if most_of_one.get(part, 0.0) >= FULL]
    if single:
        return f"one process of {single[0]} has a core full"
    return "nothing is full: the models are waited for"


def stages(marks: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Seconds between neighbouring moments, each named after the later one; the first is where it begins."""
    return {name: at - before for (_, before), (name, at) in pairwise(marks)}


def medians(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Median of each column, in the order of the first row."""
    return {name: median(row[name] for row in rows) for name in rows[0]}
