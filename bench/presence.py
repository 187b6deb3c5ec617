"""``python -m bench presence``: does ``presence`` tell defects from controls, and do seeds differ?

Items and controls (same photo, mask and seed; C2 only) are drawn on real normals of the split "test" for masks of
five classes, the types by turns. Shown for each: AUROC of ``presence`` with its interval over photos, and the
median pairwise difference between seeds in the mask as a share of the difference to the normal image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bench import shared
from bench.data import entries
from bench.intervals import bootstrap
from bench.rendered import adapters_of
from models.adapters import Adapter
from models.backbone import Backbone
from models.generation import Generator
from models.items import ItemRequest, ItemResult
from models.levels import Pixels

GOAL = 0.95

Shape = tuple[int, int]
MaskMaker = Callable[[np.random.Generator, Shape], NDArray[np.uint8]]


def lines(rng: np.random.Generator, shape: Shape) -> NDArray[np.uint8]:
    """A line 1 or 2 px wide, a fifth to a half of the photo's shorter side long."""
    mask = np.zeros(shape, dtype=np.uint8)
    length = min(shape) * rng.uniform(0.2, 0.5)
    angle = rng.uniform(0, np.pi)
    reach = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    middle = np.array([rng.uniform(0.3, 0.7) * shape[1], rng.uniform(0.3, 0.7) * shape[0]])
    first, last = (middle + sign * reach for sign in (-1, 1))
    cv2.line(mask, first.astype(int).tolist(), last.astype(int).tolist(), 1, int(rng.integers(1, 3)))
    return mask


def spots(rng: np.random.Generator, shape: Shape) -> NDArray[np.uint8]:
    """One 5×5 px square."""
    mask = np.zeros(shape, dtype=np.uint8)
    y, x = (int(rng.integers(side // 4, side * 3 // 4)) for side in shape)
    mask[y : y + 5, x : x + 5] = 1
    return mask


def at_the_border(rng: np.random.Generator, shape: Shape) -> NDArray[np.uint8]:
    """A disc whose middle lies on a border of the photo."""
    mask = np.zeros(shape, dtype=np.uint8)
    x, y = (int(rng.uniform(0.2, 0.8) * side) for side in (shape[1], shape[0]))
    middle = [(x, 0), (x, shape[0] - 1), (0, y), (shape[1] - 1, y)][rng.integers(4)]
    cv2.circle(mask, middle, int(min(shape) * rng.uniform(0.04, 0.1)) + 4, 1, -1)
    return mask


def several(rng: np.random.Generator, shape: Shape) -> NDArray[np.uint8]:
    """Three discs."""
    mask = np.zeros(shape, dtype=np.uint8)
    for _ in range(3):
        x, y = (int(rng.uniform(0.15, 0.85) * side) for side in (shape[1], shape[0]))
        cv2.circle(mask, (x, y), int(min(shape) * rng.uniform(0.02, 0.06)) + 3, 1, -1)
    return mask


def most(rng: np.random.Generator, shape: Shape) -> NDArray[np.uint8]:
    """All but a frame: 64 to 90 % of the photo."""
    mask = np.zeros(shape, dtype=np.uint8)
    margin = rng.uniform(0.03, 0.1)
    y, x = (int(side * margin) for side in shape)
    mask[y : shape[0] - y, x : shape[1] - x] = 1
    return mask


CLASSES: dict[str, MaskMaker] = {
    "lines of 1–2 px": lines,
    "5×5 px spots": spots,
    "at the border": at_the_border,
    "several regions": several,
    "most of the image": most,
}


@dataclass(frozen=True)
class Measured:
    """One photo and mask: ``presence`` of items and controls, one a seed, and `seed_ratio`."""

    type: str
    items: list[float]
    controls: list[float]
    seeds: float


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Chance that a positive scores above a negative, ties half."""
    p, n = np.array(positive)[:, None], np.array(negative)[None]
    return float((p > n).mean() + 0.5 * (p == n).mean())


def seed_ratio(requests: list[ItemRequest], results: list[ItemResult]) -> float:
    """Median pairwise difference between seeds over the mean difference to the normal, inside the mask."""
    mask = requests[0].mask
    normal = requests[0].image[mask].astype(np.float64)
    inside = [result.image[mask].astype(np.float64) for result in results]
    to_normal = float(np.mean([np.abs(one - normal).mean() for one in inside]))
    if to_normal == 0 or len(inside) < 2:
        return 0.0
    return float(np.median([np.abs(a - b).mean() for a, b in combinations(inside, 2)]) / to_normal)


def measured(
    generator: Generator, adapter: Adapter, image: Pixels, mask: NDArray[np.bool_], seeds: Sequence[int]
) -> Measured:
    """Items and controls of one photo and mask, a pair a seed."""
    requests = [ItemRequest.by_default(image, mask, adapter, seed) for seed in seeds]
    results = generator.generate(requests)
    controls = generator.generate([replace(request, control=True) for request in requests])
    return Measured(
        adapter.name,
        [result.scores.presence for result in results],
        [control.scores.presence for control in controls],
        seed_ratio(requests, results),
    )


def row(masks: str, type_: str, each: Sequence[Measured]) -> dict[str, Any]:
    """Figures of some photos."""

    def separated(chosen: Sequence[Measured]) -> float:
        return auroc([v for one in chosen for v in one.items], [v for one in chosen for v in one.controls])

    return {
        "masks": masks,
        "type": type_,
        "photos": len(each),
        "AUROC": separated(each),
        "interval": bootstrap(len(each), lambda rows: separated([each[i] for i in rows])),
        "items": float(np.median([v for one in each for v in one.items])),
        "controls": float(np.median([v for one in each for v in one.controls])),
        "seeds": float(np.median([one.seeds for one in each])),
    }


def main() -> None:
    parser = shared.parser("presence", __doc__)
    parser.add_argument("--photos", type=int, default=4, help="photos a set and class")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", choices=shared.ALL_SETS, dest="sets")
    parser.add_argument("--by-type", action="store_true", help="also a row a type")
    arguments = parser.parse_args()
    generator = Generator(Backbone.load(arguments.backbone))
    adapters = adapters_of(arguments.backbone)
    rng = np.random.default_rng([3, arguments.seed])
    seeds = [arguments.seed * arguments.seeds + i for i in range(arguments.seeds)]
    rows = []
    turn = 0
    for name, make in CLASSES.items():
        each = []
        photos = [
            entry.image
            for chosen in arguments.sets or shared.ALL_SETS
            for entry in shared.spread(entries(chosen, "good", split="test"), arguments.photos)
        ]
        for file in tqdm(photos, desc=name, leave=False):
            image = shared.read_photo(file)
            mask = make(rng, (image.shape[0], image.shape[1])) > 0
            each.append(measured(generator, adapters[turn % len(adapters)], image, mask, seeds))
            turn += 1
        if arguments.by_type:
            for type_ in sorted({one.type for one in each}):
                rows.append(row(name, type_, [one for one in each if one.type == type_]))
        rows.append(row(name, "all", each))
    shared.show(rows)
    shared.write(arguments.json, arguments, goal=GOAL, presence=rows)


if __name__ == "__main__":
    main()
