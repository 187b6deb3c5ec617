"""Outlines of regions, from which whoever fills them gets the pixels back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.subjects import Mask

INSET = 1 / 16
"""Pixels by which an outline lies inside the outermost edges of a region's pixels: cut off to whole numbers, as
those do who paint polygons with OpenCV, each corner names a pixel of the region."""

Corners = NDArray[np.int64]
"""(N, 2) x and y of corners between pixels, one step apart, clockwise as seen; the last one leads to the first."""

_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))
"""East, south, west, north: each the right turn of the one before."""
_LEFT_AHEAD = ((0, -1), (0, 0), (-1, 0), (-1, -1))
_RIGHT_AHEAD = ((0, 0), (-1, 0), (-1, -1), (0, -1))
"""The pixels beside the next step, as seen from the corner."""


@dataclass(frozen=True)
class _Turn:
    """A turn on the way around a region.

    Attributes:
        corner: its place on the way.
        before, after: headings.
        pinched: it leads from one pixel to another that touches it at this corner alone.
    """

    corner: int
    before: int
    after: int
    pinched: bool


class Outline:
    """The outer border of an 8-connected region; its holes are left out.

    Args:
        region: (h, w), not empty.
    """

    def __init__(self, region: Mask) -> None:
        self._size = region.shape
        self._path, self._turns = _walked(region)

    def filled(self) -> Mask:
        """(h, w), the pixels within: the region and its holes."""
        winding = np.zeros((self._size[0], self._size[1] + 1), dtype=np.int32)
        step = np.roll(self._path, -1, axis=0) - self._path
        vertical = step[:, 1] != 0
        rows = self._path[vertical, 1] + np.minimum(step[vertical, 1], 0)
        np.add.at(winding, (rows, self._path[vertical, 0]), step[vertical, 1])
        return np.asarray(np.cumsum(winding, axis=1)[:, :-1] != 0)

    def polygon(self, place: tuple[int, int]) -> list[float]:
        """x, y, x, y, … of its corners, `INSET` inside.

        Args:
            place: row and column of the region's first pixel in the image.
        """
        points: list[float] = []
        for turn in self._turns:
            x, y = self._path[turn.corner].tolist()
            (ax, ay), (bx, by) = _STEPS[(turn.before + 1) % 4], _STEPS[(turn.after + 1) % 4]  # inwards
            over = [(ax - bx, ay - by), (bx - ax, by - ay)]  # the last corner of one pixel, the first of another
            for dx, dy in over if turn.pinched else [(ax + bx, ay + by)]:
                points += [place[1] + x + INSET * dx, place[0] + y + INSET * dy]
        return points


def _walked(region: Mask) -> tuple[Corners, list[_Turn]]:
    """The way around a region, with it on the right, and the turns on it."""
    width = region.shape[1] + 2
    pixels = np.pad(region, 1).tobytes()
    left, right, steps = (
        [dy * width + dx for dx, dy in offsets] for offsets in (_LEFT_AHEAD, _RIGHT_AHEAD, _STEPS)
    )
    start = corner = pixels.index(1)  # no pixel above it is set, and none on its left
    heading = 0
    path, turns = [start], [_Turn(0, 3, 0, pinched=False)]
    while True:
        corner += steps[heading]
        if corner == start:
            break
        if pixels[corner + left[heading]]:
            turned = (heading - 1) % 4
            turns.append(_Turn(len(path), heading, turned, pinched=not pixels[corner + right[heading]]))
            heading = turned
        elif not pixels[corner + right[heading]]:
            turned = (heading + 1) % 4
            turns.append(_Turn(len(path), heading, turned, pinched=False))
            heading = turned
        path.append(corner)
    y, x = np.divmod(np.asarray(path, dtype=np.int64), width)
    return np.stack([x, y], axis=1) - 1, turns
