"""Items of a data set as they are told of: rows of its manifest, annotations, and views that are exported."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from flawsmith.contract.base import Answer, FormatVersion, Schema
from flawsmith.contract.datasets import Alignment
from flawsmith.contract.specs import Box, DatasetItemKind, Split


class DatasetRow(Answer):
    """A row of ``manifest.jsonl``: an item, where it comes from, and what became of it."""

    index: int
    name: str
    kind: DatasetItemKind
    split: Split
    group: str
    status: Literal["pending", "succeeded", "failed", "canceled"]
    """Pending only while the data set is being made."""
    accepted: bool | None
    """Whether it has the least quality, the size and the contrast asked for, and a labelled pixel unless it is a
    control; those that have not are no part of the exports."""
    rejection: str | None = None
    """Why it is not accepted."""
    entry: int | None = None
    """Place of its entry in the request; None of a normal image."""
    bin: int | None = None
    """Place of the bin that it is for among those of its entry; None if there are none, or of a control."""
    image: str | None = None
    """File in the archive: in the common folder of images, or in MVTec's layout if that is the only one. None of
    those that are no part of the exports."""
    image_sha256: str | None = None
    mask_sha256: str | None = None
    """Of image and label as they are exported; of an item that is no part of the exports as it was made."""
    pixels_sha256: str | None = None
    """Of the item as it was made, whole and at its photo's own depth."""
    crop: Box | None = None
    """Which part of the photo image and labels show, x, y, width, height; None if it is all. Whatever else the row
    says is of the whole photo."""
    black_level: int | None = None
    white_level: int | None = None
    """Values of a 16-bit photo that became 0 and 255 in the exported image; None if it has the photo's own."""
    source: str
    source_sha256: str
    source_mask_sha256: str | None = None
    source_region_sha256: str | None = None
    source_exclude_sha256: str | None = None
    """Digests of the canonical files beside the normal image, as far as they were sent or carried over: whoever
    makes the item again sends them too."""
    alignment: Alignment | None = None
    """Where the reference lies in the normal image, from which they were carried over; those files are in the
    archive, in ``carried/``, called by their digests."""
    metadata: dict[str, JsonValue]
    defect_types: list[str]
    classes: list[int]
    backbone: str | None
    backbone_digest: str | None
    seed: int | None
    request: dict[str, JsonValue] | None
    """Parameters of the augmentation that makes the same pixels."""
    scores: dict[str, float | int | None] | None
    measures: dict[str, JsonValue] | None
    drawn: list[dict[str, JsonValue]] | None
    fingerprint: str | None
    error: str | None = None


class DatasetRowPage(Answer):
    """Rows of a data set, in the order of its items."""

    rows: list[DatasetRow]
    next_cursor: str | None = None


class RegionAnnotation(Schema):
    """One connected region of a label (8-connected)."""

    defect: int
    """Which defect of the item it is of, by its place among them."""
    area: int
    box: tuple[int, int, int, int]
    """x, y, width, height in pixels."""
    rle: str
    """COCO's compressed run lengths, column by column, of exactly these pixels in the whole image."""
    polygons: list[list[float]]
    """Outlines, each x, y, x, y, … in pixels, pixel centres at .5; holes are left out. They lie a sixteenth of a
    pixel inside the region's own edges: whoever cuts them off to whole numbers paints no pixel beside it."""


class ItemAnnotations(Schema):
    """What exports say of an item's label, made by who has its pixels."""

    format_version: FormatVersion
    width: int
    height: int
    regions: list[RegionAnnotation]
    polygon_iou: float
    """Of the pixels within a defect's polygons with those of its label, the least of all defects; 1 where there is
    no region."""


class ItemView(Schema):
    """An item as it is exported, where that is not as it was made; kept beside what was made."""

    format_version: FormatVersion
    view: str
    """Digest under which it is kept."""
    of_sha256: str
    """Of the image that it was made of: what draws an item anew may draw it otherwise."""
    width: int
    height: int
    image_sha256: str
    mask_sha256: str | None
    """None of what shows no defect."""
    crop: Box | None
    black_level: int | None
    white_level: int | None
    """As a row says them."""
