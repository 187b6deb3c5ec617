"""``python -m bench context``: does the background shape the defect?

A rendered scene tells how a defect of its type looks *here*. An item is drawn on its normal image, and one on the
normal of another surface, with the same mask; of both, only the pixels in the mask are held against the truth.
Pixels: mean absolute difference. Features: masked means of five fixed maps, each of unit length, their L2
distance, averaged, after the pixels are put into the truth's surroundings.

Floor: another rendered defect in the same scene, as far from the truth as a perfect generator's items would be.
The goal is for the excess over the floor: with context at most half of that without (decision 0019). The ratio of
the errors themselves is told beside it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from tqdm import tqdm

from bench.intervals import bootstrap, ratio_of_medians
from bench.rendered import Image, Pair, Stream, adapters_of, draw_pair, shifted, square_around, write_json
from models.adapters import Adapter
from models.backbone import Backbone
from models.features import features
from models.generation import Generator
from models.items import ItemRequest
from models.masks import Mask
from models.rendering.scene import SURFACES

GOAL = 0.5
KINDS = ("with", "without", "floor", "normal")
"""Item in its context, item of another context, another real defect here, and no defect at all."""

_SEEN = 128  # pixels a side of what the features see
_OTHERS = 4  # other defects among which the floor takes the one that fits the mask best


@torch.inference_mode()
def masked_means(image: Image, mask: Mask) -> list[torch.Tensor]:
    """Masked means of the five maps, (channels,) each, of unit length."""
    crop = square_around(mask)
    plane = cv2.resize(image[crop], (_SEEN, _SEEN), interpolation=cv2.INTER_LINEAR)
    x = torch.from_numpy(plane).permute(2, 0, 1)[None].float() / 255
    m = functional.adaptive_max_pool2d(torch.from_numpy(mask[crop][None, None].astype(np.float32)), _SEEN)
    means = []
    for one in features().maps(x):
        weight = functional.adaptive_max_pool2d(m, one.shape[-2:])
        means.append(functional.normalize((one * weight).sum(dim=(2, 3)), dim=1)[0])
    return means


def feature_distance(one: Image, mask: Mask, other: Image, other_mask: Mask) -> float:
    """Mean over the maps of the distance between unit masked means, 0 to 2."""
    pairs = zip(masked_means(one, mask), masked_means(other, other_mask), strict=True)
    return float(np.mean([float((a - b).norm()) for a, b in pairs]))


def pixel_error(one: NDArray[Any], other: NDArray[Any], mask: Mask) -> float:
    """Mean absolute difference in the mask, in shares of the range of 8 bits."""
    return float(np.abs(one[mask].astype(np.float64) - other[mask].astype(np.float64)).mean() / 255)


def scenes(types: Sequence[str], count: int, seed: int) -> list[Pair]:
    """Scenes, the types by turns, the surfaces in an order of their own."""
    order = np.random.default_rng([Stream.CONTEXT, seed]).permutation(len(SURFACES))
    return [
        draw_pair(Stream.CONTEXT, i, types[i % len(types)], seed, SURFACES[order[i % len(order)]])
        for i in range(count)
    ]


def elsewhere(pairs: Sequence[Pair], index: int) -> Pair:
    """The next scene with another surface."""
    for step in range(1, len(pairs)):
        other = pairs[(index + step) % len(pairs)]
        if other.surface != pairs[index].surface:
            return other
    raise ValueError("there is only one surface")


@dataclass(frozen=True)
class Errors:
    """One scene: errors by kind, averaged over seeds, and of the mean of the seeds' pixels."""

    type: str
    pixels: dict[str, float]
    features: dict[str, float]
    mean_of_seeds: dict[str, float]


def measured(
    generator: Generator, adapter: Adapter, pairs: Sequence[Pair], index: int, seeds: int, seed: int
) -> Errors:
    """Errors of one scene."""
    pair = pairs[index]
    mask = pair.mask
    pixels, distances, means = {}, {}, {}
    for kind, normal in (("with", pair.normal), ("without", elsewhere(pairs, index).normal)):
        requests = [ItemRequest.by_default(normal, mask, adapter, seed * seeds + i) for i in range(seeds)]
        items = [np.asarray(result.image, dtype=np.uint8) for result in generator.generate(requests)]
        pixels[kind] = float(np.mean([pixel_error(item, pair.image, mask) for item in items]))
        pasted = [np.where(mask[..., None], item, pair.normal).astype(np.uint8) for item in items]
        distances[kind] = float(np.mean([feature_distance(one, mask, pair.image, mask) for one in pasted]))
        means[kind] = pixel_error(np.mean(np.stack(items), axis=0), pair.image, mask)
    pixels["normal"] = pixel_error(pair.normal, pair.image, mask)
    distances["normal"] = feature_distance(pair.normal, mask, pair.image, mask)
    pixels["floor"], distances["floor"] = floor(pair, index, seed)
    return Errors(pair.type, pixels, distances, means)


def floor(pair: Pair, index: int, seed: int) -> tuple[float, float]:
    """Errors of another defect of the type in the same scene: what a perfect generator would come to.

    For pixels its change is moved onto the mask's middle and judged where the two overlap, which is a little hard
    on it; NaN if none of a few overlaps. For features it is judged where it lies.
    """
    best, chosen = (0.0, float("nan")), None
    for another in range(1, _OTHERS + 1):
        other = draw_pair(Stream.CONTEXT, index, pair.type, seed, pair.surface, another)
        if not other.mask.any():
            continue
        rows, columns = (
            round(float(a.mean() - b.mean()))
            for a, b in zip(pair.mask.nonzero(), other.mask.nonzero(), strict=True)
        )
        moved = shifted(other.mask, rows, columns)
        both = moved & pair.mask
        fit = float(both.sum() / (moved | pair.mask).sum())
        if fit > best[0]:
            change = shifted(other.image.astype(np.int16) - other.normal, rows, columns)
            best, chosen = (fit, pixel_error((pair.normal + change).clip(0, 255), pair.image, both)), other
    if chosen is None:
        return float("nan"), float("nan")
    return best[1], feature_distance(chosen.image, chosen.mask, pair.image, pair.mask)


def summary(errors: Sequence[Errors]) -> dict[str, Any]:
    """Medians by kind; those with context over those without, as they are ("ratio", "interval") and less the
    floor's ("excess", "excess_interval")."""
    figures: dict[str, Any] = {"scenes": len(errors)}
    for name in ("pixels", "features", "mean_of_seeds"):
        kinds = KINDS[:2] if name == "mean_of_seeds" else KINDS
        columns = {kind: np.array([getattr(one, name)[kind] for one in errors]) for kind in kinds}
        above, below = columns["with"], columns["without"]
        figures[name] = {
            **{kind: _median(values) for kind, values in columns.items()},
            "ratio": ratio_of_medians(above, below),
            "interval": bootstrap(
                len(errors),
                lambda rows, above=above, below=below: ratio_of_medians(above[rows], below[rows]),  # type: ignore[misc]
            ),
        }
        if "floor" in columns:
            known = np.stack([above, below, columns["floor"]])[:, ~np.isnan(columns["floor"])]
            figures[name]["excess"] = excess(known)
            figures[name]["excess_interval"] = bootstrap(
                known.shape[1],
                lambda rows, known=known: excess(known[:, rows]),  # type: ignore[misc]
            )
    return figures


def excess(errors: NDArray[np.float64]) -> float:
    """How far the median error with context lies above the floor's, as a share of how far the one without does.

    Args:
        errors: (3, n) with context, without, and of the floor, all known.

    Returns:
        Below 0 where items are nearer than another true defect; NaN where those without context are, too.
    """
    with_context, without, least = np.median(errors, axis=1).tolist()
    return float((with_context - least) / (without - least)) if without > least else float("nan")


def _median(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench context", description=__doc__)
    parser.add_argument("--backbone", default="flawsmith-small-1", help="a bundled backbone's name, or a folder")
    parser.add_argument("--types", nargs="+", help="only these types; all of the backbone if left out")
    parser.add_argument("--count", type=int, default=20, help="scenes a type")
    parser.add_argument("--seeds", type=int, default=3, help="items a scene and normal")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    adapters = adapters_of(arguments.backbone, arguments.types)
    generator = Generator(Backbone.load(arguments.backbone))
    pairs = scenes([adapter.name for adapter in adapters], arguments.count * len(adapters), arguments.seed)
    errors = [
        measured(generator, adapters[i % len(adapters)], pairs, i, arguments.seeds, arguments.seed)
        for i in tqdm(range(len(pairs)), desc="scenes", leave=False)
    ]
    figures = {
        adapter.name: summary([one for one in errors if one.type == adapter.name]) for adapter in adapters
    } | {"all": summary(errors)}
    _print(figures)
    write_json(
        arguments.json, {"backbone": arguments.backbone, "seed": arguments.seed, "goal": GOAL, "figures": figures}
    )


def _print(figures: dict[str, Any]) -> None:
    head = "".join(f"{kind:>9}" for kind in KINDS)
    for name in ("pixels", "features", "mean_of_seeds"):
        goal = "" if name == "mean_of_seeds" else f"; goal: excess ≤ {GOAL}"
        print(f"\n{name}: medians{goal}\n{'type':<16}{'n':>4}{head}{'ratio':>8}  {'95 %':<16}{'excess':>8}  95 %")
        for type_, one in figures.items():
            row = one[name]
            cells = "".join(f"{row[kind]:>9.4f}" if kind in row else f"{'':>9}" for kind in KINDS)
            line = f"{type_:<16}{one['scenes']:>4}{cells}{_with_interval(row, 'ratio', 'interval')}"
            print(line + (_with_interval(row, "excess", "excess_interval") if "excess" in row else ""))


def _with_interval(row: dict[str, Any], figure: str, interval: str) -> str:
    low, high = row[interval]
    return f"{row[figure]:>8.3f}  {f'[{low:.3f}, {high:.3f}]':<16}"


if __name__ == "__main__":
    main()
