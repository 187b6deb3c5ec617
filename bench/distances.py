"""Distances between two samples of vectors, from kernels of all their pairs, so that rows can be drawn anew."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

Vectors = NDArray[np.float64]
Kernel = Callable[[Vectors, Vectors], Vectors]
"""(n, m) of vectors (n, D) and (m, D)."""


def nearness(x: Vectors, y: Vectors) -> Vectors:
    """−|x − y|, the kernel of the energy distance."""
    return np.asarray(-cdist(x, y))


def cubic(x: Vectors, y: Vectors) -> Vectors:
    """(x·y / D + 1)³, the kernel of KID (Bińkowski et al., arXiv 1801.01401)."""
    return np.asarray((x @ y.T / x.shape[1] + 1) ** 3)


def among(kernel: Vectors) -> float:
    """Mean of a kernel (n, n) over pairs of different vectors; NaN if there are none."""
    n = len(kernel)
    return float((kernel.sum() - np.trace(kernel)) / (n * (n - 1))) if n > 1 else float("nan")


def mmd(xx: Vectors, yy: Vectors, xy: Vectors) -> float:
    """Squared maximum mean discrepancy, unbiased (Gretton et al. 2012, Eq. 3), from kernels of two samples.

    Args:
        xx: (n, n). yy: (m, m). xy: (n, m).
    """
    return among(xx) + among(yy) - 2 * float(xy.mean())


def energy(x: Vectors, y: Vectors) -> float:
    """Energy distance of two samples (n, D), (m, D): 2 E|X−Y| − E|X−X'| − E|Y−Y'| (Székely & Rizzo 2013)."""
    return mmd(nearness(x, x), nearness(y, y), nearness(x, y))


def kernel_distance(x: Vectors, y: Vectors) -> float:
    """Squared MMD with the cubic kernel (KID, Bińkowski et al., arXiv 1801.01401), unbiased."""
    return mmd(cubic(x, x), cubic(y, y), cubic(x, y))
