"""``python -m bench sheets``: a sheet a type, to look at: normal, requested mask, item, refined mask.

Ten rendered surfaces, none of them chosen by how its item came out.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont
from tqdm import tqdm

from bench.rendered import Image, Stream, adapters_of, draw_pair, square_around
from models.backbone import Backbone
from models.generation import Generator
from models.items import ItemRequest
from models.levels import Pixels
from models.masks import Mask
from models.rendering.scene import SURFACES
from models.teaching.examples import rgb
from models.training.loosening import dilated

PANEL = 192
"""Pixels a side of a panel, and of the normals."""
MOST_BYTES = 300_000
COLUMNS = 8
"""Of a gallery."""

_GAP, _HEAD = 4, 20
_TILE = 160  # pixels a side in a gallery
_TITLES = ("normal", "requested mask", "item", "refined mask")


def places(type_: str, count: int, seed: int) -> Iterator[tuple[Image, Mask]]:
    """Normals of as many surfaces with a requested mask such as the type has, with a little room."""
    order = np.random.default_rng([Stream.NORMALS, seed]).permutation(len(SURFACES))
    for i in range(count):
        pair = draw_pair(Stream.NORMALS, i, type_, seed, SURFACES[order[i % len(order)]], side=PANEL)
        yield pair.normal, dilated(pair.mask, 3)


def panels(normal: Image, mask: Mask, item: Image, refined: Mask) -> Image:
    """One row, (PANEL, 4 panels and gaps, 3)."""
    outlined = normal.copy()
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(outlined, contours, -1, (255, 40, 200), 1)
    label = np.repeat(refined[..., None], 3, axis=2).astype(np.uint8) * np.uint8(255)
    row = (normal, outlined, item, label)
    return np.concatenate(
        [np.pad(one, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=255) for one in row], axis=1
    )


def sheet(rows: list[Image]) -> Pillow.Image:
    """Rows in two blocks side by side, with titles."""
    half = (len(rows) + 1) // 2
    blocks = [np.concatenate(rows[k : k + half]) for k in (0, half) if rows[k : k + half]]
    height = max(len(block) for block in blocks)
    padded = [np.pad(one, ((_HEAD, height - len(one)), (0, 0), (0, 0)), constant_values=255) for one in blocks]
    image = Pillow.fromarray(np.concatenate(padded, axis=1))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(14)
    for i in range(len(blocks) * len(_TITLES)):
        draw.text((i * (PANEL + _GAP) + 3, 2), _TITLES[i % len(_TITLES)], fill=(40, 40, 40), font=font)
    return image


def gallery(rows: Sequence[Sequence[tuple[Pixels, Mask]]]) -> Pillow.Image:
    """The squares around masks (H, W) in images (H, W) or (H, W, 3), the first `COLUMNS` of each row."""

    def tile(image: Pixels, mask: Mask) -> Image:
        return np.asarray(Pillow.fromarray(rgb(image)[square_around(mask)]).resize((_TILE, _TILE)), np.uint8)

    blank = np.full((_TILE, _TILE, 3), 255, np.uint8)
    drawn = [[tile(*one) for one in row[:COLUMNS]] for row in rows]
    return Pillow.fromarray(
        np.concatenate([np.concatenate([*row, *[blank] * (COLUMNS - len(row))], axis=1) for row in drawn])
    )


def compressed(image: Pillow.Image) -> bytes:
    """The best JPEG within MOST_BYTES."""
    data = b""
    for quality in range(92, 40, -4):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality, optimize=True)
        data = buffer.getvalue()
        if len(data) <= MOST_BYTES:
            break
    return data


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench sheets", description=__doc__)
    parser.add_argument("--backbone", default="flawsmith-small-1", help="a bundled backbone's name, or a folder")
    parser.add_argument("--types", nargs="+", help="only these types; all of the backbone if left out")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--count", type=int, default=10, help="normals a sheet")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    adapters = adapters_of(arguments.backbone, arguments.types)
    generator = Generator(Backbone.load(arguments.backbone))
    arguments.out.mkdir(parents=True, exist_ok=True)
    for adapter in tqdm(adapters, desc="sheets"):
        rows = []
        for normal, mask in places(adapter.name, arguments.count, arguments.seed):
            (result,) = generator.generate([ItemRequest.by_default(normal, mask, adapter, arguments.seed)])
            rows.append(panels(normal, mask, np.asarray(result.image, dtype=np.uint8), result.refined_mask))
        file = arguments.out / f"{adapter.name}.jpg"
        file.write_bytes(compressed(sheet(rows)))
        print(f"{file}: {file.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
