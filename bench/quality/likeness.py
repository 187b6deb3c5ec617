"""How like real pairs a method's pairs are within their labels, and how unlike each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.distances import Vectors, among, cubic, mmd, nearness
from bench.intervals import half_sampled
from bench.quality.methods import OURS
from bench.taught import seen
from models.evaluation.segmenter import Pair
from models.samples import Sample

KID, ENERGY = "KID", "energy"
ENOUGH = 50
"""Of synthetic and of real pairs, from which KID is told; with fewer, the energy distance in its place."""
_WIDTH = 1024  # of what `seen` gives
FIGURES = ("distance", "diversity")
_KERNELS = {KID: cubic, ENERGY: nearness}

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Seen:
    """Pairs as the fixed features see them (`bench.taught.seen`).

    Attributes:
        vectors: (n, D).
        numbers: (n,) of the pairs; those with an empty label are left out, for there is nothing to be seen.
    """

    vectors: Vectors
    numbers: Rows

    @classmethod
    def of(cls, pairs: Iterable[Pair]) -> Seen:
        """Look at pairs within their labels."""
        found = {number: seen(pair.image, pair.mask) for number, pair in enumerate(pairs) if pair.mask.any()}
        vectors = np.stack(list(found.values())) if found else np.empty((0, _WIDTH))
        return cls(vectors, np.array(list(found), np.int64))


@dataclass(frozen=True, eq=False)
class Reality:
    """Real pairs of a type.

    Attributes:
        vectors: (m, D), as `Seen` has them.
        groups: (m,) names of their parts or boards, which are drawn together.
        scale: (D,) spread of the features, by which distances are told.
    """

    vectors: Vectors
    groups: tuple[str, ...]
    scale: Vectors

    @classmethod
    def of(cls, samples: Sequence[Sample], scale: Vectors) -> Reality:
        """Look at real pairs within their masks."""
        vectors = np.stack([seen(sample.image, sample.mask) for sample in samples])
        return cls(vectors, tuple(sample.group for sample in samples), scale)


def spread(samples: Iterable[Sample]) -> Vectors:
    """(D,) deviation of the features over real pairs."""
    return np.asarray(np.stack([seen(one.image, one.mask) for one in samples]).std(axis=0) + 1e-6)


def likeness(
    real: Reality, methods: Mapping[str, Seen], count: int, whose: str = OURS
) -> dict[str, dict[str, Any]]:
    """By method, the distance of its pairs to the real ones and their diversity, with intervals.

    "distance" is by the measure that "by" names: KID, or the energy distance where there are fewer than `ENOUGH`
    of either. "diversity" is the mean distance of two pairs, as a share of that of two real ones. "ours less" is
    told where ours is measured alike; places and groups of real pairs are drawn anew, the same for all methods.

    Args:
        count: places, whose numbers the pairs of all methods share.
        whose: method that is ours.
    """
    groups = sorted(set(real.groups))
    rows_of = [np.flatnonzero(np.array(real.groups) == group) for group in groups]
    measured = {name: _Measured.of(one, real, count) for name, one in methods.items()}

    ours = list(measured).index(whose) if whose in measured else None

    def figures(places: Rows, drawn: Rows) -> Vectors:
        """(2 · 2 · methods,): distance and diversity of each, then ours less each."""
        among_real = np.concatenate([rows_of[i] for i in drawn])
        found = np.array([one.figures(places, among_real) for one in measured.values()])
        less = np.full_like(found, np.nan) if ours is None else found[ours] - found
        return np.concatenate([found.ravel(), less.ravel()])

    values = figures(np.arange(count), np.arange(len(groups)))
    intervals = half_sampled((count, len(groups)), figures)
    rows: dict[str, dict[str, Any]] = {}
    for i, (name, one) in enumerate(measured.items()):
        rows[name] = {"pairs": len(methods[name].numbers), "real": len(real.vectors), "by": one.by}
        for place, figure in enumerate(FIGURES, start=2 * i):
            told: dict[str, Any] = {"value": float(values[place]), "interval": intervals[place]}
            alike = ours is not None and (figure == "diversity" or measured[whose].by == one.by)
            if alike and i != ours:
                other = place + 2 * len(measured)
                told |= {"ours less": float(values[other]), "its interval": intervals[other]}
            rows[name][figure] = told
    return rows


@dataclass(frozen=True, eq=False)
class _Measured:
    """Kernels of one method's pairs and the real ones; `row` tells the row of each place, −1 for none."""

    by: str
    row: Rows
    xx: Vectors
    yy: Vectors
    xy: Vectors
    near_xx: Vectors
    near_yy: Vectors

    @classmethod
    def of(cls, one: Seen, real: Reality, count: int) -> _Measured:
        x, y = one.vectors / real.scale, real.vectors / real.scale
        by = KID if min(len(x), len(y)) >= ENOUGH else ENERGY
        kernel = _KERNELS[by]
        row = np.full(count, -1)
        row[one.numbers] = np.arange(len(x))
        return cls(by, row, kernel(x, x), kernel(y, y), kernel(x, y), nearness(x, x), nearness(y, y))

    def figures(self, places: Rows, real: Rows) -> tuple[float, float]:
        """Distance and diversity of the pairs at these places; NaN where too few have a label."""
        own = self.row[places]
        own = own[own >= 0]
        if len(own) < 2:
            return float("nan"), float("nan")
        mine, theirs = np.ix_(own, own), np.ix_(real, real)
        distance = mmd(self.xx[mine], self.yy[theirs], self.xy[np.ix_(own, real)])
        return distance, among(self.near_xx[mine]) / among(self.near_yy[theirs])
