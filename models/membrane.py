"""Membranes: what a picture would be inside a region if all there were the smooth way from edge to edge.

The solution of Laplace's equation with the picture around the region as its border. Poisson blending (Pérez,
Gangnet and Blake 2003) of a source s into a picture x is ``s + M(x − s) = M(x) + (s − M(s))``: what the source
deviates from its own membrane, on the membrane of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.sparse.linalg import splu

from models.masks import Mask

Field = NDArray[np.float32]
"""(h, w, channels)."""
Columns = NDArray[np.float64]
"""(unknowns, channels)."""

TOLERANCE = 1e-4
"""Greatest residual of a solution against that of nothing."""
_COARSEST = 1200  # unknowns that are solved directly
_MOST_STEPS = 200
_DAMPING = 0.7
_OVERCORRECTION = 1.6  # aggregates are stiffer than what they stand for
_TIE = 1e-7  # to the picture itself: a region without any border gets its mean


def membrane(picture: Field, region: Mask) -> Field:
    """The picture with its region replaced by a membrane; the array's own end is no border.

    Args:
        picture: (h, w, channels).
        region: (h, w).
    """
    if not region.any():
        return picture.copy()
    stiffness, border = _laplacian(picture.astype(np.float64), region)
    inside = picture[region].astype(np.float64)
    system = (stiffness + _TIE * diags_array(np.ones(len(inside)))).tocsr()
    filled = picture.copy()
    filled[region] = _solved(_Level.of(system, np.argwhere(region)), border + _TIE * inside)
    return filled


def _laplacian(picture: NDArray[np.float64], region: Mask) -> tuple[csr_array, Columns]:
    """Differences between neighbours of a region, and what the pixels around it pull."""
    number = np.full(region.shape, -1)
    count = int(region.sum())
    number[region] = np.arange(count)
    degree = np.zeros(count)
    border = np.zeros((count, picture.shape[2]))
    rows, columns = [], []
    for one, other in (
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
    ):
        for here, there in ((one, other), (other, one)):
            mine, theirs = number[here], number[there]
            degree += np.bincount(mine[mine >= 0], minlength=count)
            known = (mine >= 0) & (theirs < 0)
            border[mine[known]] += picture[there][known]
            both = (mine >= 0) & (theirs >= 0)
            rows.append(mine[both])
            columns.append(theirs[both])
    row, column = np.concatenate(rows), np.concatenate(columns)
    links = coo_array((np.full(len(row), -1.0), (row, column)), (count, count))
    return (links + diags_array(degree)).tocsr(), border


@dataclass(frozen=True, eq=False)
class _Level:
    """One level of an aggregation multigrid: a system, and where its unknowns go on the next coarser one."""

    system: csr_array
    diagonal: NDArray[np.float64]
    gather: csr_array | None
    coarser: _Level | None
    direct: object

    @classmethod
    def of(cls, system: csr_array, cells: NDArray[np.int64]) -> _Level:
        """From the finest down.

        Args:
            system: (n, n), symmetric and positive.
            cells: (n, 2) rows and columns of the unknowns.
        """
        diagonal = system.diagonal()
        if len(cells) <= _COARSEST:
            return cls(system, diagonal, None, None, splu(system.tocsc()))
        halves = cells // 2
        width = int(halves[:, 1].max()) + 1
        ids, group = np.unique(halves[:, 0] * width + halves[:, 1], return_inverse=True)
        gather = coo_array((np.ones(len(cells)), (group, np.arange(len(cells)))), (len(ids), len(cells))).tocsr()
        coarse = (gather @ system @ gather.T).tocsr()
        return cls(system, diagonal, gather, cls.of(coarse, np.stack(np.divmod(ids, width), axis=1)), None)

    def corrected(self, residual: Columns) -> Columns:
        """An estimate of the error behind a residual: one symmetric V-cycle."""
        if self.coarser is None or self.gather is None:
            return np.asarray(self.direct.solve(residual))  # type: ignore[attr-defined]
        step = _DAMPING / self.diagonal[:, None]
        error = step * residual
        error += step * (residual - self.system @ error)
        left = self.gather @ (residual - self.system @ error)
        error += _OVERCORRECTION * (self.gather.T @ self.coarser.corrected(left))
        error += step * (residual - self.system @ error)
        error += step * (residual - self.system @ error)
        return np.asarray(error)


def _solved(level: _Level, right: Columns) -> Columns:
    """Conjugate gradients, led by the multigrid; each column on its own."""
    if level.coarser is None:
        return level.corrected(right)
    x = level.corrected(right)
    residual = right - level.system @ x
    goal = TOLERANCE * np.maximum(np.abs(right).max(axis=0), 1e-9)
    error = level.corrected(residual)
    way = error
    product = (residual * error).sum(axis=0)
    for _ in range(_MOST_STEPS):
        if (np.abs(residual).max(axis=0) <= goal).all():
            break
        pull = level.system @ way
        length = product / np.maximum((way * pull).sum(axis=0), 1e-300)
        x = x + length * way
        residual = residual - length * pull
        error = level.corrected(residual)
        again = (residual * error).sum(axis=0)
        way = error + again / np.maximum(product, 1e-300) * way
        product = again
    return x
