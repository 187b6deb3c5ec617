"""Rendered pairs that no training has seen, masks that tell nothing of the type, and the types of a backbone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from models.adapters import Adapter
from models.folders import BUNDLED
from models.masks import Mask
from models.rendering import DEFECT_TYPES, render
from models.rendering.scene import SURFACES
from models.training.loosening import boxed, dilated, loosened

SIDE = 128
"""Pixels a side of rendered pictures: what one window of a small backbone shows at native scale."""

Image = NDArray[np.uint8]


class Stream(IntEnum):
    """First word of the seeds; training uses ten times its seed plus 1 to 3 and never comes here."""

    JUDGE = 9001
    JUDGE_TEST = 9002
    NORMALS = 9003
    CONTEXT = 9004
    LABELS = 9010


@dataclass(frozen=True, eq=False)
class Pair:
    """A rendered scene: image and normal (H, W, 3) uint8, equal outside `mask` (H, W) bool."""

    image: Image
    normal: Image
    mask: Mask
    type: str
    surface: str


@dataclass(frozen=True)
class _Seeds:
    """Stands in for the generator that `render` takes, so that one of its three seeds can differ."""

    surface: int
    camera: int
    defect: int

    def integers(self, *_: int) -> NDArray[np.int64]:
        return np.array([self.surface, self.camera, self.defect])


def draw_pair(
    stream: int,
    index: int,
    type_: str,
    seed: int = 0,
    surface: str | None = None,
    another: int = 0,
    side: int = SIDE,
) -> Pair:
    """Scene `index` of a stream.

    Args:
        seed: of the benchmark; each has its own scenes.
        surface: one of SURFACES; any if None.
        another: 0 for the scene's own defect; each other number is another defect of the type in the same scene.
        side: pixels a side.
    """
    rng = np.random.default_rng([stream, index, seed])
    surface = surface or SURFACES[rng.integers(len(SURFACES))]
    ours = _Seeds(*rng.integers(0, 2**62, 3).tolist())
    if another:
        ours = _Seeds(ours.surface, ours.camera, ours.defect + another)
    scene = render(cast(np.random.Generator, ours), side, type_, surface)
    normal = eight_bits(scene.normal)
    image = np.where(scene.mask[..., None], eight_bits(scene.image), normal)
    return Pair(image, normal, scene.mask, type_, surface)


def request_mask(rng: np.random.Generator, shape: tuple[int, int]) -> Mask:
    """A requested mask (H, W) drawn without regard to any type: half of them loosened masks of rendered defects of
    a random type, the others blobs, boxes and bars."""
    mask = laid_into(_plane(rng), shape, rng)
    return mask if mask.any() else request_mask(rng, shape)


def laid_into(plane: Mask, shape: tuple[int, int], rng: np.random.Generator) -> Mask:
    """A mask (SIDE, SIDE) laid somewhere into a picture (H, W), larger in larger ones; may be cut off."""
    small = min(shape)
    side = int(np.exp(rng.uniform(np.log(min(SIDE, small)), np.log(small)))) if small != SIDE else SIDE
    if side != SIDE:
        how = cv2.INTER_NEAREST if side > SIDE else cv2.INTER_AREA  # which loses no line
        plane = cv2.resize(plane.astype(np.float32), (side, side), interpolation=how) > 0
    top, left = (int(rng.integers(size - side + 1)) for size in shape)
    mask = np.zeros(shape, dtype=np.bool_)
    mask[top : top + side, left : left + side] = plane
    return mask


def judged_mask(pair: Pair, rng: np.random.Generator) -> Mask:
    """A request for a rendered defect: its loosened mask; half of them with a shape that tells nothing laid over,
    so that defects fill their masks as little as they may in requests."""
    mask = loosened(pair.mask, rng)
    if rng.random() < 0.5:
        shape = request_mask(rng, mask.shape)
        rows, columns = (
            round(float(a.mean() - b.mean())) for a, b in zip(mask.nonzero(), shape.nonzero(), strict=True)
        )
        mask = mask | shifted(shape, rows, columns)
    return mask


def shifted(picture: NDArray[Any], rows: int, columns: int) -> NDArray[Any]:
    """A picture (H, W, …) moved down and right; what comes into view is 0."""
    height, width = picture.shape[:2]
    moved = np.zeros_like(picture)
    target = slice(max(rows, 0), height + min(rows, 0)), slice(max(columns, 0), width + min(columns, 0))
    source = slice(max(-rows, 0), height - max(rows, 0)), slice(max(-columns, 0), width - max(columns, 0))
    if abs(rows) < height and abs(columns) < width:
        moved[target] = picture[source]
    return moved


def folder_of(backbone: str) -> Path:
    """Of a backbone that is named or is a folder."""
    return Path(backbone) if Path(backbone).is_dir() else BUNDLED / backbone


def adapters_of(backbone: str, names: Sequence[str] | None = None) -> list[Adapter]:
    """The types that come with a backbone, named or in a folder; in the order of DEFECT_TYPES, then by name.

    Raises:
        ValueError: there are none, or not the ones that were named.
    """
    folder = folder_of(backbone)
    found = {a.name: a for a in map(Adapter.load, sorted((folder / "defect_types").glob("*.safetensors")))}
    if not found or (lacking := set(names or ()) - set(found)):
        raise ValueError(f"{folder} has the types {sorted(found)}" + (f", not {sorted(lacking)}" if found else ""))
    order = [name for name in DEFECT_TYPES if name in found]
    order += [name for name in found if name not in order]
    return [found[name] for name in order if names is None or name in names]


def write_json(path: Path | None, figures: dict[str, Any]) -> None:
    """Write a benchmark's figures, if a file is asked for."""
    if path is not None:
        path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _plane(rng: np.random.Generator) -> Mask:
    """A mask (SIDE, SIDE)."""
    kind = rng.choice(4, p=(0.5, 0.2, 0.15, 0.15))
    if kind == 0:
        type_ = DEFECT_TYPES[rng.integers(len(DEFECT_TYPES))]
        return loosened(render(rng, SIDE, type_).mask, rng)
    size = float(np.exp(rng.uniform(np.log(8), np.log(SIDE / 2))))
    y, x = np.mgrid[:SIDE, :SIDE] - rng.uniform(0.25, 0.75, 2)[:, None, None] * SIDE
    if kind == 1:
        noise = cv2.GaussianBlur(rng.standard_normal((SIDE, SIDE)), (0, 0), size / 5)
        mask = np.hypot(y, x * rng.uniform(1, 2)) < size / 2 * (1 + 0.35 * noise / noise.std())
        return np.asarray(dilated(mask, 1))
    if kind == 2:
        return np.asarray((np.abs(y) < size / 2) & (np.abs(x) < size * rng.uniform(0.2, 0.5)))
    angle = rng.uniform(0, np.pi)
    across, along = y * np.cos(angle) - x * np.sin(angle), y * np.sin(angle) + x * np.cos(angle)
    return np.asarray((np.abs(across) < rng.uniform(1, 4)) & (np.abs(along) < size))


def square_around(mask: Mask, context: float = 1.6, least: int = 48) -> tuple[slice, slice]:
    """The square around a mask's box with context, as far as the picture goes: rows and columns."""
    box = np.argwhere(boxed(mask))
    (top, left), (bottom, right) = box.min(axis=0), box.max(axis=0) + 1
    side = min(max(int(context * max(bottom - top, right - left)), least), *mask.shape)
    corner = [
        int(np.clip((first + last - side) // 2, 0, size - side))
        for first, last, size in zip((top, left), (bottom, right), mask.shape, strict=True)
    ]
    return slice(corner[0], corner[0] + side), slice(corner[1], corner[1] + side)


def eight_bits(image: NDArray[np.float32]) -> Image:
    """A picture in [0, 1] as a file has it."""
    return np.round(image.clip(0, 1) * 255).astype(np.uint8)
