"""``python -m bench presence``: does ``presence`` tell defects from controls, and do seeds differ?

Items and controls (same photo, mask and seed; C2 only) are drawn on real normals for masks of five classes.
Printed for each: AUROC of ``presence``, and the median pairwise difference between seeds in the mask as a share
of the difference to the normal image.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bench.promises.pairs import SETS, data_folder, read
from models.adapters import Adapter
from models.backbone import BUNDLED, Backbone
from models.generation import Generator
from models.items import ItemRequest, ItemResult
from models.levels import Pixels

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


@dataclass
class Tally:
    """What one class gave."""

    items: list[float] = field(default_factory=list)
    controls: list[float] = field(default_factory=list)
    seed_ratios: list[float] = field(default_factory=list)


def auroc(positive: list[float], negative: list[float]) -> float:
    """Chance that a positive scores above a negative, ties half."""
    p, n = np.array(positive)[:, None], np.array(negative)[None]
    return float((p > n).mean() + 0.5 * (p == n).mean())


def seed_ratio(requests: list[ItemRequest], results: list[ItemResult]) -> float:
    """Median pairwise difference between seeds over the mean difference to the normal, inside the mask."""
    mask = requests[0].mask
    normal = requests[0].image[mask].astype(np.float64)
    inside = [result.image[mask].astype(np.float64) for result in results]
    to_normal = float(np.mean([np.abs(one - normal).mean() for one in inside]))
    if to_normal == 0:
        return 0.0
    return float(np.median([np.abs(a - b).mean() for a, b in combinations(inside, 2)]) / to_normal)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench presence", description=__doc__)
    parser.add_argument("--backbone", default="flawsmith-small-0")
    parser.add_argument("--photos", type=int, default=4, help="photos a set and class")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", choices=SETS, dest="sets")
    arguments = parser.parse_args()
    data = data_folder()
    if data is None:
        sys.exit("the real images are not here: set FLAWSMITH_DATA to their folder")
    generator = Generator(Backbone.load(arguments.backbone))
    folder = BUNDLED / arguments.backbone / "defect_types"
    adapters = [Adapter.load(path) for path in sorted(folder.glob("*.safetensors"))]
    rng = np.random.default_rng(3)
    print(f"{'masks':<20}{'type':<12}{'n':>4}{'AUROC':>8}{'items':>8}{'controls':>10}{'seeds':>8}")
    for name, make in CLASSES.items():
        tallies = {adapter.name: Tally() for adapter in adapters}
        photos = [photo for chosen in arguments.sets or SETS for photo in _photos(data, chosen, arguments.photos)]
        for number, file in enumerate(tqdm(photos, desc=name, leave=False)):
            adapter = adapters[number % len(adapters)]
            _one(generator, adapter, read(file), make, rng, arguments.seeds, tallies[adapter.name])
        whole = Tally()
        for type_, tally in tallies.items():
            _print(name, type_, tally)
            whole.items += tally.items
            whole.controls += tally.controls
            whole.seed_ratios += tally.seed_ratios
        _print(name, "all", whole)


def _photos(data: Path, chosen: str, count: int) -> list[Path]:
    files = sorted((data / chosen / "train" / "good").glob("*"))
    return [files[i] for i in np.linspace(0, len(files) - 1, count).round().astype(int)]


def _one(
    generator: Generator,
    adapter: Adapter,
    image: Pixels,
    make: MaskMaker,
    rng: np.random.Generator,
    seeds: int,
    tally: Tally,
) -> None:
    height, width = image.shape[:2]
    mask = make(rng, (height, width)) > 0
    requests = [ItemRequest.by_default(image, mask, adapter, seed) for seed in range(seeds)]
    results = generator.generate(requests)
    controls = generator.generate([replace(request, control=True) for request in requests])
    tally.items += [result.scores.presence for result in results]
    tally.controls += [control.scores.presence for control in controls]
    tally.seed_ratios.append(seed_ratio(requests, results))


def _print(name: str, type_: str, tally: Tally) -> None:
    if not tally.items:
        return
    print(
        f"{name:<20}{type_:<12}{len(tally.items):>4}{auroc(tally.items, tally.controls):>8.3f}"
        f"{np.median(tally.items):>8.2f}{np.median(tally.controls):>10.2f}{np.median(tally.seed_ratios):>8.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
