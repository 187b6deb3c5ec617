"""A shape finds a place: turned, mirrored, scaled and warped until it fits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.frames import Frame, box_of, cells_of, centre_in, extent_of, step_of
from models.masks import Mask
from models.placement.known import DRAWN_OUT, OPPOSITE, Known
from models.shapes import Floats, pose, warp

_WARP = 0.05  # of the half length
_SIZE_JITTER = (0.05, 0.25)  # deviation of the logarithm of the size
_TRIES = 60
_TRIES_A_SIZE = 6
_SHRINK = 0.85
_WITHIN = 0.97  # share of a shape on what is allowed that is enough
_LEFT = 0.5  # share of a shape that must be left of it at all
_LEAST_AREA = 4  # pixels
_MOST_AREA = 0.8  # of what is allowed
_COPY = 0.9  # intersection over union with a sample's mask at its place, from which it is a copy

Placed = tuple[tuple[slice, slice], Mask, float, float]
"""A place, the mask there, the angle in degrees by which a shape was turned, and its length over its own."""


@dataclass(frozen=True, eq=False)
class Placing:
    """Lays shapes of a type on one image.

    Attributes:
        lengths: of all shapes of the type, over the part's extent.
        turn: degrees, as the distribution says.
        allowed: (H, W), where a defect may lie; less with each that is taken.
        likely: (h, w) weights of cells of `allowed`.
        frame: the part's box.
        rng: what is drawn by.
    """

    lengths: Sequence[float]
    turn: float
    allowed: Mask
    likely: NDArray[np.float64]
    frame: Frame
    rng: np.random.Generator

    def placed(self, known: Known, asked: float | None = None) -> Placed | None:
        """A shape at a place where it fits: the place, its mask there, angle and scale; None if there is none.

        Args:
            asked: its length in pixels; as the samples have it, and smaller where it does not fit, if None.
        """
        sides = () if asked is not None and known.is_band else known.sides  # a band is as long as the part
        allowed, frame, rng = self.allowed, self.frame, self.rng
        step = step_of(allowed.shape)
        room, free = box_of(allowed), int(allowed.sum())
        roomy = self.likely * ndimage.distance_transform_edt(np.pad(cells_of(allowed, step), 1))[1:-1, 1:-1] ** 2
        lengths = self.lengths
        jitter = float(np.clip(np.std(np.log(lengths)) / 2, *_SIZE_JITTER))
        best: tuple[float, Placed] | None = None
        for number in range(_TRIES):
            late = number >= _TRIES // 2
            if asked is None:
                length = np.clip(
                    known.length * math.exp(rng.normal(0, jitter)), 0.9 * min(lengths), 1.1 * max(lengths)
                )
                scale = float(length) * extent_of(frame) / known.shape.length
                scale = min(scale, math.sqrt(_MOST_AREA * free / known.shape.area))
                scale *= _SHRINK ** (number // _TRIES_A_SIZE)
            else:
                scale = asked / known.shape.reach
            angle, mirror_axis = self._turned(known, sides)
            posed = pose(angle, scale, mirror_axis)
            centre = _pushed_in(
                known.shape.points @ posed.T, _drawn_from(roomy if late else self.likely, step, rng), room
            )
            bent = warp(rng, _WARP)
            if sides and not late:
                posed, centre = _flush(known, posed, centre, frame)
                bent[[bool(set(sides) & {"top", "bottom"}), bool(set(sides) & {"left", "right"})]] = 0
            points = np.floor(known.shape.points @ posed.T + centre).astype(np.int64)
            size = np.array(allowed.shape)
            within = ((points >= 0) & (points < size)).all(axis=1)
            # Of what a side cuts off, what lies beyond the image is not missed.
            counted = int(within.sum()) if sides and not late else len(points)
            share = float(allowed[tuple(points[within].T)].sum()) / max(counted, 1)
            if share < _WITHIN and (share < _LEFT or (best is not None and share <= best[0])):
                continue
            place, whole = known.shape.drawn(posed, centre, allowed.shape, bent)
            mask = whole & allowed[place]
            if mask.sum() < max(_LEAST_AREA, _LEFT * whole.sum()) or _is_copy(
                known, place, mask, frame, allowed.shape
            ):
                continue
            scale = math.sqrt(abs(float(np.linalg.det(posed)))) * known.shape.length
            found = (place, mask, angle, scale / extent_of(frame) / known.length)
            if share >= _WITHIN:
                return found
            best = (share, found)
        return None if best is None else best[1]

    def take(self, place: tuple[slice, slice], mask: Mask) -> None:
        """Take a drawn defect and what touches it out of what is allowed."""
        around = tuple(
            slice(max(side.start - 2, 0), min(side.stop + 2, size))
            for side, size in zip(place, self.allowed.shape, strict=True)
        )
        taken = np.zeros(self.allowed[around].shape, dtype=np.bool_)
        top, left = (side.start - wide.start for side, wide in zip(place, around, strict=True))
        taken[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
        self.allowed[around] &= ~ndimage.binary_dilation(taken, np.ones((3, 3), dtype=np.bool_), iterations=2)

    def _turned(self, known: Known, sides: tuple[str, ...]) -> tuple[float, float | None]:
        """Degrees to turn a shape by, and the axis at which to mirror it, if it is to be."""
        chance, mirrored = float(self.rng.normal()), bool(self.rng.random() < 0.5)
        if sides:
            # What a side of the part cuts off stays at that side.
            along = {("top",): 90.0, ("bottom",): 90.0, ("top", "bottom"): 90.0}.get(sides, 0.0)
            corner = len(sides) > 1 and sides not in OPPOSITE
            return 0.0, None if corner or not mirrored else along
        axis, longer = known.shape.axis
        if longer < DRAWN_OUT or self.turn >= 180:
            return 180.0 - 360.0 * float(self.rng.random()), axis if mirrored else None
        return self.turn * chance, axis if mirrored else None


def largest(mask: Mask) -> Mask:
    """The largest of its connected regions."""
    labels, count = ndimage.label(mask, structure=np.ones((3, 3), dtype=np.int8))
    return mask if count == 1 else np.asarray(labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:])))


def _flush(
    known: Known, posed: Floats, centre: tuple[float, float], frame: Frame
) -> tuple[Floats, tuple[float, float]]:
    """A shape that sides of the part cut off, at those sides; one cut off by opposite ones is a band, drawn out
    from one to the other."""
    low, size = np.array(frame[:2], dtype=np.float64), np.array(frame[2:], dtype=np.float64)
    reach = np.abs(posed) @ np.array([known.shape.height, known.shape.width])
    posed, at = posed.copy(), np.array(centre)
    for axis, (first, second) in enumerate((("top", "bottom"), ("left", "right"))):
        if first in known.sides and second in known.sides:
            posed[axis] *= 1.03 * size[axis] / reach[axis]
            at[axis] = low[axis] + size[axis] / 2
        elif first in known.sides:
            at[axis] = low[axis] + 0.48 * reach[axis]
        elif second in known.sides:
            at[axis] = low[axis] + size[axis] - 0.48 * reach[axis]
    return posed, (float(at[0]), float(at[1]))


def _pushed_in(points: Floats, centre: tuple[float, float], room: Frame) -> tuple[float, float]:
    """The nearest centre at which a shape does not reach beyond the room's box; its own if it is too large."""
    at = list(centre)
    for axis in (0, 1):
        low, high = room[axis] - points[:, axis].min(), room[axis] + room[2 + axis] - points[:, axis].max()
        if low < high:
            at[axis] = float(np.clip(at[axis], low, high))
    return at[0], at[1]


def _is_copy(known: Known, place: tuple[slice, slice], mask: Mask, frame: Frame, size: tuple[int, ...]) -> bool:
    """Whether a drawn mask is the sample's own where it lay."""
    scale = known.length * extent_of(frame) / known.shape.length
    there, own = known.shape.drawn(pose(0, scale, None), centre_in(known.place, frame), (size[0], size[1]))
    rows, columns = (slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(place, there, strict=True))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return False
    first, second = (
        each[
            rows.start - at[0].start : rows.stop - at[0].start,
            columns.start - at[1].start : columns.stop - at[1].start,
        ]
        for each, at in ((mask, place), (own, there))
    )
    both = int((first & second).sum())
    return both >= _COPY * (int(mask.sum()) + int(own.sum()) - both)


def _drawn_from(weights: NDArray[np.float64], step: int, rng: np.random.Generator) -> tuple[float, float]:
    """A place, y, x in pixels, with the probability of its cell."""
    total = np.cumsum(weights)
    cell = int(np.searchsorted(total, rng.random() * total[-1], side="right"))
    row, column = divmod(min(cell, weights.size - 1), weights.shape[1])
    dy, dx = rng.random(2)
    return (row + float(dy)) * step, (column + float(dx)) * step
