"""``python -m bench taught``: are types taught from a few real pairs worth having?

Each type is taught from its `teach` pairs and normals, then drawn on `extra` normals that no training has seen, with
masks of its own distribution. Judged is what lies within the refined mask, by fixed features of ImageNet: is it named
as its type by a classifier that knows real `teach` pairs alone; and how far is it from real `extra` pairs, against
the bundled type that comes nearest, against a teaching without the disentanglement term, and against copies pasted
in. Distances are energy distances over pairs of pictures, with intervals over items and real pairs alike.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
from bench.data import entries
from bench.rendered import adapters_of, square_around
from models.adapters import Adapter
from models.backbone import Backbone
from models.features import features
from models.generation import Generator
from models.items import ItemRequest, ItemResult
from models.levels import Pixels
from models.masks import Mask
from models.paste import paste
from models.refinement import Calibration
from models.references import References
from models.samples import Exemplar, Sample, exemplars_from_bytes
from models.teaching.examples import rgb
from models.teaching.lesson import Lesson
from models.teaching.teaching import Teaching
from models.teaching.trials import Place, places

SETS: dict[str, tuple[str, tuple[str, ...]]] = {
    "magnetic_tile": ("magnetic tile", ("blowhole", "break", "crack", "fray", "uneven")),
    "visa_capsules": ("capsule", ("bubble", "combined")),
    "bsdata_ballscrew": ("ball screw spindle", ("pitting", "pitting_kgt")),
}
"""Parts and the types that are told apart within a set; `bsdata_ballscrew` is taught its pitting alone."""
_TAUGHT = {"bsdata_ballscrew": ("pitting",)}
_SEEN = 128  # pixels a side of what is judged
_NORMALS = 40  # that a teaching gets

Vectors = NDArray[np.float64]


@torch.inference_mode()
def seen(image: Pixels, mask: Mask) -> Vectors:
    """(1024,) of the square around a mask: features within it, and of the whole square."""
    crop = square_around(mask)
    picture = np.asarray(Pillow.fromarray(rgb(image)[crop]).resize((_SEEN, _SEEN), Pillow.Resampling.BICUBIC))
    inside = np.asarray(Pillow.fromarray(mask[crop]).resize((_SEEN, _SEEN), Pillow.Resampling.BOX)) > 0
    x = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
    within = features()(x, torch.from_numpy(inside.astype(np.float32))[None, None])
    return np.asarray(torch.cat([within, features()(x)], dim=1)[0].numpy(), np.float64)


def energy(x: Vectors, y: Vectors) -> float:
    """Energy distance of two samples (n, D), (m, D): 2 E|X−Y| − E|X−X'| − E|Y−Y'| (Székely & Rizzo 2013)."""

    def between(a: Vectors, b: Vectors) -> Vectors:
        return np.asarray(np.sqrt(np.maximum(np.square(a[:, None] - b[None]).sum(axis=2), 0)))

    def within(a: Vectors) -> float:
        return float(between(a, a).sum() / max(len(a) * (len(a) - 1), 1))

    return float(2 * between(x, y).mean() - within(x) - within(y))


def kernel_distance(x: Vectors, y: Vectors) -> float:
    """Squared MMD with the cubic kernel (KID, Bińkowski et al., arXiv 1801.01401), unbiased."""

    def kernel(a: Vectors, b: Vectors) -> Vectors:
        return np.asarray((a @ b.T / a.shape[1] + 1) ** 3)

    n, m = len(x), len(y)
    xx, yy = kernel(x, x), kernel(y, y)
    of_x = (xx.sum() - np.trace(xx)) / (n * (n - 1))
    of_y = (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(of_x + of_y - 2 * kernel(x, y).mean())


def with_interval(
    distance: Callable[[Vectors, Vectors], float], x: Vectors, y: Vectors, draws: int = 300
) -> dict[str, Any]:
    """A distance and its bootstrap interval, items and real pairs drawn anew together."""
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(draws):
        # Without return below the full size: pairs of equals would look like a distance of 0.
        rows, others = (rng.permutation(n)[: max(2, round(0.632 * n))] for n in (len(x), len(y)))
        drawn.append(distance(x[rows], y[others]))
    low, high = np.quantile(drawn, (0.025, 0.975))
    return {"value": distance(x, y), "interval": (float(low), float(high))}


def read_samples(name: str, type_: str, split: str) -> list[Sample]:
    """The pairs of a type, or the normals ("good"), of a split."""
    found = []
    for entry in entries(name, type_, split=split):
        image = shared.read_photo(entry.image)
        mask = np.zeros(image.shape[:2], np.bool_)
        if entry.mask is not None:
            mask = shared.read_mask(entry.mask, image.shape)
        found.append(Sample(image, mask, entry.sha256, entry.group))
    return found


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
    known = {adapter.name: adapter.tokens for adapter in adapters_of(backbone.name, None)}
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


def drawn(generator: Generator, sites: Sequence[Place], request: Callable[[Place, int], ItemRequest]) -> list[Any]:
    """One item a place, each of a seed of its own."""
    results = []
    for number, place in enumerate(tqdm(sites, desc="items", leave=False)):
        (result,) = generator.generate([request(place, number)])
        results.append(result)
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


def main() -> None:
    parser = shared.parser("taught", __doc__)
    parser.add_argument("--sets", nargs="+", choices=sorted(SETS), default=sorted(SETS))
    parser.add_argument("--types", nargs="+", help="only these")
    parser.add_argument("--items", type=int, default=24, help="drawn of each type and variant")
    parser.add_argument("--variants", nargs="+", default=["taught", "without the term", "bundled", "pasted"])
    parser.add_argument("--steps", type=int, default=Lesson("any").steps)
    parser.add_argument("--set", dest="lesson", nargs="*", default=[], help="field=value of the lesson")
    parser.add_argument("--out", type=Path, help="folder for sheets and adapters")
    arguments = parser.parse_args()
    backbone = Backbone.load(arguments.backbone)
    generator = Generator(backbone)
    table: dict[str, Any] = {}
    fields = {key: json.loads(value) for key, value in (one.split("=") for one in arguments.lesson)}
    for name in arguments.sets:
        part, types = SETS[name]
        taught_types = [t for t in _TAUGHT.get(name, types) if not arguments.types or t in arguments.types]
        if not taught_types:
            continue
        teach_pairs = {type_: read_samples(name, type_, "teach") for type_ in types}
        x, y = zip(*[(seen(s.image, s.mask), i) for i, t in enumerate(types) for s in teach_pairs[t]], strict=True)
        judge = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000, class_weight="balanced"))
        judge.fit(np.stack(x), np.array(y))
        scale = np.stack(x).std(axis=0) + 1e-6
        extra = {type_: real(read_samples(name, type_, "extra")) for type_ in types}
        normals = shared.spread(read_samples(name, "good", "teach"), _NORMALS)
        held = shared.spread(read_samples(name, "good", "extra"), arguments.items)
        for type_ in taught_types:
            number = types.index(type_)
            lesson = replace(Lesson(type_, part, seed=arguments.seed, steps=arguments.steps), **fields)
            made = teach(backbone, lesson, teach_pairs[type_], normals)
            sites = list(places(held, made.teaching.masks, arguments.items, arguments.seed + 77))
            by_variant: dict[str, list[ItemResult]] = {}

            def with_default(of: Made) -> Callable[[Place, int], ItemRequest]:
                return lambda place, i: ItemRequest.by_default(
                    place.image, place.mask, of.adapter, i, exemplars=of.exemplars, references=of.references
                )

            for variant in arguments.variants:
                if variant == "taught":
                    by_variant[variant] = drawn(generator, sites, with_default(made))
                elif variant == "without the term":
                    plain = teach(backbone, replace(lesson, disentangled=False), teach_pairs[type_], normals)
                    by_variant[variant] = drawn(generator, sites, with_default(plain))
                elif variant == "bundled":
                    by_variant[variant] = _bundled(generator, sites, extra[type_], scale)
                elif variant == "pasted":
                    calibration = Calibration.of(backbone.calibration)
                    asked = with_default(made)
                    by_variant[variant] = [
                        paste(asked(place, i), made.exemplars, calibration) for i, place in enumerate(sites)
                    ]
            accuracy = float((judge.predict(extra[type_]) == number).mean())
            row: dict[str, Any] = {
                "teach": len(teach_pairs[type_]),
                "extra": len(extra[type_]),
                "minutes": made.minutes,
                "card": made.card,
                "bytes": len(made.adapter.to_bytes()),
                "real extra pairs named": accuracy,
                "variants": {},
            }
            print(f"\n{name} {type_}: {row['teach']} pairs, {made.minutes:.1f} min, {made.card['verdict']}")
            print(
                f"  real extra pairs named {accuracy:.2f}; real teach to real extra {_real_distance(x, y, number, extra[type_], scale):.3f}"
            )
            for variant, results in by_variant.items():
                found = described(results, sites)
                named = float((judge.predict(found) == number).mean())
                distances = {"energy": with_interval(energy, found / scale, extra[type_] / scale)}
                if min(len(found), len(extra[type_])) >= 50:
                    distances["KID"] = with_interval(kernel_distance, found / scale, extra[type_] / scale)
                scores = {
                    key: [getattr(r.scores, key) for r in results]
                    for key in ("presence", "seam", "grain", "coverage", "realism", "novelty")
                }
                row["variants"][variant] = {"named": named, "distances": distances, "scores": scores}
                medians = {
                    k: float(np.median([v for v in values if v is not None] or [np.nan]))
                    for k, values in scores.items()
                }
                least = min([v for v in scores["novelty"] if v is not None], default=float("nan"))
                d = distances["energy"]
                print(
                    f"  {variant:<18} named {named:.2f} ({named / max(accuracy, 1e-9):.2f} of real)  energy {d['value']:.3f}"
                    f" [{d['interval'][0]:.3f}, {d['interval'][1]:.3f}]  "
                    + " ".join(f"{k} {v:.2f}" for k, v in medians.items())
                    + f" least novelty {least:.2f}",
                    flush=True,
                )
            if arguments.out:
                arguments.out.mkdir(parents=True, exist_ok=True)
                made.adapter.save(arguments.out / f"{name}-{type_}.safetensors")
                _sheet(arguments.out / f"{name}-{type_}.png", teach_pairs[type_], sites, by_variant)
            table[f"{name}/{type_}"] = row
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=1, default=float) + "\n", "utf-8")


def _real_distance(x: Sequence[Vectors], y: Sequence[int], number: int, extra: Vectors, scale: Vectors) -> float:
    own = np.stack([one for one, label in zip(x, y, strict=True) if label == number])
    return energy(own / scale, extra / scale)


def _bundled(generator: Generator, sites: Sequence[Place], extra: Vectors, scale: Vectors) -> list[ItemResult]:
    """Items of the bundled type that comes nearest, by a third of the places."""
    best: tuple[float, list[ItemResult]] = (float("inf"), [])
    some = sites[: max(2, len(sites) // 3)]
    chosen: Adapter | None = None
    for adapter in adapters_of(generator.backbone.name, None):
        results = drawn(
            generator, some, lambda place, i, a=adapter: ItemRequest.by_default(place.image, place.mask, a, i)
        )  # type: ignore[misc]
        distance = energy(described(results, some) / scale, extra / scale)
        if distance < best[0]:
            best, chosen = (distance, results), adapter
    assert chosen is not None
    nearest = chosen
    print(f"  nearest bundled type: {nearest.name}")
    return drawn(generator, sites, lambda place, i: ItemRequest.by_default(place.image, place.mask, nearest, i))


def _sheet(
    path: Path, samples: Sequence[Sample], sites: Sequence[Place], variants: dict[str, list[ItemResult]]
) -> None:
    """Rows: real pairs; places; each variant's items."""
    columns = 8

    def tile(image: Pixels, mask: Mask) -> NDArray[np.uint8]:
        return np.asarray(Pillow.fromarray(rgb(image)[square_around(mask)]).resize((160, 160)), np.uint8)

    rows = [[tile(s.image, s.mask) for s in shared.spread(samples, columns)]]
    rows.append([tile(p.image, p.mask) for p in sites[:columns]])
    rows += [
        [tile(r.image, p.mask) for r, p in zip(results[:columns], sites, strict=False)]
        for results in variants.values()
    ]
    blank = np.full((160, 160, 3), 255, np.uint8)
    sheet = [np.concatenate([*row, *[blank] * (columns - len(row))], axis=1) for row in rows]
    Pillow.fromarray(np.concatenate(sheet)).save(path)


if __name__ == "__main__":
    main()
