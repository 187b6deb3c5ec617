"""One picture of all items of a job: their previews, beneath each other or in columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from flawsmith.contract.jobs import Item

MAX_ROWS = 8
"""More items stand in further columns."""
PREVIEW_WIDTH = 960
MARGIN = 12
CAPTION_HEIGHT = 22
PAPER = (255, 255, 255)
INK = (30, 30, 30)


def overview(entries: Sequence[tuple[Item, Path]], title: str) -> Image.Image:
    """The sheet of ``entries``, items with the paths of their previews; there is at least one."""
    font = ImageFont.load_default(15)
    previews = [_opened(path) for _, path in entries]
    cell = max(p.width for p in previews) + MARGIN, max(p.height for p in previews) + CAPTION_HEIGHT + MARGIN
    columns = -(-len(entries) // MAX_ROWS)
    rows = -(-len(entries) // columns)
    sheet = Image.new("RGB", (columns * cell[0] + MARGIN, rows * cell[1] + CAPTION_HEIGHT + 2 * MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, INK, font)
    for number, ((item, _), preview) in enumerate(zip(entries, previews, strict=True)):
        left = MARGIN + number // rows * cell[0]
        top = 2 * MARGIN + CAPTION_HEIGHT + number % rows * cell[1]
        draw.text((left, top), caption(item), INK, font)
        sheet.paste(preview, (left, top + CAPTION_HEIGHT))
    return sheet


def caption(item: Item) -> str:
    """What a person wants to know of an item."""
    parts = [f"item {item.index}", f"seed {item.seed}"]
    if item.scores is not None:
        parts.append(f"quality {item.scores.quality:.2f}")
    if item.accepted is False:
        parts.append("below min quality")
    return "   ".join(parts)


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as preview:
        picture = preview.convert("RGB")
    if picture.width > PREVIEW_WIDTH:
        height = max(1, round(picture.height * PREVIEW_WIDTH / picture.width))
        picture = picture.resize((PREVIEW_WIDTH, height), Image.Resampling.LANCZOS)
    return picture
