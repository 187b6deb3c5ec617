"""Shapes of defects: cut out of masks, kept small, and drawn again turned, mirrored, scaled and warped."""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.masks import Mask
from models.measures import length_of

MAX_CELLS = 320
"""Cells of a shape's longer side; of a ragged one fewer."""
MAX_DATA = 2600
"""Characters of a shape's cells as text."""
_LEVELS = 15  # of coverage
_POINTS = 400  # of a shape, by which a place is judged
_FINEST_PX = 1536  # longer side at which a shape is drawn; beyond that its pixels are drawn larger
_NODES = 5  # of a warp along each side
_SPAN = 0.35  # of a side, over which a node moves what is near

Floats = NDArray[np.float64]


class ShapeError(Exception):
    """JSON that is no shape; the message says why."""


@dataclass(frozen=True, eq=False)
class Shape:
    """A defect's mask, of which neither photo nor place is kept.

    Attributes:
        coverage: (h, w) uint8, 0 to 15: how much of each cell is defect.
        cell: side of a cell in pixels of the photo.
        height, width: of the box around the defect, in pixels.
        area: in pixels.
    """

    coverage: NDArray[np.uint8]
    cell: int
    height: int
    width: int
    area: int

    @classmethod
    def of(cls, mask: Mask) -> Shape:
        """The shape of a mask (H, W) that is not empty, cut to the box around it."""
        (box,) = ndimage.find_objects(mask.astype(np.int8))
        inside = mask[box]
        cell = -(-max(inside.shape) // MAX_CELLS)
        while True:
            height, width = inside.shape
            shape = cls(_cells(inside, cell), cell, height, width, int(inside.sum()))
            if len(_text(shape.coverage)) <= MAX_DATA:
                return shape
            cell += 1 + cell // 4

    @classmethod
    def from_json(cls, value: Any) -> Shape:
        """What `to_json` gave.

        Raises:
            ShapeError: it is something else.
        """
        try:
            cell, height, width, area = (_whole(value[name]) for name in ("cell", "height", "width", "area"))
            text = value["cells"]
            rows, columns = -(-height // cell), -(-width // cell)
            if max(rows, columns) > MAX_CELLS or area > height * width or len(text) > MAX_DATA:
                raise ShapeError("a shape is larger than any that is kept")
            inflating = zlib.decompressobj()
            data = inflating.decompress(base64.b64decode(text, validate=True), rows * columns + 1)
            coverage = np.frombuffer(data, np.uint8).reshape(rows, columns)
        except (KeyError, TypeError, ValueError, zlib.error, binascii.Error) as error:
            raise ShapeError(f"a shape cannot be read: {error}") from error
        if coverage.max() > _LEVELS or not coverage.any():
            raise ShapeError("a shape's cells are not what they should be")
        return cls(coverage, cell, height, width, area)

    def to_json(self) -> dict[str, Any]:
        """The shape as plain JSON values; equal shapes give equal values."""
        return {
            "cell": self.cell,
            "height": self.height,
            "width": self.width,
            "area": self.area,
            "cells": _text(self.coverage),
        }

    @property
    def length(self) -> int:
        """Longer side of the box, in pixels."""
        return max(self.height, self.width)

    @cached_property
    def points(self) -> Floats:
        """(n, 2) y, x of cells that are mostly defect, from the box's centre, in pixels; at most some hundred."""
        cells = np.argwhere(2 * self.coverage > min(_LEVELS, int(self.coverage.max())))
        cells = np.random.default_rng(0).permutation(cells)[:_POINTS]
        return (cells + 0.5) * self.cell - np.array([self.height, self.width]) / 2

    @cached_property
    def axis(self) -> tuple[float, float]:
        """Main axis in degrees, counter-clockwise from the photo's x, in [0, 180); and how many times longer than
        across it the shape is, ≥ 1."""
        weights = self.coverage.astype(np.float64)
        places = np.argwhere(weights > 0).astype(np.float64)
        weights = weights[weights > 0]
        centred = places - np.average(places, axis=0, weights=weights)
        spreads, axes = np.linalg.eigh(centred.T @ (centred * weights[:, None]) / weights.sum() + np.eye(2) / 12)
        dy, dx = axes[:, 1]
        return math.degrees(math.atan2(-dy, dx)) % 180, math.sqrt(spreads[1] / spreads[0])

    @cached_property
    def reach(self) -> float:
        """Length along its principal axis in pixels, as `models.measures` tells it of a region."""
        return length_of(2 * self.coverage > min(_LEVELS, int(self.coverage.max()))) * self.cell

    def drawn(
        self, pose: Floats, centre: tuple[float, float], size: tuple[int, int], warp: Floats | None = None
    ) -> tuple[tuple[slice, slice], Mask]:
        """The shape in an image.

        Its area is the sample's times that of the pose, however small it gets, as long as a pixel holds it.

        Args:
            pose: (2, 2), from y, x of the shape to y, x in the image.
            centre: y, x in the image where the centre of the shape's box comes to lie.
            size: height and width of the image.
            warp: as `warp` gives it; none leaves the outline as it is.

        Returns:
            A place in the image, which may be empty, and the mask there.
        """
        half = np.array([self.height, self.width]) / 2
        corners = np.array([[a, b] for a in (-1, 1) for b in (-1, 1)]) * half @ pose.T
        reach = np.abs(corners).max(axis=0) * (1.0 if warp is None else 1.25) + 1
        low = [max(math.floor(c - r), 0) for c, r in zip(centre, reach, strict=True)]
        high = [min(math.ceil(c + r), s) for c, r, s in zip(centre, reach, size, strict=True)]
        place = (slice(low[0], max(high[0], low[0])), slice(low[1], max(high[1], low[1])))
        step = max(1, -(-max(high[0] - low[0], high[1] - low[1]) // _FINEST_PX))
        y, x = (
            np.arange(side.start, side.stop, step) + (step / 2 - c) for side, c in zip(place, centre, strict=True)
        )
        if not len(y) or not len(x):
            return place, np.zeros((len(y), len(x)), dtype=np.bool_)
        grid = np.stack(np.broadcast_arrays(y[:, None], x[None]))
        if warp is not None:
            across = [_bumps(side / r) for side, r in zip((y, x), reach, strict=True)]
            grid = grid + np.einsum("yi,aij,xj->ayx", across[0], warp, across[1]) * reach.max()
        inverse = np.linalg.inv(pose)
        there = (np.einsum("ab,byx->ayx", inverse, grid) + half[:, None, None]) / self.cell + 0.5
        scale = math.sqrt(abs(float(np.linalg.det(pose))))
        share = ndimage.map_coordinates(self._softened(scale * self.cell / step), there, order=1)
        mask = _of_area(share, self.area * scale**2 / step**2)
        if step > 1:
            rows, columns = (np.arange(side.stop - side.start) // step for side in place)
            mask = mask[rows[:, None], columns[None]]
        return place, mask

    def _softened(self, cell_px: float) -> Floats:
        """Coverage where a cell is so many pixels wide, without gaps and steps, and one more cell all around."""
        cells = np.pad(self.coverage.astype(np.float64) / _LEVELS, 1)
        if cell_px < 1:
            return np.asarray(ndimage.gaussian_filter(cells, 0.5 / cell_px))
        if cell_px <= 2:
            return cells
        # A line runs through the middle of some cells and between others; it is to be equally wide in both.
        soft = ndimage.gaussian_filter(cells, 0.8)
        crest = ndimage.maximum_filter(soft, 3)
        return np.asarray(soft / np.maximum(crest, 0.02) ** 0.8)


def pose(angle: float, scale: float, mirror_axis: float | None) -> Floats:
    """(2, 2) that mirrors y, x at an axis, turns them counter-clockwise as seen, and scales them; degrees."""
    turn = math.radians(angle)
    turned = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    if mirror_axis is None:
        return turned * scale
    along = np.array([-math.sin(math.radians(mirror_axis)), math.cos(math.radians(mirror_axis))])
    return np.asarray(turned @ (2 * np.outer(along, along) - np.eye(2)) * scale)


def warp(rng: np.random.Generator, strength: float) -> Floats:
    """A smooth displacement for `Shape.drawn`, as a share of its half length: (2, nodes, nodes)."""
    return rng.normal(0, strength, (2, _NODES, _NODES))


def _bumps(along: Floats) -> Floats:
    """(n, nodes): how much each node moves a place, from −1 to 1 along a side."""
    nodes = np.linspace(-1, 1, _NODES)
    weight = np.exp(-(((along[:, None] - nodes) / _SPAN) ** 2) / 2)
    return np.asarray(weight / (weight.sum(axis=1, keepdims=True) + 1e-3))


def _of_area(share: NDArray[np.floating[Any]], area: float) -> Mask:
    """The pixels with the largest shares, as many as the area asks for."""
    count = min(max(round(area), 1), share.size)
    least = np.partition(share, share.size - count, axis=None)[share.size - count]
    return np.asarray(share >= max(float(least), 0.02))


def _cells(mask: Mask, cell: int) -> NDArray[np.uint8]:
    rows, columns = (np.arange(0, side, cell) for side in mask.shape)
    sums = np.add.reduceat(np.add.reduceat(mask.astype(np.int64), rows, axis=0), columns, axis=1)
    coverage = -(-sums * _LEVELS // cell**2)  # up, so that nothing vanishes
    return np.asarray(coverage, dtype=np.uint8)


def _text(coverage: NDArray[np.uint8]) -> str:
    return base64.b64encode(zlib.compress(coverage.tobytes(), 9)).decode()


def _whole(value: Any) -> int:
    if not isinstance(value, int) or not 1 <= value <= 1 << 40:
        raise ShapeError(f"a shape's numbers must be whole and above 0; got {value!r}")
    return value
