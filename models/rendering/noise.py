"""Random fields: smooth value noise, fractal sums, streaks, cells."""

import math

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]

# Standard deviation that cubic B-spline interpolation leaves of unit white noise, per axis.
_SPLINE_STD = 0.692


def white(rng: np.random.Generator, shape: tuple[int, ...]) -> Field:
    """Unit normal noise, float32."""
    return rng.standard_normal(shape, dtype=np.float32)


def _spline_weights(length: int, cell: float, phase: float) -> Field:
    position = np.arange(length) / cell + phase
    index = np.floor(position).astype(np.intp)
    t = position - index
    weights = np.zeros((length, int(index[-1]) + 4), np.float32)
    rows = np.arange(length)
    weights[rows, index] = (1 - t) ** 3 / 6
    weights[rows, index + 1] = (3 * t**3 - 6 * t**2 + 4) / 6
    weights[rows, index + 2] = (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6
    weights[rows, index + 3] = t**3 / 6
    return weights


def value_noise(rng: np.random.Generator, shape: tuple[int, int], cell: float | tuple[float, float]) -> Field:
    """Smooth noise (H, W) of about unit deviation; `cell` is its feature size in pixels, (y, x) or one."""
    cell_y, cell_x = cell if isinstance(cell, tuple) else (cell, cell)
    if cell_y <= 1 and cell_x <= 1:
        return white(rng, shape)
    rows = _spline_weights(shape[0], max(cell_y, 1.0), rng.random())
    columns = _spline_weights(shape[1], max(cell_x, 1.0), rng.random())
    nodes = white(rng, (rows.shape[1], columns.shape[1]))
    field: Field = np.asarray(rows @ nodes @ columns.T, np.float32) / np.float32(_SPLINE_STD**2)
    return field


def fractal(
    rng: np.random.Generator, shape: tuple[int, int], cell: float, octaves: int = 4, gain: float = 0.5
) -> Field:
    """Octaves of value noise (H, W), about unit deviation; `cell` is the coarsest feature in pixels."""
    total = np.zeros(shape, np.float32)
    weight, power = 1.0, 0.0
    for _ in range(octaves):
        total += weight * value_noise(rng, shape, cell)
        power += weight**2
        if cell < 1:
            break
        weight *= gain
        cell /= 2
    return total / np.float32(math.sqrt(power))


def lookup(table: Field, row: Field, column: Field) -> Field:
    """Bilinear values of `table`, wrapped at its ends, at fractional (row, column)."""
    height, width = table.shape
    top, left = np.floor(row), np.floor(column)
    fy, fx = row - top, column - left
    i0 = top.astype(np.intp) % height
    j0 = left.astype(np.intp) % width
    i1, j1 = (i0 + 1) % height, (j0 + 1) % width
    upper = table[i0, j0] * (1 - fx) + table[i0, j1] * fx
    lower = table[i1, j0] * (1 - fx) + table[i1, j1] * fx
    result: Field = (upper * (1 - fy) + lower * fy).astype(np.float32)
    return result


def streaks(rng: np.random.Generator, along: Field, across: Field, length: float, width: float) -> Field:
    """Noise drawn out along one coordinate: features `length` by `width` pixels, about unit deviation."""
    table = white(rng, (509, 61))
    return lookup(table, across / width, along / length) * np.float32(1.5)


def cells(rng: np.random.Generator, y: Field, x: Field, size: float) -> tuple[Field, Field]:
    """Worley cells of about `size` pixels: distance to the nearest and second nearest point, in cells."""
    shape = np.broadcast_shapes(y.shape, x.shape)
    v = np.broadcast_to(y / np.float32(size), shape)
    u = np.broadcast_to(x / np.float32(size), shape)
    i, j = np.floor(v).astype(np.intp), np.floor(u).astype(np.intp)
    rows, columns = int(i.max() - i.min()) + 3, int(j.max() - j.min()) + 3
    i0, j0 = i - i.min() + 1, j - j.min() + 1
    fy, fx = v - i, u - j
    jitter = rng.random((2, rows, columns), dtype=np.float32)
    first = np.full(shape, 9, np.float32)
    second = np.full(shape, 9, np.float32)
    for di in (-1, 0, 1):
        for dj in (-1, 0, 1):
            points = jitter[:, i0 + di, j0 + dj]
            distance = (points[0] + di - fy) ** 2 + (points[1] + dj - fx) ** 2
            np.minimum(second, np.maximum(first, distance), out=second)
            np.minimum(first, distance, out=first)
    return np.sqrt(first), np.sqrt(second)
