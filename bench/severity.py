"""``python -m bench severity``: does more severity change more, and are thin masks heard?

Pairs of a normal image and a mask, half of them rendered (a stream that no training drew), half real normals of
the split "test" with a rendered defect's loosened mask laid anywhere on them. Each pair is drawn once, without
redraws, at every level of severity with one seed. Strength is the mean absolute change of luminance (unit range)
in the refined mask times its area, so the sum of the change there, and 0 where the refined mask is empty. Two
Spearman correlations of level and strength: the mean over pairs of each pair's own (a pair whose strength never
changes counts 0), and one over all points with strength as a share of its pair's mean.

Thin masks: a line 1–2 px wide, and the same line 12 px wide, on the same normal with the same seed; the ratio of
the mean absolute change on the thin line's middle. 1 says that a thin request is drawn as strongly as a wide one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import stats
from tqdm import tqdm

from bench import shared
from bench.data import entries
from bench.intervals import interval
from bench.rendered import adapters_of
from models.adapters import Adapter
from models.backbone import Backbone
from models.generation import Generator
from models.items import ItemRequest, ItemResult
from models.levels import Pixels, luminance
from models.masks import Mask
from models.rendering import DEFECT_TYPES
from models.training.loosening import loosened
from models.training.scenes import draw_scene

STREAM = 9005
LEVELS = (0.2, 0.4, 0.6, 0.8, 1.0)
GOAL = 0.8
THIN_GOAL = 1.0
WIDE_PX = 12
HALF_LEVEL = 0.5 / 255
"""Change that 8 bits do not show: it stands in for less in a ratio."""


@dataclass(frozen=True, eq=False)
class Ground:
    """A normal image with a mask on it, (H, W) bool."""

    image: Pixels
    mask: Mask
    seed: int


def main() -> None:
    parser = shared.parser("severity", __doc__)
    parser.add_argument("--pairs", type=int, default=20, help="pairs a type")
    parser.add_argument("--lines", type=int, help="thin masks a type; as many as pairs if not given")
    parser.add_argument("--type", action="append", dest="types", help="only this type")
    arguments = parser.parse_args()
    generator = Generator(Backbone.load(arguments.backbone))
    size = generator.backbone.window_px
    adapters = [
        adapter
        for adapter in adapters_of(arguments.backbone)
        if arguments.types is None or adapter.name in arguments.types
    ]
    table: list[dict[str, Any]] = []
    thin: list[dict[str, Any]] = []
    for adapter in adapters:
        pairs = grounds(adapter.name, arguments.pairs, size, arguments.seed)
        bar = tqdm(pairs, desc=adapter.name, total=arguments.pairs, leave=False)
        table.append({"type": adapter.name, **correlations([strengths(generator, adapter, pair) for pair in bar])})
        count = arguments.pairs if arguments.lines is None else arguments.lines
        bar = tqdm(grounds(adapter.name, count, size, arguments.seed), desc="thin masks", total=count, leave=False)
        ratios = [thin_to_wide(generator, adapter, ground, number) for number, ground in enumerate(bar)]
        if ratios:
            thin.append({"type": adapter.name, **thin_row(ratios)})
    shared.show(table)
    shared.show(thin)
    shared.write(arguments.json, arguments, severity=table, thin=thin)


def grounds(defect_type: str, count: int, size: int, seed: int) -> Iterator[Ground]:
    """Pairs of a type: rendered and real in turns."""
    files = [entry.image for name in shared.ALL_SETS for entry in entries(name, "good", split="test")]
    for number in range(count):
        index = number * len(DEFECT_TYPES) + DEFECT_TYPES.index(defect_type)
        scene = draw_scene(STREAM, index, size)
        rng = np.random.default_rng([STREAM, index, seed])
        mask = loosened(scene.mask, rng)
        image: Pixels = scene.image if scene.normal is None else scene.normal
        if number % 2:
            image = shared.read_photo(files[rng.integers(len(files))])
            mask = laid(mask, image.shape[:2], rng)
        yield Ground(image, mask, seed + number)


def laid(mask: Mask, shape: tuple[int, int], rng: np.random.Generator) -> Mask:
    """The mask's set part somewhere in a photo of (H, W), cut where it is larger than the photo."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1][: shape[0], : shape[1]]
    y, x = (int(rng.integers(whole - side + 1)) for whole, side in zip(shape, part.shape, strict=True))
    placed = np.zeros(shape, dtype=np.bool_)
    placed[y : y + part.shape[0], x : x + part.shape[1]] = part
    if not placed.any():
        placed[y, x] = True
    return placed


def strengths(generator: Generator, adapter: Adapter, ground: Ground) -> list[float]:
    """Strength at each level, one seed; drawn again only where nothing is seen."""
    request = replace(ItemRequest.by_default(ground.image, ground.mask, adapter, ground.seed), min_quality=0.0)
    # Deepest first: the others then find their trajectory in the cache.
    drawn = {level: generator.generate([replace(request, severity=level)])[0] for level in reversed(LEVELS)}
    return [strength(ground.image, drawn[level]) for level in LEVELS]


def strength(before: Pixels, result: ItemResult) -> float:
    """Mean absolute change of luminance in the refined mask × its area, in unit range × pixels."""
    inside = result.refined_mask
    if not inside.any():
        return 0.0
    return float(_change(before, result)[inside].mean() * inside.sum())


def correlations(measured: Sequence[Sequence[float]]) -> dict[str, Any]:
    """A type's row, from the strengths of its pairs by level."""
    points = np.array(measured, dtype=np.float64)
    each = np.array([spearman(LEVELS, row) for row in points])
    return {
        "pairs": len(points),
        "within": float(each.mean()),
        "interval": interval(each, shared.mean),
        "pooled": pooled(points),
        "interval of pooled": interval(points, pooled, draws=300),
        "unchanged": int((points.max(axis=1) == points.min(axis=1)).sum()),
        "goal": GOAL,
        "met": bool(each.mean() >= GOAL),
    }


def pooled(points: NDArray[np.float64]) -> float:
    """Spearman of level and strength over all (pairs, levels) points, strength as a share of its pair's mean."""
    shares = points / np.maximum(points.mean(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return spearman(np.tile(LEVELS, len(points)), shares.ravel().round(9))  # rounding errors break no ties


def spearman(levels: Sequence[float] | NDArray[np.float64], values: NDArray[np.float64]) -> float:
    """Spearman's ρ; 0 where the values do not change."""
    if np.ptp(values) == 0:
        return 0.0
    return float(stats.spearmanr(levels, values).statistic)


def thin_to_wide(generator: Generator, adapter: Adapter, ground: Ground, number: int) -> float:
    """Change on a thin line's middle under the thin mask, over that under the wide one."""
    middle, thin, wide = line(ground.image.shape[:2], generator.backbone.window_px, number)
    changes = []
    for mask in (thin, wide):
        request = ItemRequest.by_default(ground.image, mask, adapter, ground.seed)
        (result,) = generator.generate([replace(request, min_quality=0.0)])
        changes.append(float(_change(ground.image, result)[middle].mean()))
    return max(changes[0], HALF_LEVEL) / max(changes[1], HALF_LEVEL)


def line(shape: tuple[int, int], window: int, number: int) -> tuple[Mask, Mask, Mask]:
    """A straight line within (H, W), a quarter to a half of a window long: its middle, 1–2 px wide, 12 px wide."""
    rng = np.random.default_rng([STREAM, number])
    length = min(*shape, window) * rng.uniform(0.25, 0.5)
    angle = rng.uniform(0, np.pi)
    reach = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    centre = np.array([rng.uniform(0.35, 0.65) * shape[1], rng.uniform(0.35, 0.65) * shape[0]])
    start, end = ((centre + sign * reach).round().astype(int).tolist() for sign in (-1, 1))
    middle, thin = (np.zeros(shape, dtype=np.uint8) for _ in range(2))
    cv2.line(middle, start, end, 1, 1)
    thin[:] = middle
    if rng.random() < 0.5:  # 2 px: the line and the same one pixel beside it, across its course
        thin |= np.roll(middle, 1, axis=0 if abs(reach[0]) > abs(reach[1]) else 1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (WIDE_PX, WIDE_PX))
    wide = cv2.dilate(thin, disc)
    return middle > 0, thin > 0, wide > 0


def thin_row(ratios: Sequence[float]) -> dict[str, Any]:
    """A type's row, from its ratios; the goal is met if the interval of the median reaches it."""
    low, high = interval(np.log(ratios), shared.median)
    return {
        "lines": len(ratios),
        "thin/wide": float(np.median(ratios)),
        "interval": (float(np.exp(low)), float(np.exp(high))),
        "goal": THIN_GOAL,
        "met": bool(np.exp(high) >= THIN_GOAL),
    }


def _change(before: Pixels, result: ItemResult) -> NDArray[np.float32]:
    return np.asarray(np.abs(luminance(result.image) - luminance(before)))


if __name__ == "__main__":
    main()
