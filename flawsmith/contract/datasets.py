"""A data set as it is planned: every default filled in, every item named; and how far it is."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, JsonValue

from flawsmith.contract.augmentations import MAX_DEFECTS, Method
from flawsmith.contract.base import Answer, Schema, SparseSchema
from flawsmith.contract.ids import JobId
from flawsmith.contract.resolved import ResolvedAugmentation, ResolvedDefect
from flawsmith.contract.specs import (
    Align,
    BitDepth,
    DatasetBin,
    DatasetFormat,
    DatasetItemKind,
    DatasetLock,
    DatasetSplit,
    Frame,
    SeverityRange,
    Split,
)
from flawsmith.contract.uploads import ImageInfo
from flawsmith.contract.wishes import ContrastRange, SizeRange

MAX_LEFT_OUT = 100
"""Normal images of which a data set says one by one why they are no part of it."""


class ResolvedEntry(SparseSchema):
    """An entry with every default filled in."""

    sparse: ClassVar[frozenset[str]] = frozenset({"bins"})

    defects: list[ResolvedDefect] = Field(min_length=1, max_length=MAX_DEFECTS)
    """``severity`` of each is the least where there is a range."""
    severities: list[SeverityRange]
    """Of each defect; one severity for all is a range from and to it."""
    method: Method
    count: int | None
    per_image: int | None
    bins: list[DatasetBin] | None = None

    @property
    def parts(self) -> list[ResolvedEntry]:
        """An entry of its own for each bin; this one if it has none."""
        if self.bins is None:
            return [self]
        (defect,) = self.defects
        return [
            self.model_copy(
                update={
                    "defects": [defect.model_copy(update={"size": one.size, "contrast": one.contrast})],
                    "count": one.count,
                    "per_image": one.per_image,
                    "bins": None,
                }
            )
            for one in self.bins
        ]


class ResolvedDataset(Schema):
    """A data set with every default filled in."""

    entries: list[ResolvedEntry]
    controls: int
    include_normals: bool
    seed: int
    split: DatasetSplit
    formats: list[DatasetFormat]
    bit_depth: BitDepth = "keep"
    frame: Frame = "full"
    crop_size: int | None = None
    """None of whole frames."""
    lock: DatasetLock
    align: Align | None = None
    max_rotation_deg: float | None = None
    normals: int
    """Normal images that were taken."""
    prefix: str | None = None
    """Where they lay in the service's storage, if they did."""
    items: int
    """Of all kinds."""
    evaluations: list[JobId] = Field(default_factory=list)
    metadata: dict[str, JsonValue] = Field(default_factory=dict)

    def shown(self) -> dict[str, JsonValue]:
        """As the API shows it: types by name and version, whoever they belong to."""
        fields = self.model_dump(mode="json")
        for entry in fields["entries"]:
            for defect in entry["defects"]:
                del defect["defect_type_tenant"]
        return fields


class Alignment(Schema):
    """Where the reference lies in a normal image: turned about the middle of the frame, then shifted."""

    x_px: float
    """To the right."""
    y_px: float
    """Down."""
    angle_deg: float
    """Clockwise."""
    residual_px: float
    """Seven tenths of what the reference shows lie where this says, within so many pixels; of the reference itself
    it is 0."""


class DatasetSource(Schema):
    """A normal image of a data set as it lies in storage."""

    number: int
    name: str
    sha256: str
    """Of the image as it was sent."""
    input_sha256: str
    """Of its canonical file."""
    image: ImageInfo
    mask_sha256: str | None = None
    region_sha256: str | None = None
    exclude_sha256: str | None = None
    """Digests of the files beside it, as far as they were sent or carried over."""
    alignment: Alignment | None = None
    """How what was carried over to it was."""
    pixel_size_um: float | None = None
    group: str
    split: Split
    metadata: dict[str, JsonValue] = Field(default_factory=dict)

    def beside(self) -> dict[Literal["mask", "region", "exclude"], str]:
        """Digests of the files beside it, as far as there are some."""
        found: dict[Literal["mask", "region", "exclude"], str | None] = {
            "mask": self.mask_sha256,
            "region": self.region_sha256,
            "exclude": self.exclude_sha256,
        }
        return {name: sha256 for name, sha256 in found.items() if sha256 is not None}


class PlannedItem(SparseSchema):
    """A row of ``plan``: one item of a data set, before it is made.

    What is drawn is the augmentation with ``count`` 1 of the source: whoever sends that gets the same pixels.
    """

    sparse: ClassVar[frozenset[str]] = frozenset({"bin"})

    index: int
    name: str
    """Stem of its files, the same in every build that has it."""
    kind: DatasetItemKind
    entry: int | None
    """None of a normal image."""
    bin: int | None = None
    """Of the entry's bins the one that it is for; None if there are none, or of a control."""
    source: DatasetSource
    augmentation: ResolvedAugmentation | None
    """None of a normal image."""
    backbone: str | None = None
    """What draws it, by name; its digest is in the lock. Without it the lock's only one."""
    made: str
    """Digest of all that shapes it, under which it is kept: what was made once is not made again."""
    view: str | None = None
    """Digest of that and of how it is exported, under which its view is kept; None if it is exported as it is."""
    place: ResolvedAugmentation | None = None
    """Of a normal image that is cropped: what might be drawn on it; where that asks for a defect, the crop is."""

    def classes(self, lock: DatasetLock) -> list[int]:
        """What its label image shows: the number of each defect's class; none of a control or a normal image."""
        if self.kind != "defect" or self.augmentation is None:
            return []
        return [lock.classes[defect.defect_type] for defect in self.augmentation.defects]


class LeftOut(Answer):
    """A normal image that is no part of the data set."""

    name: str
    reason: str


class DatasetBinPlan(Answer):
    """How many items a bin comes to."""

    size: SizeRange | None = None
    contrast: ContrastRange | None = None
    items: int


class DatasetEntryPlan(Answer):
    """How many items an entry comes to."""

    defect_types: list[str]
    """``name@version``."""
    items: int
    bins: list[DatasetBinPlan] | None = None
    """None of an entry without bins."""


class NormalAlignment(Alignment):
    """Where the reference lies in a normal image of this name."""

    name: str


class AlignmentState(Answer):
    """How normal images were laid on the reference."""

    images: int
    """Those that were, and are part of the data set."""
    median_residual_px: float
    greatest_residual_px: float
    limit_px: float
    """Above it an image is left out."""


class DatasetState(Answer):
    """What a data set is, as a job shows it."""

    entries: list[DatasetEntryPlan]
    controls: int
    normals: int
    """Normal images that are part of it."""
    left_out: list[LeftOut] = Field(default_factory=list)
    """The first of them, a hundred at most: every answer holds them."""
    left_out_count: int = 0
    """Of all."""
    alignment: AlignmentState | None = None
    """Where images were laid on a reference."""
    lock: DatasetLock
    reused: int = 0
    """Items that were there already, from this or an earlier build."""


class DatasetPlan(Answer):
    """Answer to a dry run: what would be made."""

    request: dict[str, JsonValue]
    dataset: DatasetState
    items: int
    to_make: int | None
    """Items that are not there already; None of more than 2,000 items, which are not looked for one by one."""
    expected_s: float | None
    """Seconds that making them takes by the pace of late, by the workers there are; None if not known."""
    splits: dict[Split, int]
    alignments: list[NormalAlignment] = Field(default_factory=list)
    """Of each normal image to which something is carried over from the reference."""
    warnings: list[str]
