"""Sets of samples: what a defect type is taught from, and what there is to say of a set before it is taught."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from flawsmith.contract.base import Answer

SampleLayout = Literal["mvtec", "coco", "labelme", "cvat", "pairs"]
"""How the files of a set say which mask belongs to which image; ``pairs`` also for pairs of uploads."""

IMAGE_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".tif", ".tiff", ".bmp", ".webp"})
"""Of files that are looked at as images, in lower case; what they are is told by their content."""
ANNOTATION_ENDINGS = frozenset({".json", ".xml"})

AdviceCode = Literal[
    "few-pairs", "no-normals", "small-masks", "large-masks", "boxes", "mixed-sizes", "mixed-modes", "duplicates"
]
"""What to mend in a set; stable, more may come."""


class Advice(Answer):
    """One thing that would make a type taught from the set better."""

    code: AdviceCode | str
    detail: str
    """What is so, what it leads to, and what to do about it."""
    samples: list[str] = Field(default_factory=list)
    """Names in the set of the files that it is about; empty if it is about all of them."""


class SampleSize(Answer):
    """How many images of the set are of one size, upright."""

    width: int
    height: int
    count: int


class SampleEntry(Answer):
    """One image of a set with the mask of its defect."""

    source: str
    """Name of the image's file in the set."""
    sha256: str
    """Of the image's file as it was sent, in hex."""
    group: str
    """Images of one group are equal, and are never on both sides of a hold-out."""
    width: int
    height: int
    mask_pixels: int
    """Pixels set in its mask."""


class SampleReport(Answer):
    """What was found in a set of samples; it can be taught, but for what the advice says."""

    layout: SampleLayout
    label: str | None = None
    """The class of the set that was asked for; None: all classes are one type."""
    classes: dict[str, int] = Field(default_factory=dict)
    """Pairs a class of the set, all classes; empty where its layout has none."""
    samples: list[SampleEntry]
    """Pairs of image and mask, in the set's order."""
    normals: int
    """Normal images, after what was too many was thinned out."""
    sizes: list[SampleSize]
    """Of all images, the commonest first."""
    warnings: list[str]
    """What was taken otherwise than it was sent."""
    advice: list[Advice]
