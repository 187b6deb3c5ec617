"""Outlines and runs, as annotations give them, into masks."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MAX_EDGES = 4_000_000
"""Pixels along the edges of all outlines of an image; each takes some 60 bytes of memory while it is drawn."""
_MAX_RUNS = 4_000_000
"""Of one mask."""
_CIRCLE_CORNERS = 72
_MAX_CORNERS = 50_000
_FAR = 1e6
"""Corners farther out than any image reaches do not say more than these."""
_MAX_COVER = 32
"""Times that all shapes of an image may look at each of its pixels on average."""


class ShapeError(ValueError):
    """A shape cannot be drawn; the message says why."""


@dataclass(frozen=True, eq=False)
class Outline:
    """A closed polygon.

    ``corners`` (n, 2) float, x before y, in pixels from the image's upper left corner: the first pixel reaches
    from 0 to 1. Where the outline crosses itself, the even-odd rule holds.
    """

    corners: NDArray[np.float64]

    @classmethod
    def of(cls, numbers: Iterable[object]) -> Outline:
        """From x, y, x, y, …

        Raises:
            ShapeError: fewer than three corners, an odd number of numbers, or something that is no finite number.
        """
        values = [_number(value) for value in numbers]
        if len(values) > 2 * _MAX_CORNERS:
            raise ShapeError(f"a polygon has more than {_MAX_CORNERS:,} corners; simplify it")
        if len(values) < 6 or len(values) % 2:
            raise ShapeError(f"a polygon of {len(values)} numbers has no three corners")
        return cls(np.array(values, dtype=np.float64).reshape(-1, 2))

    @classmethod
    def box(cls, left: object, top: object, right: object, bottom: object) -> Outline:
        """From two opposite corners.

        Raises:
            ShapeError: as `of`.
        """
        return cls.of((left, top, right, top, right, bottom, left, bottom))

    @classmethod
    def ellipse(cls, x: object, y: object, radius_x: object, radius_y: object) -> Outline:
        """From its middle and its half axes, which lie along the image's.

        Raises:
            ShapeError: as `of`.
        """
        angle = np.linspace(0, 2 * math.pi, _CIRCLE_CORNERS, endpoint=False)
        across = _number(x) + _number(radius_x) * np.cos(angle)
        down = _number(y) + _number(radius_y) * np.sin(angle)
        return cls(np.stack([across, down], axis=1))

    def turned(self, degrees: object) -> Outline:
        """The same, turned clockwise around the middle of the box around it.

        Raises:
            ShapeError: that is no finite number.
        """
        angle = math.radians(_number(degrees))
        if angle == 0:
            return self
        corners = self.corners.clip(-_FAR, _FAR)
        middle = (corners.min(axis=0) + corners.max(axis=0)) / 2
        turn = [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
        return Outline((corners - middle) @ np.array(turn) + middle)

    def area(self, height: int, width: int) -> int:
        """Pixels of an image of that size that drawing it looks at."""
        left, top, right, bottom = self._place(height, width)
        return (right - left) * (bottom - top)

    def edges(self, height: int, width: int) -> int:
        """Pixels along its edges that drawing it on an image of that size follows, at most."""
        left, top, right, bottom = self._place(height, width)
        if left == right or top == bottom:
            return 0
        corners = self.corners.clip(-_FAR, _FAR)
        lengths = np.abs(np.roll(corners, -1, axis=0) - corners).max(axis=1)
        return int(lengths.clip(max=max(right - left, bottom - top)).sum())

    def draw(self, mask: NDArray[np.bool_]) -> None:
        """Set in ``mask`` (H, W) the pixels whose middle is inside; if there are none, those that it runs over."""
        left, top, right, bottom = self._place(*mask.shape)
        place = mask[top:bottom, left:right]
        if not place.size:
            return
        corners = self.corners.clip(-_FAR, _FAR) - (left, top)
        inside = _filled(corners, *place.shape)
        place |= inside if inside.any() else _traced(corners, *place.shape)

    def _place(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the pixels that it touches; an empty place if it is outside."""
        least = np.floor(self.corners.min(axis=0).clip(0, (width, height))).astype(int)
        most = (
            (np.floor(self.corners.max(axis=0).clip(-1, (width, height))) + 1).clip(0, (width, height)).astype(int)
        )
        return int(least[0]), int(least[1]), max(int(least[0]), int(most[0])), max(int(least[1]), int(most[1]))


@dataclass(frozen=True, eq=False)
class Runs:
    """A rectangle of pixels as run lengths, the first of pixels that are not set.

    ``lengths`` go row by row, or column by column if ``columns`` is set, and add up to the rectangle's area.
    """

    left: int
    top: int
    width: int
    height: int
    lengths: Sequence[int]
    columns: bool = False

    def area(self, height: int, width: int) -> int:
        """Pixels of an image of that size that drawing it looks at."""
        return min(max(0, self.width), width) * min(max(0, self.height), height)

    def draw(self, mask: NDArray[np.bool_]) -> None:
        """Set its pixels in ``mask`` (H, W).

        Raises:
            ShapeError: the rectangle is not inside the image, or the runs do not fill it.
        """
        height, width = mask.shape
        far = int(_FAR)
        box = tuple(
            max(-far, min(side, far))
            for side in (self.left, self.top, self.left + self.width, self.top + self.height)
        )
        if self.left < 0 or self.top < 0 or self.width < 1 or self.height < 1 or box[2] > width or box[3] > height:
            raise ShapeError(f"runs for the pixels {box} do not lie in an image of {width}×{height}")
        try:
            lengths = np.array(self.lengths, dtype=np.int64)
        except (OverflowError, TypeError, ValueError) as error:
            raise ShapeError("run lengths must be whole numbers") from error
        if lengths.ndim != 1:
            raise ShapeError("run lengths must be whole numbers, and no lists of them")
        area = self.width * self.height
        if len(lengths) == 0 or lengths.min() < 0 or lengths.max() > area or lengths.sum() != area:
            raise ShapeError(f"the runs do not add up to the {self.width}×{self.height} pixels that they are for")
        filled = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
        place = mask[box[1] : box[3], box[0] : box[2]]
        place |= filled.reshape(self.width, self.height).T if self.columns else filled.reshape(place.shape)


Shape = Outline | Runs


def drawn(shapes: Sequence[Shape], height: int, width: int) -> NDArray[np.bool_]:
    """All of ``shapes`` in one mask (height, width).

    Raises:
        ShapeError: one of them cannot be drawn, or there are far too many.
    """
    if sum(shape.area(height, width) for shape in shapes) > _MAX_COVER * height * width:
        raise ShapeError(f"{len(shapes):,} shapes cover the image more than {_MAX_COVER} times over")
    outlines = [shape for shape in shapes if isinstance(shape, Outline)]
    if sum(outline.edges(height, width) for outline in outlines) > _MAX_EDGES:
        corners = sum(len(outline.corners) for outline in outlines)
        raise ShapeError(f"its outlines, of {corners:,} corners in all, are too fine to be drawn; simplify them")
    mask = np.zeros((height, width), np.bool_)
    for shape in shapes:
        shape.draw(mask)
    return mask


def listed_runs(text: str) -> array[int]:
    """Run lengths out of numbers with commas between them, in little memory.

    Raises:
        ShapeError: it is no such text.
    """
    if text.count(",") >= _MAX_RUNS:
        raise _too_many_runs()
    try:
        return array("i", map(int, text.split(",")))
    except (ValueError, OverflowError) as error:
        raise ShapeError("run lengths must be whole numbers") from error


def unpacked_runs(text: str) -> array[int]:
    """The same out of COCO's compressed text: signed base-32 numbers, from the fourth on less the last but one.

    Raises:
        ShapeError: it is no such text.
    """
    lengths = array("i")
    number = shift = 0
    for letter in text:
        digit = ord(letter) - 48
        if not 0 <= digit < 64 or shift > 60:
            raise ShapeError("the compressed runs are damaged")
        number |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            number -= 1 << shift
        if len(lengths) == _MAX_RUNS:
            raise _too_many_runs()
        try:
            lengths.append(number + lengths[-2] if len(lengths) > 2 else number)
        except OverflowError as error:
            raise ShapeError("the compressed runs are damaged") from error
        number = shift = 0
    if shift:
        raise ShapeError("the compressed runs are cut off")
    return lengths


def _too_many_runs() -> ShapeError:
    return ShapeError(f"a mask has more than {_MAX_RUNS:,} runs; simplify it")


def _filled(corners: NDArray[np.float64], height: int, width: int) -> NDArray[np.bool_]:
    """Even-odd fill: along a row of pixel middles, each edge that is crossed turns inside to outside."""
    start, end = corners, np.roll(corners, -1, axis=0)
    falls = (start[:, 1] <= end[:, 1])[:, None]
    upper, lower = np.where(falls, start, end), np.where(falls, end, start)
    first = np.ceil(upper[:, 1] - 0.5).clip(0, height).astype(np.int64)
    last = np.ceil(lower[:, 1] - 0.5).clip(0, height).astype(np.int64)
    spans = last - first
    total = int(spans.sum())
    edge = np.repeat(np.arange(len(corners)), spans)
    row = np.arange(total) - np.repeat(np.cumsum(spans) - spans, spans) + first[edge]
    slope = (lower[edge, 0] - upper[edge, 0]) / (lower[edge, 1] - upper[edge, 1])
    x = upper[edge, 0] + slope * (row + 0.5 - upper[edge, 1])
    column = np.ceil(x - 0.5).clip(0, width).astype(np.int64)
    turns = np.zeros((height, width + 1), np.uint8)
    np.bitwise_xor.at(turns, (row, column), 1)
    return np.bitwise_xor.accumulate(turns, axis=1)[:, :width].astype(np.bool_)


def _traced(corners: NDArray[np.float64], height: int, width: int) -> NDArray[np.bool_]:
    """The pixels that the outline runs through."""
    mask = np.zeros((height, width), np.bool_)
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        steps = min(2 * max(height, width), int(2 * np.abs(end - start).max()) + 2)
        points = np.linspace(start, end, steps)
        inside = (points >= 0).all(axis=1) & (points[:, 0] < width) & (points[:, 1] < height)
        columns, rows = points[inside].astype(np.int64).T
        mask[rows, columns] = True
    return mask


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ShapeError(f"{str(value)[:40]!r} is no coordinate")
    try:
        number = float(value)
    except (ValueError, OverflowError) as error:
        raise ShapeError(f"{str(value)[:40]!r} is no coordinate") from error
    if not math.isfinite(number):
        raise ShapeError(f"{str(value)[:40]!r} is no coordinate")
    return number
