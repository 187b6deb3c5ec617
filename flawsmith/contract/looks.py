"""What a report of a data set needs to know of an item's pixels, noted down by the worker that had them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flawsmith.contract.base import Answer, FormatVersion, Schema

CELLS = 16
"""Rows and columns of the grid over an image by which it is said where labels lie."""
PATTERN_BITS = 256

Pattern = Annotated[str, Field(pattern=f"^[0-9a-f]{{{PATTERN_BITS // 4}}}$")]
"""A perceptual hash: the fewer bits of two differ, the more alike two images look."""


class ItemLook(Answer):
    """What an item looks like, in a few numbers."""

    pattern: Pattern
    """Of what is around its defects; of one without a defect of the whole image."""
    source_pattern: Pattern
    """Of its normal image as a whole."""
    places: list[Annotated[str, Field(pattern=f"^[0-9a-f]{{{CELLS * CELLS // 4}}}$")]] = Field(
        default_factory=list
    )
    """Of each of its defects: the cells of a grid of 16 × 16 over the image in which its label lies, as bits, row
    by row from the highest."""


class ThumbnailOutline(Schema):
    """One connected region of a label, outlined."""

    defect: int
    """Which defect of the item it is of, by its place among them."""
    points: list[int]
    """x, y, x, y, … in pixels of the thumbnail: corners between pixels."""


class Thumbnail(Schema):
    """A small picture of an item, with its label as outlines that are not part of the picture."""

    format_version: FormatVersion
    width: int
    height: int
    jpeg: str
    """The picture, in base64: what is around the defects; of an item without a defect the whole image."""
    outlines: list[ThumbnailOutline] = Field(default_factory=list)
