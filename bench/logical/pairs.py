"""What a type is taught by, and what it is judged on: images of one line, none of them in both."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from bench.logical.world import Image, LogicalScene, World
from models.masks import Mask
from models.samples import Sample

_TEACH, _NORMAL, _HELD = 0, 100_000, 200_000  # first numbers of images


def samples(world: World[Any], anomaly: str, count: int, line: int, side: int) -> list[Sample]:
    """Pairs to learn from."""
    scenes = (world.render(_TEACH + i, line, anomaly, side) for i in range(count))
    return [_sample(scene.anomalous, scene.mask) for scene in scenes]


def normals(world: World[Any], anomaly: str, count: int, line: int, side: int) -> list[Sample]:
    """Other images of the line, that keep its rule."""
    scenes = (world.render(_NORMAL + i, line, anomaly, side) for i in range(count))
    return [_sample(scene.normal, np.zeros_like(scene.mask)) for scene in scenes]


def held(world: World[Any], anomaly: str, count: int, line: int, side: int) -> Iterator[LogicalScene[Any]]:
    """Scenes to judge on."""
    return (world.render(_HELD + i, line, anomaly, side) for i in range(count))


def _sample(image: Image, mask: Mask) -> Sample:
    digest = hashlib.sha256(image.tobytes()).hexdigest()
    return Sample(image, mask, digest, digest)
