"""What is kept of a sample's defects: their shapes, and where they lay on the part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.frames import Frame, box_of, cell_at, depth_in, extent_of
from models.masks import Mask
from models.samples import SPECK, defects
from models.shapes import Shape

SIDES = ("top", "left", "bottom", "right")
OPPOSITE = (("top", "bottom"), ("left", "right"))
DRAWN_OUT = 1.5
"""Times longer than across, from which a shape has a direction."""

_FLUSH = 0.006  # of the part's extent: so near to its side, a defect is cut off by it
_FEW = 3  # drawn-out shapes, below which their directions say little
_FEW_TURN = 15.0  # degrees, then
_SPREAD_OUT = 0.6  # length of the mean direction, below which any will do


@dataclass(frozen=True, eq=False)
class Known:
    """A sample's defect: its shape, and where it lay on the part.

    Attributes:
        length: of the shape over the part's extent.
        place: y, x of its centre within the part's box, 0 to 1.
        sides: of the part's box that cut it off.
        sample: index of its sample.
    """

    shape: Shape
    length: float
    place: tuple[float, float]
    sides: tuple[str, ...]
    sample: int

    @property
    def is_band(self) -> bool:
        """Whether opposite sides cut it off, so that it is drawn out from one to the other."""
        return any(set(pair) <= set(self.sides) for pair in OPPOSITE)

    def length_in(self, frame: Frame) -> float:
        """Along its principal axis, in pixels, on a part with this box."""
        return self.length * extent_of(frame) * self.shape.reach / self.shape.length


@dataclass(frozen=True, eq=False)
class Defect:
    """A defect of a sample: its mask cut to its box, the box's top left corner, the part's box, which sample."""

    mask: Mask
    corner: tuple[int, int]
    frame: Frame
    sample: int

    @property
    def place(self) -> tuple[float, float]:
        """y, x of its centre within the part's box, 0 to 1."""
        y, x = (
            round((self.corner[i] + self.mask.shape[i] / 2 - self.frame[i]) / self.frame[i + 2], 4) for i in (0, 1)
        )
        return y, x

    @property
    def sides(self) -> tuple[str, ...]:
        """Of the part's box, which cut it off."""
        gaps = [self.corner[i] - self.frame[i] for i in (0, 1)]
        gaps += [self.frame[i + 2] - gaps[i] - self.mask.shape[i] for i in (0, 1)]
        near = 1 + _FLUSH * extent_of(self.frame)
        return tuple(side for side, gap in zip(SIDES, gaps, strict=True) if gap < near)

    def known(self) -> Known:
        """What is kept of it."""
        length = round(max(self.mask.shape) / extent_of(self.frame), 5)
        return Known(Shape.of(self.mask), length, near(self.place), self.sides, self.sample)


def near(place: tuple[float, float]) -> tuple[float, float]:
    """A place, no farther beyond the part's box than that is long."""
    y, x = (min(max(at, -1.0), 2.0) for at in place)
    return y, x


def of_sample(mask: Mask) -> list[tuple[tuple[int, int], Mask]]:
    """The defects of a mask, each cut to its box, with the box's top and left corner; specks are none."""
    top, left, height, width = box_of(mask)
    found = []
    for place, own in defects(mask[top : top + height, left : left + width], SPECK):
        own_top, own_left, own_height, own_width = box_of(own)
        inside = own[own_top : own_top + own_height, own_left : own_left + own_width]
        found.append(((top + place[0].start + own_top, left + place[1].start + own_left), inside))
    return found


def turn_of(shapes: Sequence[Shape]) -> float:
    """How far drawn-out shapes may be turned, in degrees: as far as those of the samples differ."""
    axes = [axis for axis, longer in (shape.axis for shape in shapes) if longer >= DRAWN_OUT]
    if len(axes) < _FEW:
        return _FEW_TURN
    mean = min(1.0, abs(np.exp(2j * np.radians(axes)).mean()))  # of axes, so that 179° is near 0°
    if mean < _SPREAD_OUT:
        return 180.0
    return round(float(np.degrees(np.sqrt(-2 * np.log(mean))) / 2), 1)


def depths_at(centres: Sequence[tuple[float, float]], part: Mask) -> list[float]:
    """How far places lie within the part, over its extent."""
    depth, step = depth_in(part)
    extent = extent_of(box_of(part))
    cells = [
        [cell_at(at, step, count) for at, count in zip(centre, depth.shape, strict=True)] for centre in centres
    ]
    return [round(float(depth[row, column]) / extent, 3) for row, column in cells]
