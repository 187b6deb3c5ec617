"""``python -m bench taught``: are types taught from a few real pairs worth having?

Each type is taught from its `teach` pairs and normals, then drawn on `extra` normals that no training has seen, in
masks of its own distribution. Judged is what lies within the refined mask, by fixed features of ImageNet: is it
named as its type by a classifier that knows real `teach` pairs alone; and how far is it from real `extra` pairs,
against the bundled type that comes nearest, a teaching without the disentanglement term, one of attention alone,
and copies pasted in. Distances are energy distances, with intervals over items and real pairs alike. Drawings
mostly begin on a real defect, which hides what was learned; so teachings are compared begun on noise alone, too.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from bench import shared
from bench.data import read_samples
from bench.distances import Vectors, energy, kernel_distance
from bench.intervals import half_sampled
from bench.rendered import adapters_of, square_around, write_json
from bench.sheets import COLUMNS, gallery
from models.adapters import Adapter
from models.backbone import Backbone
from models.features import features
from models.generation import DEFAULT_ROWS, Generator
from models.items import ItemRequest, ItemResult
from models.levels import Pixels
from models.masks import Mask
from models.paste import paste
from models.references import References
from models.refinement import Calibration
from models.samples import Exemplar, Sample, exemplars_from_bytes
from models.teaching.examples import rgb
from models.teaching.lesson import Lesson
from models.teaching.teaching import Teaching
from models.teaching.trials import Place, Settings, places

SETS: dict[str, tuple[str, tuple[str, ...]]] = {
    "magnetic_tile": ("magnetic tile", ("blowhole", "break", "crack", "fray", "uneven")),
    "visa_capsules": ("capsule", ("bubble", "combined")),
    "bsdata_ballscrew": ("ball screw spindle", ("pitting", "pitting_kgt")),
}
"""Parts and the types that are told apart within a set; `bsdata_ballscrew` is taught its pitting alone."""
_TAUGHT = {"bsdata_ballscrew": ("pitting",)}
_SEEN = 128  # pixels a side of what is judged
_NORMALS = 40  # that a teaching gets
_AT_ONCE = DEFAULT_ROWS["cpu"]  # items; each has the pixels that it has alone
_FOR_NEAREST = 6  # places by which the nearest bundled type is found

TAUGHT = "taught"
VARIANTS = (
    TAUGHT,
    "without the term",
    "attention",
    "on noise",
    "on noise without",
    "on noise attention",
    "bundled",
    "pasted",
)
BESIDE = dict.fromkeys(VARIANTS[1:], TAUGHT) | dict.fromkeys(
    ("on noise without", "on noise attention"), "on noise"
)
"""With what a variant is compared, item by item."""
ON_NOISE = Settings(severity=1.0, guidance=1.0, seed_share=1.0, exemplars=0.0)
SCORES = ("presence", "seam", "grain", "coverage", "realism", "novelty")

Rows = NDArray[np.int64]
Asking = Callable[[Place, int], ItemRequest]
"""The request of an item at a place, with its seed."""


@torch.inference_mode()
def seen(image: Pixels, mask: Mask) -> Vectors:
    """(1024,) of the square around a mask: features within it, and of the whole square."""
    crop = square_around(mask)
    picture = np.asarray(Pillow.fromarray(rgb(image)[crop]).resize((_SEEN, _SEEN), Pillow.Resampling.BICUBIC))
    inside = np.asarray(Pillow.fromarray(mask[crop]).resize((_SEEN, _SEEN), Pillow.Resampling.BOX)) > 0
    x = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
    within = features()(x, torch.from_numpy(inside.astype(np.float32))[None, None])
    return np.asarray(torch.cat([within, features()(x)], dim=1)[0].numpy(), np.float64)


def with_interval(figure: Callable[[Rows, Rows], float], items: int, pairs: int) -> dict[str, Any]:
    """A figure of so many items and real pairs, and its interval, both drawn anew together."""
    (found,) = half_sampled((items, pairs), lambda *rows: np.array([figure(*rows)]))
    return {"value": figure(np.arange(items), np.arange(pairs)), "interval": found}


@dataclass(frozen=True, eq=False)
class Made:
    """A taught type, and how long it took."""

    adapter: Adapter
    exemplars: list[Exemplar]
    references: References
    teaching: Teaching
    card: dict[str, Any]
    minutes: float


def teach(backbone: Backbone, lesson: Lesson, samples: Sequence[Sample], normals: Sequence[Sample]) -> Made:
    """Teach a type as a worker does."""
    known = {adapter.name: adapter.tokens for adapter in adapters_of(backbone.name)}
    began = time.monotonic()
    teaching = Teaching(backbone, lesson, samples, normals, known)
    with tqdm(desc=lesson.name, leave=False) as bar:
        while (progress := teaching.advance(5)).phase != "done":
            bar.total = progress.steps
            bar.update(progress.step - bar.n)
    taught = teaching.result()
    exemplars = exemplars_from_bytes(taught.exemplars)
    references = References.of(exemplars, taught.adapter.references)
    minutes = (time.monotonic() - began) / 60
    return Made(taught.adapter, exemplars, references, teaching, taught.card, minutes)


def by_another(
    backbone: Backbone, lesson: Lesson, made: Made, samples: Sequence[Sample], normals: Sequence[Sample]
) -> Made:
    """The type taught by another lesson, to be drawn with the settings that were found for the first."""
    other = teach(backbone, replace(lesson, places=1, items=1), samples, normals)
    found = Settings(**{field.name: made.card["settings"][field.name] for field in fields(Settings)})
    size = len(other.adapter.to_bytes()) / 1e6
    print(f"  by another lesson: {other.minutes:.1f} min, {size:.2f} MB")
    return replace(other, adapter=found.of(other.adapter))


def drawn(generator: Generator, sites: Sequence[Place], request: Asking) -> list[ItemResult]:
    """One item a place, each of a seed of its own."""
    requests = [request(place, number) for number, place in enumerate(sites)]
    results = []
    for begin in tqdm(range(0, len(requests), _AT_ONCE), desc="items", leave=False):
        results += generator.generate(requests[begin : begin + _AT_ONCE])
    return results


def described(results: Sequence[ItemResult], sites: Sequence[Place]) -> Vectors:
    """Of what was drawn, within its refined mask; of the request where nothing was."""
    return np.stack(
        [
            seen(result.image, result.refined_mask if result.refined_mask.any() else place.mask)
            for result, place in zip(results, sites, strict=True)
        ]
    )


def real(samples: Sequence[Sample]) -> Vectors:
    return np.stack([seen(sample.image, sample.mask) for sample in samples])


def by_default(of: Made) -> Asking:
    """Requests for items of a taught type."""

    def request(place: Place, seed: int) -> ItemRequest:
        return ItemRequest.by_default(
            place.image, place.mask, of.adapter, seed, exemplars=of.exemplars, references=of.references
        )

    return request


@dataclass(frozen=True, eq=False)
class Judge:
    """What is known of the real pairs of a set.

    Attributes:
        model: names a type, by real `teach` pairs.
        scale: (D,) spread of the features, by which distances are told.
        extra: of each type, descriptions of its real `extra` pairs.
    """

    types: tuple[str, ...]
    model: Any
    scale: Vectors
    taught: dict[str, Vectors]
    extra: dict[str, Vectors]

    @classmethod
    def of(cls, name: str, pairs: dict[str, list[Sample]]) -> Judge:
        taught = {type_: real(samples) for type_, samples in pairs.items()}
        x = np.concatenate(list(taught.values()))
        y = np.concatenate([np.full(len(one), i) for i, one in enumerate(taught.values())])
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000, class_weight="balanced"))
        extra = {type_: real(read_samples(name, type_, "extra")) for type_ in pairs}
        return cls(tuple(pairs), model.fit(x, y), x.std(axis=0) + 1e-6, taught, extra)

    def named(self, x: Vectors, type_: str) -> float:
        """The share that is named as this type."""
        return float((self.model.predict(x) == self.types.index(type_)).mean())

    def distances(self, x: Vectors, type_: str, beside: Vectors | None) -> dict[str, Any]:
        """To real `extra` pairs, with intervals; KID only from 50 of each.

        "excess" is how much farther they are than items of another variant in the same places, `beside`.
        """
        ours, theirs = x / self.scale, self.extra[type_] / self.scale
        items, pairs = len(ours), len(theirs)
        kinds = {"energy": energy} | ({"KID": kernel_distance} if min(items, pairs) >= 50 else {})
        found: dict[str, Any] = {}
        for kind, distance in kinds.items():
            found[kind] = with_interval(lambda i, k, d=distance: d(ours[i], theirs[k]), items, pairs)  # type: ignore[misc]
            if beside is not None:
                other = beside / self.scale
                found[kind]["excess"] = with_interval(
                    lambda i, k, d=distance, o=other: d(ours[i], theirs[k]) - d(o[i], theirs[k]),  # type: ignore[misc]
                    items,
                    pairs,
                )
        return found


def measured(
    judge: Judge, type_: str, results: Sequence[ItemResult], x: Vectors, beside: Vectors | None
) -> dict[str, Any]:
    """The figures of one variant's items, of what lies in their masks `x`, beside another variant's."""
    named, of_real = judge.named(x, type_), judge.named(judge.extra[type_], type_)
    scores = {key: [getattr(result.scores, key) for result in results] for key in SCORES}
    known = {key: [v for v in values if v is not None] for key, values in scores.items()}
    return {
        "named": named,
        "of real": named / of_real if of_real else float("nan"),
        "distances": judge.distances(x, type_, beside),
        "medians": {key: float(np.median(values)) for key, values in known.items() if values},
        "least novelty": min(known["novelty"], default=float("nan")),
        "scores": scores,
    }


def compared(
    generator: Generator, judge: Judge, name: str, type_: str, lesson: Lesson, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Teach a type, draw all variants, and print their figures."""
    backbone = generator.backbone
    samples = read_samples(name, type_, "teach")
    normals = shared.spread(read_samples(name, "good", "teach"), _NORMALS)
    held = shared.spread(read_samples(name, "good", "extra"), arguments.items)
    made = teach(backbone, lesson, samples, normals)
    sites = list(places(held, made.teaching.masks, arguments.items, arguments.seed + 77))
    of_real = judge.named(judge.extra[type_], type_)
    own = energy(judge.taught[type_] / judge.scale, judge.extra[type_] / judge.scale)
    print(f"\n{name} {type_}: {len(samples)} pairs, {made.minutes:.1f} min, {made.card['verdict']}")
    print(f"  real extra pairs: named {of_real:.2f}; energy distance of real teach pairs {own:.3f}")

    @cache
    def other(**changed: Any) -> Made:
        return by_another(backbone, replace(lesson, **changed), made, samples, normals)

    asked, calibration = by_default(made), Calibration.of(backbone.calibration)
    ways: dict[str, Callable[[], list[ItemResult]]] = {
        TAUGHT: lambda: drawn(generator, sites, asked),
        "without the term": lambda: drawn(generator, sites, by_default(other(disentangled=False))),
        "attention": lambda: drawn(generator, sites, by_default(other(targets="attention"))),
        "on noise": lambda: drawn(generator, sites, by_default(on_noise(made))),
        "on noise without": lambda: drawn(generator, sites, by_default(on_noise(other(disentangled=False)))),
        "on noise attention": lambda: drawn(generator, sites, by_default(on_noise(other(targets="attention")))),
        "bundled": lambda: nearest_bundled(generator, sites, judge, type_),
        "pasted": lambda: [paste(asked(place, i), made.exemplars, calibration) for i, place in enumerate(sites)],
    }
    drawn_by = {variant: ways[variant]() for variant in arguments.variants}
    held_in = {variant: described(results, sites) for variant, results in drawn_by.items()}
    figures = {
        variant: measured(judge, type_, results, held_in[variant], held_in.get(BESIDE.get(variant, "")))
        for variant, results in drawn_by.items()
    }
    for variant, row in figures.items():
        print(
            f"  {variant:<18} named {row['named']:.2f} ({row['of real']:.2f} of real)  "
            + "".join(f"{kind} {_told(one)}  " for kind, one in row["distances"].items())
            + " ".join(f"{key} {value:.2f}" for key, value in row["medians"].items())
            + f"  least novelty {row['least novelty']:.2f}",
            flush=True,
        )
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        made.adapter.save(arguments.out / f"{name}-{type_}.safetensors")
        _sheet(arguments.out / f"{name}-{type_}.png", samples, sites, drawn_by)
    return {
        "teach": len(samples),
        "extra": len(judge.extra[type_]),
        "minutes": made.minutes,
        "bytes": len(made.adapter.to_bytes()),
        "card": made.card,
        "real named": of_real,
        "real energy": own,
        "variants": figures,
    }


def _told(distance: dict[str, Any]) -> str:
    def figure(of: dict[str, Any]) -> str:
        return f"{of['value']:.3f} [{of['interval'][0]:.3f}, {of['interval'][1]:.3f}]"

    return figure(distance) + (f", excess {figure(distance['excess'])}" if "excess" in distance else "")


def on_noise(of: Made) -> Made:
    """The type begun on noise alone, so that all that is seen was learned."""
    return replace(of, adapter=ON_NOISE.of(of.adapter))


def nearest_bundled(generator: Generator, sites: Sequence[Place], judge: Judge, type_: str) -> list[ItemResult]:
    """Items of the bundled type that comes nearest, by the first places."""

    def asking(adapter: Adapter) -> Asking:
        return lambda place, seed: ItemRequest.by_default(place.image, place.mask, adapter, seed)

    def distance(adapter: Adapter) -> float:
        x = described(drawn(generator, some, asking(adapter)), some)
        return energy(x / judge.scale, judge.extra[type_] / judge.scale)

    some = sites[:_FOR_NEAREST]
    nearest = min(adapters_of(generator.backbone.name), key=distance)
    print(f"  nearest bundled type: {nearest.name}")
    return drawn(generator, sites, asking(nearest))


def main() -> None:
    parser = shared.parser("taught", __doc__)
    parser.add_argument("--sets", nargs="+", choices=sorted(SETS), default=sorted(SETS))
    parser.add_argument("--types", nargs="+", help="only these")
    parser.add_argument("--items", type=int, default=24, help="drawn of each type and variant")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    shared.add_lesson(parser)
    parser.add_argument("--out", type=Path, help="folder for sheets and adapters")
    arguments = parser.parse_args()
    generator = Generator(Backbone.load(arguments.backbone), _AT_ONCE)
    table: dict[str, Any] = {}
    for name in arguments.sets:
        part, types = SETS[name]
        wanted = [one for one in _TAUGHT.get(name, types) if not arguments.types or one in arguments.types]
        judge = Judge.of(name, {one: read_samples(name, one, "teach") for one in types}) if wanted else None
        for type_ in wanted:
            assert judge is not None
            lesson = replace(Lesson(type_, part, seed=arguments.seed), **dict(arguments.lesson))
            table[f"{name}/{type_}"] = compared(generator, judge, name, type_, lesson, arguments)
            write_json(arguments.json, table)


def _sheet(
    path: Path, samples: Sequence[Sample], sites: Sequence[Place], variants: dict[str, list[ItemResult]]
) -> None:
    """Rows: real pairs; places; each variant's items."""
    rows = [[(one.image, one.mask) for one in shared.spread(samples, COLUMNS)]]
    rows.append([(place.image, place.mask) for place in sites])
    rows += [
        [(result.image, place.mask) for result, place in zip(results, sites, strict=True)]
        for results in variants.values()
    ]
    gallery(rows).save(path)


if __name__ == "__main__":
    main()
