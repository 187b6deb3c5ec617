"""Rendered scenes for training, drawn in parallel; scene i depends on the seed and i alone.

No torch here: rendering processes import this module.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from models.cuts import cut_image, cut_mask, planned
from models.masks import Mask
from models.rendering import DEFECT_TYPES, Scene, render
from models.training.loosening import confined, loosened
from models.training.photos import GOOD, LATENT_FACTOR, Crop

T = TypeVar("T")

_CHUNK = 20
_CANVASES = (1.0, 1.4, 2.0)  # sides of the rendered pictures, in windows
_CONFINED = 0.25


@dataclass(frozen=True, eq=False)
class TrainingScene:
    """A window in 8 bits.

    image: (P, P, 3) uint8. mask: (P, P) bool, the defect's own pixels; empty if there is none.
    normal: the same without the defect; None where nobody knows.
    sketch: the normal image with the defect as it would be sketched on it; None where there is none.
    part: in words. defect_type: a name, "" for none.
    """

    image: NDArray[np.uint8]
    normal: NDArray[np.uint8] | None
    sketch: NDArray[np.uint8] | None
    mask: Mask
    part: str
    defect_type: str

    @classmethod
    def of_photo(cls, crop: Crop) -> TrainingScene:
        """A photo's crop; types of photos are no rendered types and have names of their own."""
        good = crop.type == GOOD
        defect_type = "" if good else f"{crop.part}: {crop.type}"
        return cls(crop.image, crop.image if good else None, None, crop.mask, crop.part, defect_type)


def draw_scene(seed: int, index: int, size: int) -> TrainingScene:
    """Scene `index` of a stream, in a window planned for its defect; the types take turns."""
    rng = np.random.default_rng([seed, index])
    defect_type = DEFECT_TYPES[index % len(DEFECT_TYPES)]
    scene = render(rng, 2 * round(size * rng.choice(_CANVASES) / 2), defect_type, sketch=True)
    assert scene.sketch is not None
    mask, sketch = scene.mask, scene.sketch
    if rng.random() < _CONFINED:
        mask = confined(mask, rng)
        sketch = np.where(mask[..., None], sketch, scene.normal)
    window = planned(loosened(mask, rng), rng, size, size // LATENT_FACTOR)
    image = np.where(mask[..., None], scene.image, scene.normal)
    inside = cut_mask(window, mask, size)
    normal, sketched = (cut_image(window, _bytes(one), size) for one in (scene.normal, sketch))
    # Resampling carries the defect a little beyond its mask; there the normal image stays.
    image = np.where(inside[..., None], cut_image(window, _bytes(image), size), normal)
    return TrainingScene(image, normal, sketched, inside, scene.part, defect_type)


def draw_native(seed: int, index: int, size: int) -> NDArray[np.uint8]:
    """Picture `index` of a stream at its own pixels, (size, size, 3), which is the finest that a window sees."""
    scene: Scene = render(np.random.default_rng([seed, index]), size, DEFECT_TYPES[index % len(DEFECT_TYPES)])
    return _bytes(scene.image)


def draw_scenes(seed: int, count: int, size: int, processes: int = 1) -> Iterator[TrainingScene]:
    """Scenes 0 … count−1 in order."""
    yield from _parallel(partial(_scene, seed=seed, size=size), count, processes)


def draw_natives(seed: int, count: int, size: int, processes: int = 1) -> Iterator[NDArray[np.uint8]]:
    """Pictures 0 … count−1 in order."""
    yield from _parallel(partial(_native, seed=seed, size=size), count, processes)


def _scene(index: int, seed: int, size: int) -> TrainingScene:
    return draw_scene(seed, index, size)


def _native(index: int, seed: int, size: int) -> NDArray[np.uint8]:
    return draw_native(seed, index, size)


def _parallel(draw: Callable[[int], T], count: int, processes: int) -> Iterator[T]:
    if processes <= 1:
        yield from map(draw, range(count))
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        yield from pool.map(draw, range(count), chunksize=_CHUNK)


def _bytes(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.round(image.clip(0, 1) * 255).astype(np.uint8)
