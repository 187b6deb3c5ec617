"""What the files of a job are called, wherever they are written: in a folder, in an archive, by a browser."""

from __future__ import annotations

from typing import Literal

ItemPart = Literal["image", "mask", "preview", "request"]

ITEM_PARTS: tuple[ItemPart, ...] = ("image", "mask", "preview")
"""Of every item that succeeded; one whose mask was drawn has a ``request`` too."""
JOB_FILE = "job.json"
INPUT_FILE = "input.png"
MASK_FILE = "mask.png"
REGION_FILE = "region.png"
EXCLUDE_FILE = "exclude.png"
SHEET_FILE = "sheet.png"
SAMPLES_FILE = "samples.json"
EVALUATION_FILE = "evaluation.json"
"""In the archive of an evaluation: what it found."""

IMPORT_SEGMENT = r"[^./\\\x00-\x1f\x7f\ud800-\udfff][^/\\\x00-\x1f\x7f\ud800-\udfff]*"
"""Pattern of a folder's or file's name in ``imports/``, what people put into the service's storage themselves."""
IMPORT_TABLES = ("metadata.csv", "metadata.jsonl")
"""What is known of photos there, in the folder that a data set names."""

MANIFEST_FILE = "manifest.jsonl"
LOCK_FILE = "flawsmith.lock"
DATASET_FILE = "dataset.json"
"""At the root of the archive of a data set: its rows, what it was made with, and what it came to."""
REPORT_FILES: dict[Literal["html", "json"], str] = {"html": "report.html", "json": "report.json"}
"""Beside them: what it came to, for people and for programs."""


def defect_mask_file(defect: int) -> str:
    """The requested mask of one of several defects, beside ``mask.png`` of all."""
    return f"mask-{defect}.png"


def item_file(index: int, part: ItemPart, *, tiff: bool = False) -> str:
    """``item-03.png``, ``item-03-mask.png``, …; ``tiff`` says that the image is one."""
    stem = f"item-{index:02d}"
    if part == "image":
        return f"{stem}.tif" if tiff else f"{stem}.png"
    return f"{stem}-{part}.png"


def archive_member(index: int, part: ItemPart, *, tiff: bool = False) -> str:
    """The same file in an archive: images, masks, previews and requests in a folder each."""
    return f"{part}s/{item_file(index, part, tiff=tiff)}"


def item_defect_file(index: int, defect: int, defect_type: str) -> str:
    """``item-03-mask-1-scratch.png``: the label of one of an item's several defects.

    Args:
        defect_type: ``name`` or ``name@version``.
    """
    return f"item-{index:02d}-mask-{defect}-{defect_type.partition('@')[0]}.png"


def archive_defect(index: int, defect: int, defect_type: str) -> str:
    """The same file in an archive, apart from ``masks/``, where there is one for each image."""
    return f"defect-masks/{item_defect_file(index, defect, defect_type)}"


PLAN_ROWS = 256
"""Rows of a data set's plan in one file."""


def plan_file(index: int) -> str:
    """``plan/0.jsonl``: the file of a data set that has the row of an item."""
    return f"plan/{index // PLAN_ROWS}.jsonl"


def source_file(number: int, part: Literal["image", "mask", "region", "exclude"]) -> str:
    """``sources/3/image.png``: a normal image of a data set, or what was sent beside it."""
    return f"sources/{number}/{part}.png"


def carried_file(sha256: str) -> str:
    """``carried/….png``, in the archive of a data set: a mask, region or exclude that was carried over to a normal
    image from the reference, by its digest in hex."""
    return f"carried/{sha256}.png"
