"""``python -m bench types``: do items look like their type?

The judge is a logistic regression on fixed features of ImageNet, taught on rendered defects that no backbone has
learned from. It is shown the square around what changed within the *requested* mask. Masks either fit the type, as
people draw them who have its defect in mind (loosened masks of other rendered ones), or are neutral: the same for
every type, which asks for a scratch in a blob and for a stain in a bar. Two controls, of another seed: the request
drawn as another type, which must not be named as the one asked for, however well its mask fits; and with the
tokens alone of another type, on the sketches of the one asked for.
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
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn import functional
from tqdm import tqdm

from bench.intervals import bootstrap
from bench.places import Place, photo_places, rendered_places
from bench.rendered import (
    Image,
    Stream,
    adapters_of,
    draw_pair,
    judged_mask,
    square_around,
    write_json,
)
from models.adapters import Adapter
from models.backbone import Backbone
from models.features import features
from models.generation import Generator
from models.items import ItemRequest
from models.masks import Mask

LEFT_OUT = "missing"
"""Of nine types the one that the table of eight leaves out: only some surfaces have a part that can be missing."""

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


@dataclass(frozen=True, eq=False)
class Drawn:
    """The judge's scores: `items` and each of `controls` (places, types asked for, types of the judge); `partners`
    (places, types) are the types that the controls were drawn as."""

    items: NDArray[np.float64]
    controls: dict[str, NDArray[np.float64]]
    partners: Numbers

    def only(self, kept: Sequence[int]) -> Drawn:
        """The same for fewer types; controls drawn as one of the others are left out."""
        k = np.array(kept)
        gone = ~np.isin(self.partners[:, k], k)
        partners = np.searchsorted(k, self.partners[:, k])
        partners[gone] = -1
        controls = {label: scores[:, k][:, :, k] for label, scores in self.controls.items()}
        return Drawn(self.items[:, k][:, :, k], controls, partners)

    def figures(self) -> dict[str, Any]:
        """Accuracy with its interval, confusion, and how often controls are named as asked for and as drawn."""
        count, types = self.items.shape[:2]
        asked = np.arange(types)
        right = self.items.argmax(axis=2) == asked
        valid = self.partners >= 0
        confusion = np.zeros((types, types), dtype=np.int64)
        np.add.at(confusion, (np.broadcast_to(asked, right.shape), self.items.argmax(axis=2)), 1)

        def share(hit: NDArray[np.bool_]) -> dict[str, Any]:
            def over(rows: Numbers) -> float:
                return float(hit[rows][valid[rows]].mean())

            return {"share": over(np.arange(count)), "interval": bootstrap(count, over)}

        named = {label: scores.argmax(axis=2) for label, scores in self.controls.items()}
        return {
            "places": count,
            "chance": 1 / types,
            "accuracy": float(right.mean()),
            "interval": bootstrap(count, lambda rows: float(right[rows].mean())),
            "confusion": confusion.tolist(),
            "controls": {
                label: {"as asked": share(names == asked), "as drawn": share(names == self.partners)}
                for label, names in named.items()
            },
        }


def drawn(
    generator: Generator, adapters: Sequence[Adapter], judge: Judge, places: Iterator[Place], seed: int
) -> Drawn:
    """Draw every type and its controls at every place."""
    rows: list[NDArray[np.float64]] = []
    partners = []
    for number, place in enumerate(places):
        partner = swapped(len(adapters), number)
        requests = [
            ItemRequest.by_default(place.normal, mask, adapter, 2 * seed)
            for mask, adapter in zip(place.masks, adapters, strict=True)
        ]
        # Another seed, so that a control is no copy of the item of the type that it is drawn as.
        for others in (
            [adapters[j] for j in partner],
            [replace(own, tokens=adapters[j].tokens) for own, j in zip(adapters, partner, strict=True)],
        ):
            requests += [
                ItemRequest.by_default(place.normal, mask, other, 2 * seed + 1)
                for mask, other in zip(place.masks, others, strict=True)
            ]
        results = generator.generate(requests)
        seen = [
            described(np.asarray(result.image, dtype=np.uint8), place.normal, request.mask)
            for result, request in zip(results, requests, strict=True)
        ]
        rows.append(judge.scores(np.stack(seen)).reshape(3, len(adapters), -1))
        partners.append(partner)
    items, as_another, with_tokens = np.stack(rows, axis=1)
    return Drawn(items, {"as another type": as_another, "with its tokens alone": with_tokens}, np.stack(partners))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench types", description=__doc__)
    parser.add_argument("--backbone", default="flawsmith-small-1", help="a bundled backbone's name, or a folder")
    parser.add_argument("--types", nargs="+", help="only these types; all of the backbone if left out")
    parser.add_argument("--count", type=int, default=24, help="normals of each kind; each is drawn thrice a type")
    parser.add_argument("--masks", choices=("fitting", "neutral"), default="fitting")
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
    figures: dict[str, Any] = {"backbone": arguments.backbone, "masks": arguments.masks, "seed": seed}
    tables = {
        kind: drawn(generator, adapters, judge, tqdm(places, desc=kind, total=arguments.count, leave=False), seed)
        for kind, places in (
            ("rendered", rendered_places(names, arguments.masks, arguments.count, seed)),
            ("photos", photo_places(names, arguments.masks, arguments.count, seed)),
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
        for label, control in table["controls"].items():
            for key, one in control.items():
                row(f"  {label}, named {key}", one["share"], one["interval"])
        print(f"  {'asked, down; named, across':<28}" + "".join(f"{name[:7]:>8}" for name in types))
        for name, counts in zip(types, table["confusion"], strict=True):
            print(f"  {name:<28}" + "".join(f"{count:>8}" for count in counts))


if __name__ == "__main__":
    main()
