"""``python -m bench types``: do items look like their type?

The judge is a logistic regression on fixed features of ImageNet, taught on rendered defects that no backbone has
learned from. It is shown the square around the *requested* mask: that mask is the same for every type, so it
cannot give the type away, whereas the refined mask is drawn by the generator itself. Normals and masks are
shared by all types. Control: each request drawn with the tokens of another type, which must not be named as the
one asked for.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn import functional
from tqdm import tqdm

from bench.data import entries
from bench.intervals import bootstrap
from bench.rendered import (
    SIDE,
    Image,
    Stream,
    adapters_of,
    draw_pair,
    judged_mask,
    request_mask,
    square_around,
    write_json,
)
from bench.shared import ALL_SETS
from models.adapters import Adapter
from models.backbone import Backbone
from models.features import features
from models.generation import Generator
from models.items import ItemRequest
from models.masks import Mask

LEFT_OUT = "missing"
"""Of nine types the one that the table of eight leaves out: only some surfaces have a part that can be missing."""

_LARGEST = 512  # pixels a side of what is taken of a photo
_SEEN = 128  # pixels a side of what the judge sees

Numbers = NDArray[np.int64]


@torch.inference_mode()
def described(image: Image, normal: Image, mask: Mask) -> NDArray[np.float32]:
    """(2560,) what the judge sees in the square around what changed: features of the picture, of its difference to
    the normal image, and how they differ from the normal image's; means by the change, and over the square."""
    change = np.abs(image.astype(np.float32) - normal).max(axis=2) * mask
    strong = change > max(change.max() / 4, 1)
    crop = square_around(strong if strong.any() else mask)
    picture, before = (
        cv2.resize(one[crop], (_SEEN, _SEEN), interpolation=cv2.INTER_CUBIC) for one in (image, normal)
    )
    difference = np.clip(picture.astype(np.float32) - before + 128, 0, 255).astype(np.uint8)
    x = torch.from_numpy(np.stack([picture, before, difference])).permute(0, 3, 1, 2).float() / 255
    share = torch.from_numpy(cv2.resize(change[crop], (_SEEN, _SEEN), interpolation=cv2.INTER_LINEAR))[None, None]
    share = share / share.max().clamp(min=1)
    changed, whole = [], []
    for plane in features().maps(x):
        weight = functional.adaptive_avg_pool2d(share, (plane.shape[2], plane.shape[3]))
        changed.append((plane * weight).sum(dim=(2, 3)) / weight.sum().clamp(min=1e-6))
        whole.append(plane.mean(dim=(2, 3)))
    c, w = torch.cat(changed, dim=1), torch.cat(whole, dim=1)
    return np.asarray(torch.cat([c[0], c[0] - c[1], c[2], w[0] - w[1], w[2]]).numpy(), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Judge:
    """Names the type of a defect."""

    types: tuple[str, ...]
    model: Any

    @classmethod
    def taught(cls, types: Sequence[str], scenes: int, seed: int = 0) -> Judge:
        """Taught on that many rendered scenes in all."""
        x, y = rendered(Stream.JUDGE, types, scenes, seed)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=1000))
        return cls(tuple(types), model.fit(x, y))

    def scores(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n, types) for descriptions (n, 2560); higher is likelier."""
        return np.asarray(self.model.predict_log_proba(x), dtype=np.float64)


def rendered(
    stream: Stream, types: Sequence[str], scenes: int, seed: int = 0
) -> tuple[NDArray[np.float32], Numbers]:
    """Descriptions (n, 2560) and numbers of types (n,) of rendered scenes."""
    x, y = [], []
    for index in tqdm(range(scenes), desc=stream.name.lower(), leave=False):
        pair = draw_pair(stream, index, types[index % len(types)], seed)
        mask = judged_mask(pair, np.random.default_rng([stream, index, seed, 1]))
        x.append(described(pair.image, pair.normal, mask))
        y.append(index % len(types))
    return np.stack(x), np.array(y)


def swapped(count: int, turn: int) -> Numbers:
    """A derangement of `count` types; the turns go through all partners."""
    return (np.arange(count) + 1 + turn % (count - 1)) % count


def requests_on_rendered(count: int, seed: int) -> Iterator[tuple[Image, Mask]]:
    """Normals of rendered surfaces, each with a mask that tells nothing of a type."""
    for index in range(count):
        rng = np.random.default_rng([Stream.NORMALS, index, seed, 1])
        yield draw_pair(Stream.NORMALS, index, "stain", seed).normal, request_mask(rng, (SIDE, SIDE))


def requests_on_photos(
    count: int, seed: int, split: str = "test", largest: int = _LARGEST
) -> Iterator[tuple[Image, Mask]]:
    """Good photos of a split, the sets that have any by turns, at most `largest` px of each, with such masks."""
    photos = [found for name in ALL_SETS if (found := entries(name, "good", split=split))]
    for index in range(count):
        rng = np.random.default_rng([Stream.NORMALS, index, seed, 2])
        choice = photos[index % len(photos)]
        with Pillow.open(choice[rng.integers(len(choice))].image) as file:
            image = np.asarray(file.convert("RGB"))
        y, x = (int(rng.integers(max(side - largest, 0) + 1)) for side in image.shape[:2])
        image = np.ascontiguousarray(image[y : y + largest, x : x + largest])
        yield image, request_mask(rng, (image.shape[0], image.shape[1]))


@dataclass(frozen=True, eq=False)
class Drawn:
    """The judge's scores of items: (normals, types asked for, types of the judge); `partners` (normals, types)
    are the types whose tokens the control `control` was drawn with."""

    items: NDArray[np.float64]
    control: NDArray[np.float64]
    partners: Numbers

    def only(self, kept: Sequence[int]) -> Drawn:
        """The same for fewer types; controls with tokens of the others are left out."""
        k = np.array(kept)
        gone = ~np.isin(self.partners[:, k], k)
        partners = np.searchsorted(k, self.partners[:, k])
        partners[gone] = -1
        return Drawn(self.items[:, k][:, :, k], self.control[:, k][:, :, k], partners)

    def figures(self) -> dict[str, Any]:
        """Accuracy with its interval, confusion, and how often controls are named as asked for and as drawn."""
        normals, types = self.items.shape[:2]
        asked = np.arange(types)
        right = self.items.argmax(axis=2) == asked
        named, valid = self.control.argmax(axis=2), self.partners >= 0
        confusion = np.zeros((types, types), dtype=np.int64)
        np.add.at(confusion, (np.broadcast_to(asked, right.shape), self.items.argmax(axis=2)), 1)

        def share(hit: NDArray[np.bool_]) -> dict[str, Any]:
            def over(rows: Numbers) -> float:
                return float(hit[rows][valid[rows]].mean())

            return {"share": over(np.arange(normals)), "interval": bootstrap(normals, over)}

        return {
            "normals": normals,
            "chance": 1 / types,
            "accuracy": float(right.mean()),
            "interval": bootstrap(normals, lambda rows: float(right[rows].mean())),
            "confusion": confusion.tolist(),
            "swapped_named_as_asked": share(named == asked),
            "swapped_named_as_drawn": share(named == self.partners),
        }


def drawn(
    generator: Generator,
    adapters: Sequence[Adapter],
    judge: Judge,
    places: Iterator[tuple[Image, Mask]],
    seed: int,
) -> Drawn:
    """Draw every type and its control at every place."""
    items, controls, partners = [], [], []
    for number, (normal, mask) in enumerate(places):
        partner = swapped(len(adapters), number)
        requests = [ItemRequest.by_default(normal, mask, adapter, 2 * seed) for adapter in adapters]
        # Another seed, so that a control is no copy of the item of the type whose tokens it takes.
        requests += [
            replace(request, adapter=replace(request.adapter, tokens=adapters[j].tokens), seed=2 * seed + 1)
            for request, j in zip(requests, partner, strict=True)
        ]
        results = generator.generate(requests)
        scores = judge.scores(
            np.stack([described(np.asarray(result.image, dtype=np.uint8), normal, mask) for result in results])
        )
        items.append(scores[: len(adapters)])
        controls.append(scores[len(adapters) :])
        partners.append(partner)
    return Drawn(np.stack(items), np.stack(controls), np.stack(partners))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench types", description=__doc__)
    parser.add_argument("--backbone", default="flawsmith-small-1", help="a bundled backbone's name, or a folder")
    parser.add_argument("--types", nargs="+", help="only these types; all of the backbone if left out")
    parser.add_argument("--count", type=int, default=24, help="normals of each kind; each is drawn twice a type")
    parser.add_argument("--scenes", type=int, default=300, help="rendered scenes a type that teach the judge")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    adapters = adapters_of(arguments.backbone, arguments.types)
    names = [adapter.name for adapter in adapters]
    if len(names) < 2:
        sys.exit("telling types apart takes two")
    generator = Generator(Backbone.load(arguments.backbone))
    scenes, seed = arguments.scenes * len(names), arguments.seed
    judge = Judge.taught(names, scenes, seed)
    x, y = rendered(Stream.JUDGE_TEST, names, max(scenes // 3, len(names)), seed)
    kept = {"all": list(range(len(names)))}
    if len(names) == 9 and LEFT_OUT in names:
        kept["eight"] = [i for i, name in enumerate(names) if name != LEFT_OUT]
    figures: dict[str, Any] = {"backbone": arguments.backbone, "seed": seed}
    tables = {
        kind: drawn(generator, adapters, judge, tqdm(places, desc=kind, total=arguments.count, leave=False), seed)
        for kind, places in (
            ("rendered", requests_on_rendered(arguments.count, seed)),
            ("photos", requests_on_photos(arguments.count, seed)),
        )
    }
    for label, some in kept.items():
        figures[label] = {
            "types": [names[i] for i in some],
            "judge": _accuracy(judge.scores(x), y, some),
            **{kind: table.only(some).figures() for kind, table in tables.items()},
        }
        _print(figures[label])
    write_json(arguments.json, figures)


def _accuracy(scores: NDArray[np.float64], y: Numbers, kept: Sequence[int]) -> dict[str, Any]:
    asked = np.isin(y, kept)
    right = np.array(kept)[scores[asked][:, kept].argmax(axis=1)] == y[asked]
    interval = bootstrap(len(right), lambda rows: float(right[rows].mean()))
    return {"scenes": len(right), "accuracy": float(right.mean()), "interval": interval}


def _print(figures: dict[str, Any]) -> None:
    types = figures["types"]
    print(f"\n{len(types)} types: {', '.join(types)}; chance {1 / len(types):.3f}")

    def row(label: str, value: float, interval: tuple[float, float]) -> None:
        print(f"  {label:<44}{value:>7.3f}  [{interval[0]:.3f}, {interval[1]:.3f}]")

    row("judge on rendered truth", figures["judge"]["accuracy"], figures["judge"]["interval"])
    for kind in ("rendered", "photos"):
        table = figures[kind]
        row(f"items on {kind} named as asked", table["accuracy"], table["interval"])
        for key, label in (("asked", "asked"), ("drawn", "drawn")):
            one = table[f"swapped_named_as_{key}"]
            row(f"  swapped tokens, named as {label}", one["share"], one["interval"])
        print(f"  {'asked, down; named, across':<28}" + "".join(f"{name[:7]:>8}" for name in types))
        for name, counts in zip(types, table["confusion"], strict=True):
            print(f"  {name:<28}" + "".join(f"{count:>8}" for count in counts))


if __name__ == "__main__":
    main()
