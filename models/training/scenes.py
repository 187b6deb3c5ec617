"""Rendered scenes for training, drawn in parallel; scene i depends on the seed and i alone.

No torch here: rendering processes import this module.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.rendering import DEFECT_TYPES, render

_CHUNK = 20


@dataclass(frozen=True, eq=False)
class TrainingScene:
    """A scene in 8 bits: image and normal (P, P, 3) uint8, mask (P, P) bool, part in words, defect type."""

    image: NDArray[np.uint8]
    normal: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    part: str
    defect_type: str


def draw_scene(seed: int, index: int, size: int) -> TrainingScene:
    """Scene `index` of a stream; the types take turns."""
    defect_type = DEFECT_TYPES[index % len(DEFECT_TYPES)]
    scene = render(np.random.default_rng([seed, index]), size, defect_type)
    return TrainingScene(_bytes(scene.image), _bytes(scene.normal), scene.mask, scene.part, defect_type)


def draw_scenes(seed: int, count: int, size: int, processes: int = 1) -> Iterator[TrainingScene]:
    """Scenes 0 … count−1 in order."""
    if processes <= 1:
        yield from (draw_scene(seed, i, size) for i in range(count))
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        seeds, sizes = [seed] * count, [size] * count
        yield from pool.map(draw_scene, seeds, range(count), sizes, chunksize=_CHUNK)


def _bytes(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.round(image.clip(0, 1) * 255).astype(np.uint8)
