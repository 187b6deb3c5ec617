"""Intervals of 95 %, by drawing units anew."""

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
    return of_draws(np.array([figure(rng.integers(count, size=count)) for _ in range(draws)]))


def of_draws(figures: NDArray[np.float64]) -> Interval:
    """The interval of figures (D,) of draws, of those that have one; NaN where none has."""
    known = figures[~np.isnan(figures)]
    if not len(known):
        return np.nan, np.nan
    low, high = np.quantile(known, (0.025, 0.975))
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


def half_sampled(
    counts: Sequence[int], figure: Callable[..., NDArray[np.float64]], draws: int = 300, seed: int = 0
) -> list[Interval]:
    """Intervals of figures that look at pairs of units, such as distances within a sample.

    Each draw takes half of the units of each sample without return. So no unit meets itself, as it would in a
    bootstrap, and figures vary as those of whole samples do: 1/(n/2) − 1/n = 1/n (the delete-d jackknife with
    d = n/2, Shao & Wu, Annals of Statistics 17, 1989). Of an odd number half a unit more or less is taken, each so
    often that it holds, too.

    Args:
        counts: units of each sample.
        figure: takes the numbers of each sample's units that were drawn, and gives (k,) figures.

    Returns:
        k intervals; NaN where no draw has a figure, and where a sample has one unit alone.
    """
    rng = np.random.default_rng(seed)
    drawn = np.stack([figure(*(rng.permutation(n)[: _half(n, rng)] for n in counts)) for _ in range(draws)])
    return [of_draws(values) for values in (drawn if min(counts) > 1 else np.full_like(drawn, np.nan)).T]


def _half(count: int, rng: np.random.Generator) -> int:
    """How many are taken of so many; 1/k is 2/count in the mean."""
    fewer, more = max(1, count // 2), (count + 1) // 2
    if fewer == more:
        return fewer
    return fewer if rng.random() < (2 / count - 1 / more) / (1 / fewer - 1 / more) else more
