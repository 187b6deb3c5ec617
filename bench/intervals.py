"""Bootstrap intervals of 95 %."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Interval = tuple[float, float]


def bootstrap(
    count: int, figure: Callable[[NDArray[np.int64]], float], draws: int = 1000, seed: int = 0
) -> Interval:
    """The interval of a figure over `count` independent units; `figure` takes their numbers, drawn with return."""
    if count == 0:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    low, high = np.nanquantile([figure(rng.integers(count, size=count)) for _ in range(draws)], (0.025, 0.975))
    return float(low), float(high)


def ratio_of_medians(above: NDArray[np.float64], below: NDArray[np.float64]) -> float:
    """median(above) / median(below), each (n,)."""
    return float(np.median(above) / max(float(np.median(below)), 1e-12))


def interval(
    values: Sequence[float] | NDArray[np.float64],
    statistic: Callable[[NDArray[np.float64]], float],
    draws: int = 1000,
) -> Interval:
    """The interval of a statistic of independent values (n,) or rows (n, …)."""
    array = np.asarray(values, dtype=np.float64)
    return bootstrap(len(array), lambda rows: statistic(array[rows]), draws)
