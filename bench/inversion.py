"""``python -m bench inversion``: what DDIM inversion buys over noising the background outright.

Ablation: outside the mask, and for the start inside, z_t = √ᾱ_t z_0 + √(1−ᾱ_t) ε with one fixed ε an item
in place of the inversion's trajectory. Same requests, no redraws, on rendered normals of a stream that no training
drew, whose true defect is known. Compared:

seam, grain      scores of items, higher is better
presence         AUROC of items against controls of the same photo, mask and seed
context error    mean |item − rendered truth| of luminance in the true defect's mask, 8-bit levels
seed diversity   median pairwise difference between seeds in the mask, as a share of the difference to the normal
control change   mean |control − normal| of luminance in the mask, 8-bit levels: lost where nothing was asked
passes           U-Net rows an item, one request alone and one more seed of it (its trajectory is cached or not)

Types that begin on a sketch and types that begin on the normal image are told apart: the former draw from far less
deep. Seeds of one scene are not independent, so intervals are over scenes, of the paired difference. A true defect
is one of many that would fit: the context error of either way is compared, neither is expected to vanish.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bench import shared
from bench.intervals import bootstrap, interval
from bench.presence import auroc, seed_ratio
from bench.rendered import adapters_of
from models.adapters import Adapter
from models.backbone import Backbone
from models.drawing import Outside
from models.generation import Generator
from models.items import ItemRequest, ItemResult
from models.levels import Pixels, luminance
from models.masks import Mask
from models.rendering import DEFECT_TYPES
from models.training.loosening import loosened
from models.training.scenes import TrainingScene, draw_scene

STREAM = 9006
WAYS: tuple[Outside, ...] = ("inversion", "noise")
STARTS = ("a sketch", "the normal image")


@dataclass(frozen=True)
class Measures:
    """Of one scene, means over its seeds."""

    seam: float
    grain: float
    context_error: float
    seed_diversity: float
    control_change: float
    passes_first: float
    passes_next: float


@dataclass(frozen=True)
class Scene:
    """Of one scene: its measures, what its type begins on, and `presence` of its items and controls by seed."""

    measures: Measures
    start: str
    items: tuple[float, ...]
    controls: tuple[float, ...]


def main() -> None:
    parser = shared.parser("inversion", __doc__)
    parser.add_argument("--scenes", type=int, default=10, help="scenes a type")
    parser.add_argument("--seeds", type=int, default=3, help="seeds a scene, two or more")
    arguments = parser.parse_args()
    if arguments.seeds < 2:
        parser.error("--seeds: diversity needs two or more")
    backbone = Backbone.load(arguments.backbone)
    adapters = adapters_of(arguments.backbone)
    work = [(adapter, number) for adapter in adapters for number in range(arguments.scenes)]
    by_way: dict[Outside, list[Scene]] = {}
    for way in WAYS:
        by_way[way] = []
        for adapter, number in tqdm(work, desc=way, leave=False):
            index = number * len(DEFECT_TYPES) + DEFECT_TYPES.index(adapter.name)
            scene = draw_scene(STREAM, index, backbone.window_px)
            seeds = range(arguments.seed, arguments.seed + arguments.seeds)
            by_way[way].append(_scene(Generator(backbone, outside=way), adapter, scene, index, seeds))
    found = {}
    for start in STARTS:
        pairs = zip(by_way["inversion"], by_way["noise"], strict=True)
        of_start = [(one, other) for one, other in pairs if one.start == start]
        if of_start:
            print(f"\nbegun on {start}: {len(of_start)} scenes")
            found[start] = table([one for one, _ in of_start], [other for _, other in of_start])
            shared.show(found[start])
    shared.write(arguments.json, arguments, inversion=found)


def table(inverted: Sequence[Scene], noised: Sequence[Scene]) -> list[dict[str, Any]]:
    """Medians over the same scenes, and the interval of the paired difference (inversion less noise)."""

    def told(scenes: Sequence[Scene]) -> float:
        return auroc([one for s in scenes for one in s.items], [one for s in scenes for one in s.controls])

    def gained(rows: NDArray[np.int64]) -> float:
        return told([inverted[i] for i in rows]) - told([noised[i] for i in rows])

    rows: list[dict[str, Any]] = [
        {
            "median of": "presence (AUROC)",
            "inversion": told(inverted),
            "noise": told(noised),
            "difference": bootstrap(len(inverted), gained),
        }
    ]
    for measure in fields(Measures):
        pair = [np.array([getattr(one.measures, measure.name) for one in way]) for way in (inverted, noised)]
        rows.append(
            {
                "median of": measure.name.replace("_", " "),
                "inversion": float(np.median(pair[0])),
                "noise": float(np.median(pair[1])),
                "difference": interval(pair[0] - pair[1], shared.median),
            }
        )
    return rows


def _scene(generator: Generator, adapter: Adapter, scene: TrainingScene, index: int, seeds: range) -> Scene:
    """One scene's items and controls, measured."""
    normal = scene.image if scene.normal is None else scene.normal
    mask = loosened(scene.mask, np.random.default_rng([STREAM, index]))
    base = ItemRequest.by_default(normal, mask, adapter)
    requests = [replace(base, seed=seed, part=scene.part, min_quality=0.0) for seed in seeds]
    passes: list[int] = []
    items = [_drawn(generator, request, passes) for request in requests]
    controls = generator.generate([replace(request, control=True) for request in requests])
    measured = Measures(
        seam=float(np.mean([item.scores.seam for item in items])),
        grain=float(np.mean([item.scores.grain for item in items])),
        context_error=255 * float(np.mean([_error(item, scene.image, scene.mask) for item in items])),
        seed_diversity=seed_ratio(requests, items),
        control_change=255 * float(np.mean([_error(control, normal, mask) for control in controls])),
        passes_first=float(passes[0]),
        passes_next=float(np.mean(passes[1:])),
    )
    presence = [tuple(one.scores.presence for one in results) for results in (items, controls)]
    return Scene(measured, STARTS[not adapter.card.sketch], *presence)


def _drawn(generator: Generator, request: ItemRequest, passes: list[int]) -> ItemResult:
    rows = 0

    def count(done: int, _: int) -> None:
        nonlocal rows
        rows = done

    (result,) = generator.generate([request], count)
    passes.append(rows)
    return result


def _error(result: ItemResult, truth: Pixels, mask: Mask) -> float:
    return float(np.abs(luminance(result.image) - luminance(truth))[mask].mean())


if __name__ == "__main__":
    main()
