"""Places to draw at: normal images that no training has seen, and masks that fit a type or tell nothing of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image as Pillow

from bench.data import entries
from bench.rendered import SIDE, Image, Stream, draw_pair, laid_into, request_mask
from bench.shared import ALL_SETS
from models.masks import Mask
from models.training.loosening import loosened

_LARGEST = 512  # pixels a side of what is taken of a photo


@dataclass(frozen=True, eq=False)
class Place:
    """A normal image (H, W, 3) uint8 and a requested mask (H, W) bool for each type."""

    normal: Image
    masks: tuple[Mask, ...]


def rendered_places(types: Sequence[str], fit: str, count: int, seed: int) -> Iterator[Place]:
    """Normals of rendered surfaces; `fit` is "fitting" or "neutral"."""
    for index in range(count):
        yield Place(
            draw_pair(Stream.NORMALS, index, types[0], seed).normal, _masks(types, fit, index, seed, (SIDE, SIDE))
        )


def photo_places(
    types: Sequence[str], fit: str, count: int, seed: int, split: str = "test", largest: int = _LARGEST
) -> Iterator[Place]:
    """Good photos of a split, the sets that have any by turns, at most `largest` px of each."""
    photos = [found for name in ALL_SETS if (found := entries(name, "good", split=split))]
    for index in range(count):
        rng = np.random.default_rng([Stream.NORMALS, index, seed, 2])
        choice = photos[index % len(photos)]
        with Pillow.open(choice[rng.integers(len(choice))].image) as file:
            image = np.asarray(file.convert("RGB"))
        y, x = (int(rng.integers(max(side - largest, 0) + 1)) for side in image.shape[:2])
        image = np.ascontiguousarray(image[y : y + largest, x : x + largest])
        yield Place(image, _masks(types, fit, index, seed, (image.shape[0], image.shape[1])))


def _masks(types: Sequence[str], fit: str, index: int, seed: int, shape: tuple[int, int]) -> tuple[Mask, ...]:
    """A mask for each type at place `index`: loosened ones of rendered defects there, or one for all."""
    if fit == "neutral":
        return (request_mask(np.random.default_rng([Stream.NORMALS, index, seed, 1]), shape),) * len(types)
    masks = []
    for type_ in types:
        rng = np.random.default_rng([Stream.NORMALS, index, seed, 3])
        masks.append(laid_into(loosened(draw_pair(Stream.NORMALS, index, type_, seed).mask, rng), shape, rng))
    return tuple(masks)
