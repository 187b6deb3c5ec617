"""What a data set came to, for whoever decides whether to train on it: the report, without its pictures."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from flawsmith.contract.base import Answer, FormatVersion, Schema
from flawsmith.contract.datasets import LeftOut
from flawsmith.contract.evaluations import Evaluation
from flawsmith.contract.ids import JobId
from flawsmith.contract.specs import DatasetItemKind, DatasetLock, Split

ReportFormat = Literal["html", "json"]
REPORT_FORMATS: tuple[ReportFormat, ...] = ("html", "json")
ReportNoteCode = Literal[
    "canceled",
    "failed",
    "left-out",
    "few-items",
    "mostly-rejected",
    "side-without-type",
    "near-duplicates",
    "near-duplicates-across-sides",
    "mixed-images",
    "one-place",
    "larger-than-real",
    "smaller-than-real",
    "no-controls",
    "do-not-use",
    "not-evaluated",
]
"""What a note is about; others may come."""


class DatasetVerdict(Schema):
    """What an evaluation said of a type's synthetic data, as it was when the data set was asked for."""

    evaluation: JobId
    defect_type: str
    """``name@version``."""
    result: Evaluation


class ReportNote(Answer):
    """Something to know before training on the data set, with what to do about it."""

    level: Literal["warning", "hint"]
    code: str
    """One of `ReportNoteCode`."""
    defect_types: list[str] = Field(default_factory=list)
    """``name@version`` of the types that it is about; none where it is about all."""
    detail: str


class ReportCounts(Answer):
    """Items by what became of them."""

    planned: int = 0
    exported: int = 0
    """Part of the exports: made, and with the least quality asked for."""
    rejected: int = 0
    """Made, and below it."""
    failed: int = 0
    canceled: int = 0


class ReportDistribution(Answer):
    """How a score or a measure is spread."""

    count: int
    """How many values there are."""
    least: float
    median: float
    """To within a bin of the histogram's finer grid: .005 of scores, 4 % of sizes."""
    greatest: float
    edges: list[float]
    """Of the bins, one more than there are."""
    exported: list[int]
    """Values in each bin, of items that are part of the exports."""
    rejected: list[int]
    """The same of items below the least quality."""


class ReportPlaces(Answer):
    """Where labels lie in the image, over a grid; of items that are part of the exports."""

    items: int
    """How many labels were looked at."""
    cells: list[list[int]]
    """Rows from the top, columns from the left: labels that reach into the cell."""


class ReportItem(Answer):
    """An item that the report shows."""

    index: int
    name: str
    """As in ``manifest.jsonl``, and the stem of its files."""
    split: Split
    source: str
    defect_types: list[str] = Field(default_factory=list)
    quality: float | None = None
    """Of one without a defect None."""
    weakest: str | None = None
    """Which of its scores is the least, and so its quality."""
    min_quality: float | None = None
    """The least that was asked for."""


class ReportSheet(Answer):
    """Items that stand for many; none is in two of the lists."""

    worst: list[ReportItem] = Field(default_factory=list)
    """Of the least quality, the least first."""
    best: list[ReportItem] = Field(default_factory=list)
    """Of the highest, the highest first."""
    by_lot: list[ReportItem] = Field(default_factory=list)
    """Drawn by lot out of the others, the same ones in every build."""


class TypeReport(Answer):
    """What there is of one type; an image with several counts for each of them."""

    defect_type: str
    """``name@version``."""
    number: int
    """Of its class in labels."""
    counts: ReportCounts
    sides: dict[Split, int]
    """Items on each side of the split that are part of the exports."""
    scores: dict[str, ReportDistribution]
    """By name; ``realism`` and ``novelty`` tell the distance to real samples, where the type keeps some."""
    sizes: dict[str, ReportDistribution]
    """Of connected regions of labels: ``area``, ``length``, ``width`` in pixels, or ``…_um`` where the size of a
    pixel is known of all, and ``contrast``."""
    relative_size: float | None = None
    """Median length of labels over that of the real samples whose shapes they have, both relative to their parts;
    None where shapes come from none."""
    places: ReportPlaces
    sheet: ReportSheet


class GoodReport(Answer):
    """What there is without a defect, of one kind."""

    kind: DatasetItemKind
    counts: ReportCounts
    sides: dict[Split, int]
    sheet: ReportSheet


class ReportImages(Answer):
    """Normal images of the same size and kind."""

    width: int
    height: int
    mode: str
    bit_depth: int
    normals: int


class ReportFailure(Answer):
    """Items that failed for the same reason."""

    code: str
    detail: str
    """Of the first of them."""
    items: int


class ReportRejections(Answer):
    """What was asked for and is not part of the exports, and why."""

    weakest: dict[str, int]
    """Items that are not accepted, by what of their bin they miss or that nothing of them is seen, else by which
    of their scores is the least."""
    shown: list[ReportItem]
    """Some of them, drawn by lot."""
    failures: list[ReportFailure]
    """The most frequent first, at most 20 reasons."""
    left_out: list[LeftOut]
    """Normal images that are no part of the data set; at most 100."""
    left_out_count: int


class ReportPair(Answer):
    """Two that look the same."""

    first: str
    second: str
    """Names: of items, or of normal images."""
    sides: tuple[Split, Split]
    bits: int
    """By how many of 256 bits their perceptual hashes differ; at most 12."""
    indices: tuple[int, int]
    """Of the items, or of the first item that was drawn on each of the normal images, or is it."""


class ReportPairs(Answer):
    """Near-duplicates among what was looked at."""

    looked_at: int
    pairs: int
    """Of a crowd of alike ones not each with each, but some with their neighbours."""
    across_sides: int
    """Of them with one on another side of the split."""
    shown: list[ReportPair]
    """Those across sides first, then the most alike; at most 12."""


class DatasetReport(Answer):
    """``report.json``: what a data set came to. It tells no time and no id, so that two builds have the same."""

    format_version: FormatVersion
    title: str
    """What the parts are called."""
    canceled: bool
    seed: int
    lock: DatasetLock
    counts: ReportCounts
    """Of items of all kinds."""
    splits: dict[Split, int]
    """Items of all kinds that are part of the exports."""
    images: list[ReportImages]
    """The most frequent first."""
    notes: list[ReportNote]
    """What matters most first."""
    verdicts: list[DatasetVerdict]
    types: list[TypeReport]
    """In the order of their class numbers."""
    good: list[GoodReport]
    """Controls and normal images, as far as there are any."""
    rejections: ReportRejections
    alike_normals: ReportPairs
    alike_items: ReportPairs
    """Among items with a defect, by what is around it."""
