"""What is drawn: a mask, and what there is to say of its regions."""

from __future__ import annotations

from dataclasses import dataclass

from models.frames import box_of
from models.masks import Mask


class PlacementError(Exception):
    """No defect of the type fits where it may lie; the message says what would help."""


@dataclass(frozen=True)
class DrawnRegion:
    """One defect of a drawn mask.

    Attributes:
        area: pixels.
        box: x, y, width, height in pixels.
        angle: degrees by which the sample's shape was turned, counter-clockwise as seen, in (−180, 180].
        scale: its length over the sample's, both relative to their parts.
        of_sample: index of the sample whose shape it has.
    """

    area: int
    box: tuple[int, int, int, int]
    angle: float
    scale: float
    of_sample: int


@dataclass(frozen=True, eq=False)
class DrawnMask:
    """A requested mask that was drawn: (H, W) bool, not empty, and its defects, largest shape first."""

    mask: Mask
    regions: tuple[DrawnRegion, ...]


def region_of(place: tuple[slice, slice], mask: Mask, angle: float, scale: float, sample: int) -> DrawnRegion:
    """What is said of a shape that was laid at a place (slices of the image)."""
    top, left, height, width = box_of(mask)
    return DrawnRegion(
        area=int(mask.sum()),
        box=(place[1].start + left, place[0].start + top, width, height),
        angle=round(angle, 1) + 0.0,
        scale=round(scale, 3),
        of_sample=sample,
    )
