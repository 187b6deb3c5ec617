"""Distance fields of lines, boxes and blobs, in pixels."""

import math

import numpy as np
from numpy.typing import NDArray

from models.rendering.noise import Field

FAR = 1e4


def edge(distance: Field, softness: float = 1.0) -> Field:
    """Coverage in [0, 1] of a shape from its signed distance (negative inside), anti-aliased."""
    coverage: Field = np.clip(0.5 - distance / np.float32(softness), 0, 1)
    return coverage


def segment(y: Field, x: Field, start: tuple[float, float], end: tuple[float, float]) -> tuple[Field, Field]:
    """Signed distance to a segment (positive on its right side) and position along it in [0, 1]."""
    dy, dx = end[0] - start[0], end[1] - start[1]
    length2 = max(dy * dy + dx * dx, 1e-6)
    py, px = y - start[0], x - start[1]
    t = np.clip((py * dy + px * dx) / length2, 0, 1)
    distance = np.hypot(py - t * dy, px - t * dx)
    side = np.sign(px * dy - py * dx)
    side[side == 0] = 1
    return np.asarray(distance * side, np.float32), np.asarray(t, np.float32)


def polyline(shape: tuple[int, int], points: NDArray[np.float64], reach: float) -> tuple[Field, Field]:
    """Signed distance (H, W) to a polyline of (y, x) points, and position along it in [0, 1].

    Pixels farther than `reach` are left at a large distance.
    """
    height, width = shape
    distance = np.full(shape, FAR, np.float32)
    along = np.zeros(shape, np.float32)
    steps = np.hypot(*np.diff(points, axis=0).T)
    total = max(float(steps.sum()), 1e-6)
    done = 0.0
    for k in range(len(points) - 1):
        (y0, x0), (y1, x1) = points[k].tolist(), points[k + 1].tolist()
        top, bottom = max(int(min(y0, y1) - reach), 0), min(int(max(y0, y1) + reach) + 2, height)
        left, right = max(int(min(x0, x1) - reach), 0), min(int(max(x0, x1) + reach) + 2, width)
        step = float(steps[k])
        if top < bottom and left < right:
            y = np.arange(top, bottom, dtype=np.float32)[:, None]
            x = np.arange(left, right, dtype=np.float32)[None]
            d, t = segment(y, x, (y0, x0), (y1, x1))
            window = distance[top:bottom, left:right]
            nearer = np.abs(d) < np.abs(window)
            window[nearer] = d[nearer]
            along[top:bottom, left:right][nearer] = ((done + t * step) / total)[nearer]
        done += step
    return distance, along


def box(y: Field, x: Field, half_height: float, half_width: float, corner: float = 0.0) -> Field:
    """Signed distance to a box about the origin with rounded corners."""
    qy = np.abs(y) - np.float32(half_height - corner)
    qx = np.abs(x) - np.float32(half_width - corner)
    outside = np.hypot(np.maximum(qy, 0), np.maximum(qx, 0))
    return outside + np.minimum(np.maximum(qy, qx), 0) - np.float32(corner)


def blob(
    rng: np.random.Generator, y: Field, x: Field, radius: float, roughness: float, aspect: float = 1.0
) -> Field:
    """Signed distance, roughly, to an irregular closed shape about the origin.

    `roughness` in [0, 1): 0 is a circle; `aspect` ≥ 1 draws it out in a random direction.
    """
    turn = rng.uniform(0, math.pi)
    c, s = math.cos(turn), math.sin(turn)
    stretch = math.sqrt(aspect)
    v, u = (y * c - x * s) * stretch, (y * s + x * c) / stretch
    angle = np.arctan2(v, u)
    wobble = np.zeros_like(angle)
    for k in range(2, 8):
        wobble += np.float32(rng.normal(0, 1 / k)) * np.cos(k * angle + np.float32(rng.uniform(0, 6.3)))
    outline = radius * np.clip(1 + roughness * wobble, 0.35, 1.8)
    return np.asarray(np.hypot(v, u) - outline, np.float32)
