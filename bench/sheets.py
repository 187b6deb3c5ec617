"""``python -m bench sheets``: a sheet a type, to look at: normal, requested mask, item, refined mask.

Six rendered surfaces and four good photos, of the split "test" of sets whose licence allows it, none of them
chosen by how its item came out.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont
from tqdm import tqdm

from bench.data import SPLITS, entries
from bench.rendered import Image, Stream, adapters_of, draw_pair
from models.backbone import Backbone
from models.generation import Generator
from models.items import ItemRequest
from models.masks import Mask
from models.rendering.scene import SURFACES
from models.training.loosening import dilated

PANEL = 192
"""Pixels a side of a panel, and of rendered normals."""
WINDOW = 256
"""Pixels a side of what is taken of a photo, at its own scale."""
MOST_BYTES = 300_000
PHOTOS = ("visa_capsules", "deeppcb", "fabric_hsst", "visa_capsules")

_GAP, _HEAD = 4, 20
_TITLES = ("normal", "requested mask", "item", "refined mask")


def places(type_: str, seed: int) -> Iterator[tuple[Image, Mask]]:
    """Ten normals with a requested mask such as the type has, with a little room."""
    order = np.random.default_rng([Stream.NORMALS, seed]).permutation(len(SURFACES))
    for i in range(6):
        pair = draw_pair(Stream.NORMALS, i, type_, seed, SURFACES[order[i]], side=PANEL)
        yield pair.normal, dilated(pair.mask, 3)
    for i, name in enumerate(PHOTOS):
        if not json.loads((SPLITS / f"{name}.json").read_text(encoding="utf-8"))["permissive"]:
            raise ValueError(f"the licence of {name} does not allow its photos to be shown")
        rng = np.random.default_rng([Stream.NORMALS, i, seed, 3])
        choice = entries(name, "good", split="test")
        with Pillow.open(choice[rng.integers(len(choice))].image) as file:
            image = np.asarray(file.convert("RGB"))
        # The middle half: parts lie there, backgrounds at the border.
        y, x = (int((0.25 + 0.5 * rng.random()) * max(side - WINDOW, 0)) for side in image.shape[:2])
        image = np.ascontiguousarray(image[y : y + WINDOW, x : x + WINDOW])
        plane = draw_pair(Stream.NORMALS, 100 + i, type_, seed, side=min(image.shape[:2])).mask
        mask = np.zeros(image.shape[:2], dtype=np.bool_)
        mask[: plane.shape[0], : plane.shape[1]] = plane
        yield image, dilated(mask, 3)


def panels(normal: Image, mask: Mask, item: Image, refined: Mask) -> Image:
    """One row, (PANEL, 4 panels and gaps, 3)."""
    outlined = normal.copy()
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(outlined, contours, -1, (255, 40, 200), 1)
    label = np.repeat(refined[..., None], 3, axis=2).astype(np.uint8) * np.uint8(255)
    row = [_fitted(one) for one in (normal, outlined, item, label)]
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
        for number, (normal, mask) in enumerate(places(adapter.name, arguments.seed)):
            if number >= arguments.count:
                break
            (result,) = generator.generate([ItemRequest.by_default(normal, mask, adapter, arguments.seed)])
            rows.append(panels(normal, mask, np.asarray(result.image, dtype=np.uint8), result.refined_mask))
        file = arguments.out / f"{adapter.name}.jpg"
        file.write_bytes(compressed(sheet(rows)))
        print(f"{file}: {file.stat().st_size // 1000} kB")


def _fitted(image: Image) -> Image:
    interpolation = cv2.INTER_AREA if len(image) > PANEL else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(image, (PANEL, PANEL), interpolation=interpolation), dtype=np.uint8)


if __name__ == "__main__":
    main()
