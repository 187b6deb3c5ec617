"""How long and how strong a defect is to be: ranges in which the measures of its largest region are to lie."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from flawsmith.contract.base import Schema

LEAST_SIZE_PX = 4
"""No window shows a defect that is shorter: that is about one cell of its latents."""

SizeUnit = Literal["px", "um"]


class SizeRange(Schema):
    """Length of the largest region of a defect's label, along its principal axis; both ends are included."""

    model_config = ConfigDict(strict=True)

    min: Annotated[float, Field(gt=0, le=1e9)]
    max: Annotated[float, Field(gt=0, le=1e9)]
    unit: SizeUnit = "px"
    """µm need ``pixel_size_um``."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _check_ordered(self.min, self.max)
        return self

    def pixels(self, pixel_size_um: float | None) -> tuple[float, float]:
        """Least and greatest length in pixels.

        Raises:
            ValueError: it is in µm, and the size of a pixel is not known.
        """
        if self.unit == "px":
            return self.min, self.max
        if pixel_size_um is None:
            raise ValueError("a size in µm needs pixel_size_um")
        return self.min / pixel_size_um, self.max / pixel_size_um

    def fits(self, width: int, height: int, pixel_size_um: float | None) -> bool:
        """Whether some length within lies in an image of this size and is not below what a window shows.

        Raises:
            ValueError: as `pixels`.
        """
        least, greatest = self.pixels(pixel_size_um)
        return greatest >= LEAST_SIZE_PX and least <= math.hypot(width, height)

    def overlaps(self, other: SizeRange, pixel_size_um: float | None = None) -> bool:
        """Whether both have more than an end in common; of one unit without the size of a pixel."""
        if self.unit == other.unit:
            return _overlap(self.min, self.max, other.min, other.max)
        return _overlap(*self.pixels(pixel_size_um), *other.pixels(pixel_size_um))


class ContrastRange(Schema):
    """Mean absolute change in that region as a share of the full range; both ends are included."""

    model_config = ConfigDict(strict=True)

    min: Annotated[float, Field(ge=0, le=1)]
    max: Annotated[float, Field(ge=0, le=1)]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _check_ordered(self.min, self.max)
        return self

    def overlaps(self, other: ContrastRange) -> bool:
        """Whether both have more than an end in common."""
        return _overlap(self.min, self.max, other.min, other.max)


def _check_ordered(low: float, high: float) -> None:
    if low >= high:
        raise ValueError(f"min must be below max; got {low:g} and {high:g}")


def _overlap(low: float, high: float, other_low: float, other_high: float) -> bool:
    return low < other_high and other_low < high
