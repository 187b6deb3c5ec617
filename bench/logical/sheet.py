"""A sheet to look at: normal image, region, truth, and what each variant drew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from bench.logical.world import Image, LogicalScene

_GAP, _HEAD = 4, 18


def sheet(scenes: Sequence[LogicalScene[Any]], items: Mapping[str, Sequence[Image]]) -> Image:
    """A scene a row, (H, W, 3); `items` by what drew them, one a scene, in the order of the scenes."""
    columns = {
        "normal": [scene.normal for scene in scenes],
        "region": [outlined(scene) for scene in scenes],
        "truth": [scene.anomalous for scene in scenes],
        **items,
    }
    blocks = []
    for title, pictures in columns.items():
        tiles = [
            np.pad(one, ((0, _GAP), (0, _GAP), (0, 0)), constant_values=255) for one in pictures[: len(scenes)]
        ]
        block = np.pad(np.concatenate(tiles), ((_HEAD, 0), (0, 0), (0, 0)), constant_values=255)
        headed = Pillow.fromarray(block)
        ImageDraw.Draw(headed).text((2, 2), title, fill=(40, 40, 40), font=ImageFont.load_default(12))
        blocks.append(np.asarray(headed))
    return np.concatenate(blocks, axis=1)


def outlined(scene: LogicalScene[Any]) -> Image:
    """The normal image with the region's outline."""
    drawn = scene.normal.copy()
    contours, _ = cv2.findContours(scene.mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, contours, -1, (255, 40, 200), 1)
    return drawn
