"""One picture of many items: their previews, beneath each other or in columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from flawsmith.contract.jobs import Item, Job

MAX_ROWS = 8
"""More items stand in further columns."""
PREVIEW_WIDTH = 960
MARGIN = 12
CAPTION_HEIGHT = 22
PAPER = (255, 255, 255)
INK = (30, 30, 30)


@dataclass(frozen=True)
class Entry:
    """One item on the sheet."""

    caption: str
    preview: Path


def write_overview(entries: Sequence[Entry], path: Path) -> Path:
    """Write the sheet of ``entries``, of which there is at least one; returns ``path``."""
    font = ImageFont.load_default(15)
    previews = [_opened(entry.preview) for entry in entries]
    width = max(preview.width for preview in previews) + MARGIN
    height = max(preview.height for preview in previews) + CAPTION_HEIGHT + MARGIN
    columns = -(-len(entries) // MAX_ROWS)
    rows = -(-len(entries) // columns)
    sheet = Image.new("RGB", (columns * width + MARGIN, rows * height + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (entry, preview) in enumerate(zip(entries, previews, strict=True)):
        left = MARGIN + number // rows * width
        top = MARGIN + number % rows * height
        draw.text((left, top), entry.caption, INK, font)
        sheet.paste(preview, (left, top + CAPTION_HEIGHT))
    sheet.save(path)
    return path


def caption(job: Job, item: Item) -> str:
    """What a person wants to know of an item."""
    parts = [f"{' + '.join(job.defect_types) or 'item'} {item.index}", f"seed {item.seed}"]
    if item.scores is not None:
        parts.append(f"quality {item.scores.quality:.2f}")
    if item.accepted is False:
        parts.append("below min quality" if item.rejection is None else item.rejection.code.replace("-", " "))
    return "   ".join(parts)


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as preview:
        picture = preview.convert("RGB")
    if picture.width > PREVIEW_WIDTH:
        height = max(1, round(picture.height * PREVIEW_WIDTH / picture.width))
        picture = picture.resize((PREVIEW_WIDTH, height), Image.Resampling.LANCZOS)
    return picture
