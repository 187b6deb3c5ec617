"""`POST /v1/datasets`: what data set is asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations
from typing import Annotated, Literal, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from flawsmith.contract.augmentations import MAX_DEFECTS, Metadata, Method, Seed, Severity
from flawsmith.contract.base import FormatVersion, Schema
from flawsmith.contract.files import IMPORT_SEGMENT
from flawsmith.contract.ids import DefectTypeName, DefectTypeRef, JobId, UploadId
from flawsmith.contract.wishes import ContrastRange, SizeRange

MAX_ENTRIES = 64
MAX_BINS = 32
"""Of an entry."""
MAX_ITEMS = 100_000
MAX_NORMALS = 10_000
MAX_PAIRS = MAX_ENTRIES * MAX_NORMALS
"""Of an entry, or a bin of one, and a normal image that it may be drawn on: each is looked at for the plan."""
MAX_EVALUATIONS = 64

DatasetFormat = Literal["mvtec", "coco", "yolo", "classes", "jsonl"]
"""How a data set is laid out in its archive; all but ``mvtec`` share one folder of images."""
DATASET_FORMATS: tuple[DatasetFormat, ...] = ("mvtec", "coco", "yolo", "classes", "jsonl")
Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
DatasetItemKind = Literal["defect", "control", "normal"]
"""Drawn with defects; drawn anew without one; the normal image as it is."""
Masks = Literal["drawn", "given"]
"""Of each item its own, as the type has learned it; or that of its normal image, which was sent."""


BitDepth = Annotated[
    Literal["keep", "8"],
    BeforeValidator(lambda value: "8" if type(value) is int and value == 8 else value),
    WithJsonSchema({"enum": ["keep", "8", 8]}),
]
"""Of exported images: that of their photo, or 8 where that has 16."""
Frame = Literal["full", "crop"]
"""What of an image is exported: all of it, or a window around its place."""
CROP_SIZE = 512
"""Side of such a window in pixels, where none is said."""
Box = tuple[int, int, int, int]
"""x, y, width, height in pixels."""
Align = Literal["none", "shift", "rigid"]
"""How normal images are laid on a reference: as they lie; shifted; turned and shifted."""


class SeverityRange(Schema):
    """Each item has a severity of its own, evenly spread."""

    model_config = ConfigDict(strict=True)

    min: Severity
    max: Severity

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min must not be above max; got {self.min:g} and {self.max:g}")
        return self


AnySeverity = Severity | SeverityRange


class EntryDefect(Schema):
    """One of several defects in each image of an entry."""

    model_config = ConfigDict(strict=True)

    defect_type: DefectTypeRef
    """``name`` or ``name@version``; the lock's version if none is named, without a lock the newest."""
    severity: AnySeverity | None = None
    """The type's default if absent."""


class DatasetBin(Schema):
    """Items of an entry whose defects are to be of some size, some contrast, or both."""

    model_config = ConfigDict(strict=True)

    size: SizeRange | None = None
    """How long the largest region of the label is to be."""
    contrast: ContrastRange | None = None
    """How much that region is to change."""
    count: Annotated[int, Field(ge=1, le=MAX_ITEMS)] | None = None
    """Items in all, spread evenly over the normal images. Either this or ``per_image``."""
    per_image: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Items of each normal image."""

    @model_validator(mode="after")
    def _says_what_and_how_many(self) -> Self:
        if self.size is None and self.contrast is None:
            raise ValueError("name a size, a contrast, or both")
        if (self.count is None) == (self.per_image is None):
            raise ValueError("say either count, items in all, or per_image")
        return self

    def overlaps(self, other: DatasetBin, pixel_size_um: float | None = None) -> bool:
        """Whether a defect may be in both; a bin without a size, or without a contrast, has any."""
        sizes, contrasts = (self.size, other.size), (self.contrast, other.contrast)
        apart = sizes[0] and sizes[1] and not sizes[0].overlaps(sizes[1], pixel_size_um)
        return not apart and not (contrasts[0] and contrasts[1] and not contrasts[0].overlaps(contrasts[1]))


class DatasetEntry(Schema):
    """Items of one kind: what is drawn, how often, and how."""

    model_config = ConfigDict(strict=True)

    defect_type: DefectTypeRef | None = None
    """``name`` or ``name@version``; the lock's version if none is named, without a lock the newest. Either this or
    ``defects``."""
    defects: Annotated[list[EntryDefect], Field(min_length=1, max_length=MAX_DEFECTS)] | None = None
    """Several defects in each image, with a label of each."""
    count: Annotated[int, Field(ge=1, le=MAX_ITEMS)] | None = None
    """Items in all, spread evenly over the normal images. Either this, ``per_image`` or ``bins``."""
    per_image: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Items of each normal image."""
    bins: Annotated[list[DatasetBin], Field(min_length=1, max_length=MAX_BINS)] | None = None
    """Items by size and contrast of their defect, so many of each; no two bins overlap."""
    severity: AnySeverity | None = None
    """One for all, or a range; the type's default if absent. Beside ``defects`` each has its own."""
    masks: Masks = "drawn"
    """``given``: the mask that was sent with each normal image; those without one are not drawn on."""
    method: Method = "diffusion"
    guidance: Annotated[float, Field(ge=0, le=20)] | None = None
    steps: Annotated[int, Field(ge=4, le=250)] | None = None
    part: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Text of C2, what the part is; the type's own if absent."""
    min_quality: Annotated[float, Field(ge=0, le=1)] | None = None
    """Items below are drawn again, a bounded number of times; the data set's own if absent."""

    @model_validator(mode="after")
    def _says_what_and_how_many(self) -> Self:
        if (self.defect_type is None) == (self.defects is None):
            raise ValueError("name either defect_type, or several in defects")
        if self.defects is not None and self.severity is not None:
            raise ValueError("severity is of a single defect; say it in each of defects")
        if sum(how is not None for how in (self.count, self.per_image, self.bins)) != 1:
            raise ValueError("say either count, items in all, or per_image, or bins of size and contrast")
        if self.bins is not None:
            if self.defects is not None:
                raise ValueError("bins are of a single defect; name its defect_type in place of defects")
            clash = overlapping(self.bins)
            if clash is not None:
                raise ValueError(f"bins {clash[0]} and {clash[1]} overlap; end ranges where others begin")
        return self


def overlapping(bins: Sequence[DatasetBin]) -> tuple[int, int] | None:
    """Places of two bins that overlap; None if none do. Sizes in µm are not held against those in pixels."""
    for (first, one), (second, other) in combinations(enumerate(bins), 2):
        mixed = one.size is not None and other.size is not None and one.size.unit != other.size.unit
        if not mixed and one.overlaps(other):
            return first, second
    return None


class DatasetSplit(Schema):
    """How items are shared out. An image, its items and everything of its group are on one side."""

    model_config = ConfigDict(strict=True)

    train: Annotated[float, Field(ge=0, le=1)] = 1.0
    val: Annotated[float, Field(ge=0, le=1)] = 0.0
    test: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Shares of groups. A group is on the side on which its name falls, and stays there whatever is added."""
    group_by: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """Metadata of the normal images by which they are grouped, such as ``lot``; each its own group if absent."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise ValueError(f"train, val and test must add up to 1; got {self.train + self.val + self.test:g}")
        return self


class DatasetLock(Schema):
    """``flawsmith.lock``: what a data set was made with, so that the next build of it is the same."""

    model_config = ConfigDict(strict=True)

    format_version: FormatVersion
    defect_types: dict[DefectTypeName, int]
    """Version by name."""
    backbones: dict[str, str]
    """Digest by name."""
    classes: dict[DefectTypeName, Annotated[int, Field(ge=1, le=255)]]
    """Number of each class in labels; 0 is background. A class keeps its number, whatever comes or goes."""


class DatasetParameters(Schema):
    """Everything in a request for a data set but its normal images."""

    entries: Annotated[list[DatasetEntry], Field(min_length=1, max_length=MAX_ENTRIES)]
    """What is drawn; in a form as JSON."""
    controls: Annotated[int, Field(ge=0, le=MAX_ITEMS)] = 0
    """Items that are drawn anew without a defect, in places of the first entry, and labelled good."""
    include_normals: bool = True
    """Whether the normal images are part of the data set; they leave by the same encoder as items do."""
    seed: Seed | None = None
    """Drawn by the service and returned if absent; without one a build cannot be repeated."""
    min_quality: Annotated[float, Field(ge=0, le=1)] | None = None
    """For entries that have none of their own; each type's default if absent."""
    split: DatasetSplit = Field(default_factory=DatasetSplit)
    """How items are shared out; all train if absent."""
    formats: Annotated[list[DatasetFormat], Field(min_length=1, max_length=len(DATASET_FORMATS))] = Field(
        default_factory=lambda: list(DATASET_FORMATS)
    )
    """Layouts in which it is exported; all if absent."""
    bit_depth: BitDepth = "keep"
    """``8``: images of 16-bit photos are exported with 8 bits, a photo and all that is drawn on it by one map: the
    range of its camera, as the row says it, becomes 0–255. Labels are the same."""
    frame: Frame = "full"
    """``crop``: exported is a window around the place of the defect, with context, at the photo's own resolution,
    of image and labels alike; of controls and normal images one that is placed by the same rule."""
    crop_size: Annotated[int, Field(ge=64, le=4096)] | None = None
    """Side of these windows in pixels, 512 if absent; smaller where the photo is, larger where a mask needs it."""
    pixel_size_um: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """Edge of one pixel on the part in µm, of normal images whose metadata does not say it."""
    lock: DatasetLock | None = None
    """What an earlier build answered: types keep their versions, classes their numbers."""
    evaluations: Annotated[list[JobId], Field(max_length=MAX_EVALUATIONS)] = Field(default_factory=list)
    """Finished evaluations of types that are drawn, by the ids of their jobs: the report shows their verdicts."""
    align: Align | None = None
    """How each normal image is laid on ``reference``, so that what is drawn on that one holds for it, too: as it
    lies, shifted, or turned and shifted. What cannot be laid on it for sure is left out. Goes with a reference."""
    max_rotation_deg: Annotated[float, Field(gt=0, le=180)] | None = None
    """Of ``align`` ``rigid``: how far parts are turned against the reference, to either side; 180, any way, if
    absent. A part that looks the same turned by less than that is left out, for nobody knows which way it lies."""
    metadata: Metadata = Field(default_factory=dict)
    """Yours, kept to the end; at most 64 keys and 16 KiB as JSON."""
    dry_run: bool = False
    """Check everything, answer what would be made, and queue nothing."""

    @field_validator("crop_size")
    @classmethod
    def _of_crops(cls, size: int | None, info: ValidationInfo) -> int | None:
        if size is not None and info.data.get("frame") == "full":
            raise ValueError("is the side of crops; say frame: crop beside it, or leave it out")
        return size


class DatasetNormal(Schema):
    """A normal image that was uploaded before, with what belongs to it."""

    model_config = ConfigDict(strict=True)

    image: UploadId
    name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """What its file is called, for people; its id if absent."""
    mask: UploadId | None = None
    """Where defects may appear, for entries whose masks are given."""
    region: UploadId | None = None
    """Where masks may be drawn."""
    exclude: UploadId | None = None
    """Where masks may not be drawn."""
    metadata: Metadata = Field(default_factory=dict)
    """Part, serial number, lot, camera, ``pixel_size_um``; kept to the end."""


class DatasetPrefix(Schema):
    """Normal images that lie in the service's own storage, below the tenant's ``imports/``.

    They are read once, when the request is: what happens there later changes no data set.
    """

    model_config = ConfigDict(strict=True)

    prefix: Annotated[str, Field(min_length=1, max_length=500)]
    """A folder in ``imports/``, such as ``lines/7/2026-11/``; photos in folders below it count too. A table
    ``metadata.csv`` or ``metadata.jsonl`` in it says what is known of them."""

    @field_validator("prefix")
    @classmethod
    def _within(cls, prefix: str) -> str:
        if not all(re.fullmatch(IMPORT_SEGMENT, name) for name in prefix.removesuffix("/").split("/")):
            raise ValueError(
                "must be a path from your own folder imports/, such as lines/7/2026-11/, and no address: no slash "
                "in front, no backslash, no name that begins with a dot, such as .."
            )
        return prefix


class DatasetForm(DatasetParameters):
    """A form: its normal images are a ZIP, or a text that says where they lie."""

    normals: DatasetPrefix | None = None
    """Where normal images lie in the service's storage, as JSON."""


class DatasetReference(Schema):
    """A reference image, one of the normal images or another one of their size, and what is drawn on it."""

    model_config = ConfigDict(strict=True)

    image: UploadId
    mask: UploadId | None = None
    """Where defects may appear, for entries whose masks are given."""
    region: UploadId | None = None
    """Where masks may be drawn."""
    exclude: UploadId | None = None
    """Where masks may not be drawn."""

    @model_validator(mode="after")
    def _is_drawn_on(self) -> Self:
        if self.mask is None and self.region is None and self.exclude is None:
            raise ValueError("name what is drawn on it, in mask, region or exclude")
        return self


class DatasetRequest(DatasetParameters):
    """JSON: the normal images are uploads made before, or lie in the service's storage."""

    reference: DatasetReference | None = None
    """What is drawn on it holds for all normal images that name nothing of their own; goes with ``align``."""
    normals: Annotated[list[UploadId | DatasetNormal], Field(min_length=1, max_length=MAX_NORMALS)] | DatasetPrefix
