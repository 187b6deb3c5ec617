"""Whether what is drawn faster is as good: the reference's items, ours at equal steps and ours as shipped.

All draw in the same places of rendered parts with the same seeds, each item once, and are judged alike, by what
can be told of any image. How far are they, within their requests, from rendered defects of the type that were held
back (KID from 50 items on, else the energy distance: `bench.quality.likeness`)? And what scores do they get as if
the method had drawn them (`bench.labels.as_drawn`)? Realism is told against the defects that were held back. The
defect that was rendered in each place is judged beside them: what a perfect item would get.

A figure of ours *holds* where it lies within another's interval of 95 %, or on the better side of it. Where it
does not, it may still be as good as that of the rendered defects: an image with nothing drawn has perfect seams
and grain, which no defect has. Ours is held against the reference, and against itself at equal steps. The latter
is stricter: the reference has no masked attention, without which a backbone that learned with it draws weakly.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from bench import shared
from bench.intervals import Interval, interval
from bench.labels import as_drawn
from bench.quality.likeness import FIGURES, Reality, Seen, likeness
from bench.quality.stages import Stage, keep_pair, kept_pairs, missing_pairs
from bench.rendered import adapters_of
from bench.sheets import COLUMNS, gallery
from bench.speed.pipeline import Setting
from bench.speed.reference import Reference
from bench.speed.workloads import Scene, scenes
from models.adapters import Adapter
from models.backbone import Backbone
from models.calibration import neutral
from models.evaluation.segmenter import Pair
from models.finishing import Outcome, judged
from models.generation import Generator
from models.items import ItemRequest
from models.levels import Pixels
from models.masks import Mask
from models.references import References, described_exemplars
from models.samples import Sample, exemplars_of
from models.scores import Scores
from service.images.decoding import read_canonical

TRUTH, REFERENCE, EQUAL, SHIPPED = "rendered", "reference", "equal steps", "shipped"
BARS = (REFERENCE, EQUAL)
"""Who ours is held against."""
SCORES = ("presence", "seam", "grain", "coverage", "realism", "quality")
HELD = 200
"""Rendered pairs of a type that items are held against."""

_PLACES = (
    "bench/rendered.py",
    "bench/speed/workloads.py",
    "models/rendering/**/*.py",
    "models/training/loosening.py",
)
_BY_REFERENCE = (
    "bench/speed/reference.py",
    *(
        f"models/{name}.py"
        for name in (
            "attention",
            "backbone",
            "cuts",
            "ddim",
            "folders",
            "kernels",
            "levels",
            "lora",
            "masks",
            "noise",
            "resampling",
            "windows",
        )
    ),
    *_PLACES,
)
"""The code that draws the reference's items: it takes long, so other changes draw none anew."""
_BY_OURS = (
    "bench/speed/pipeline.py",
    "models/*.py",
    "models/kernels/**/*.py",
    "models/training/recipe.py",
    *_PLACES,
)

Holds = Literal["yes", "as rendered", "no"]
"""Within the bar's interval or better; or at least within that of the rendered defects or better; or not."""
Draw = Callable[[Scene, int], tuple[Pixels, Mask]]
"""The image of a numbered scene, and what is labelled there."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is asked about quality."""
    parser.add_argument("--quality", type=int, default=0, metavar="N", help="items of each type that are judged")
    parser.add_argument("--quality-types", nargs="+", default=["scratch", "dent", "stain"], help="of these types")
    parser.add_argument(
        "--try",
        nargs=3,
        type=float,
        action="append",
        default=[],
        dest="tries",
        metavar=("STEPS", "SEVERITY", "GUIDANCE"),
        help="also judge ours with this in place of the type's defaults",
    )
    parser.add_argument("--out", type=Path, default=Path("out/speed"), help="keeps what was drawn, and sheets")


@dataclass(frozen=True, eq=False)
class Held:
    """Rendered pairs that items are held against.

    Attributes:
        real: as the distances see them, within requests such as the items have.
        references: as realism sees them.
    """

    real: Reality
    references: References

    @classmethod
    def of(cls, held: Sequence[Scene]) -> Held:
        """Look at the pairs of scenes, each by itself."""
        seen = Seen.of(Pair(one.truth.image, one.mask, one.truth.type) for one in held).vectors
        samples = [Sample(one.truth.image, one.truth.mask, "") for one in held]
        groups = tuple(map(str, range(len(held))))
        references = References(described_exemplars(exemplars_of(samples)).numpy())
        return cls(Reality(seen, groups, seen.std(axis=0) + 1e-6), references)


class Contest:
    """Items of one type by all who draw, judged.

    Args:
        plain: backbone in float32, by which all are judged.
        ways: who draws beside the reference, and how; `SHIPPED` is among them.
    """

    def __init__(
        self, arguments: argparse.Namespace, plain: Backbone, adapter: Adapter, ways: Mapping[str, Setting]
    ) -> None:
        self._arguments = arguments
        self._plain = plain
        self._adapter = adapter
        self._ways = ways
        found = list(islice(scenes(adapter.name, arguments.seed), arguments.quality + HELD))
        self._scenes, self._held = found[: arguments.quality], found[arguments.quality :]

    def drawn(self, reference: Reference, ours: Backbone, equal: Setting) -> dict[str, list[Pixels]]:
        """The items of each, a scene each; those that were drawn before are read."""
        generator = Generator(ours)
        found: dict[str, list[Pixels]] = {TRUTH: [scene.truth.image for scene in self._scenes]}
        found[REFERENCE] = self._kept(REFERENCE, equal, _BY_REFERENCE, partial(self._by_reference, reference))
        for name, setting in self._ways.items():
            found[name] = self._kept(name, setting, _BY_OURS, partial(self._by_ours, generator, setting))
        return found

    def figures(self, items: Mapping[str, Sequence[Pixels]]) -> dict[str, Any]:
        """Likeness and scores of each, and whether those of ours hold."""
        held = Held.of(self._held)
        seen = {name: Seen.of(map(self._pair, self._scenes, images)) for name, images in items.items()}
        alike = likeness(held.real, seen, len(self._scenes), SHIPPED)
        generator = Generator(self._plain)
        scored = {
            name: _told(
                [
                    self._scores(generator, held.references, scene, image, number)
                    for number, (scene, image) in enumerate(
                        zip(tqdm(self._scenes, desc=f"judging {name}", leave=False), images, strict=True)
                    )
                ]
            )
            for name, images in items.items()
        }
        return {
            "likeness": alike,
            "scores": scored,
            "holds": {bar: holding(alike, scored, bar) for bar in BARS if bar in items},
        }

    def sheet(self, items: Mapping[str, Sequence[Pixels]]) -> Path:
        """Write a row for the parts and for each who drew; returns the file."""
        rows = [[scene.truth.normal for scene in self._scenes[:COLUMNS]], *items.values()]
        masks = [scene.mask for scene in self._scenes[:COLUMNS]]
        path: Path = self._arguments.out / f"{self._adapter.name}.png"
        gallery([list(zip(row, masks, strict=False)) for row in rows]).save(path)
        return path

    def _kept(self, name: str, setting: Setting, code: tuple[str, ...], draw: Draw) -> list[Pixels]:
        shaped_by = {
            "backbone": self._plain.digest,
            "type": self._adapter.sha256,
            "setting": vars(setting),
            "seed": self._arguments.seed,
            "device": self._arguments.device,
            "dtype": self._arguments.dtype,
        }
        words = f"{self._adapter.name}-{name}".replace(" ", "_")
        stage = Stage(self._arguments.out, words, shaped_by, code)
        type_, count = self._adapter.name, len(self._scenes)
        for number in tqdm(missing_pairs(stage, count), desc=f"{type_}, {name}", leave=False):
            keep_pair(stage, number, Pair(*draw(self._scenes[number], number), type_))
        return [pair.image for pair in kept_pairs(stage, type_, count)]

    def _by_reference(self, reference: Reference, scene: Scene, number: int) -> tuple[Pixels, Mask]:
        return reference.item(scene.frame, scene.mask, self._adapter, number).pixels, scene.mask

    def _by_ours(self, generator: Generator, setting: Setting, scene: Scene, number: int) -> tuple[Pixels, Mask]:
        ask = setting.asking(self._adapter)
        (result,) = generator.generate([ask(read_canonical(scene.frame.png), scene.mask, number)])
        return result.image, result.refined_mask

    def _pair(self, scene: Scene, image: Pixels) -> Pair:
        return Pair(image, scene.mask, self._adapter.name)

    def _scores(
        self, generator: Generator, references: References, scene: Scene, image: Pixels, number: int
    ) -> Scores:
        """Of an image, whoever drew it."""
        normal = scene.truth.normal
        seen = as_drawn(generator, normal, image, scene.mask, number)
        request = ItemRequest.by_default(normal, scene.mask, neutral(self._plain), number, references=references)
        outcome = Outcome(0.0, int(scene.mask.sum()), seen.soft_edge_px, seen.pixels_per_model_pixel)
        told = judged(request, image, seen.refined_mask, [outcome], generator.calibration, attempt=1).scores
        return replace(told, presence=seen.scores.presence)


def compared(arguments: argparse.Namespace, equal: Setting, dtype: torch.dtype) -> dict[str, Any]:
    """Draw and judge items of all types that are asked for, and print what came of it.

    Args:
        equal: of the reference, and of ours at equal steps.
        dtype: of ours.
    """
    device = torch.device(arguments.device)
    adapters = adapters_of(arguments.backbone, arguments.quality_types)
    plain, ours = (Backbone.load(arguments.backbone, device, one) for one in (torch.float32, dtype))
    found = {}
    for adapter in adapters:
        reference = Reference(plain, equal.steps, equal.severity, equal.guidance, weights=adapter.weights)
        contest = Contest(arguments, plain, adapter, ways(adapter, equal, arguments.tries))
        items = contest.drawn(reference, ours, equal)
        found[adapter.name] = contest.figures(items)
        _print(adapter.name, found[adapter.name])
        print(f"{', '.join(['normal', *items])}: {contest.sheet(items)}")
    return found


def ways(adapter: Adapter, equal: Setting, tries: Sequence[Sequence[float]]) -> dict[str, Setting]:
    """How ours draws: at equal steps, as shipped, and as is tried, which begins as the type does."""
    shipped = Setting.shipped(adapter)
    found = {EQUAL: equal, SHIPPED: shipped}
    for steps, severity, guidance in tries:
        name = f"{steps:g} steps, {severity:g}, {guidance:g}"
        found[name] = Setting(int(steps), severity, guidance, shipped.noise)
    return found


def holding(
    alike: Mapping[str, Mapping[str, Any]], scored: Mapping[str, Mapping[str, Any]], bar: str
) -> dict[str, dict[str, Holds]]:
    """Of each of ours, whether the distance and the scores hold beside one of `BARS`."""

    def distance(name: str) -> Holds:
        value = alike[name]["distance"]["value"]
        far, farther = (alike[one]["distance"]["interval"][1] for one in (bar, TRUTH))
        return "yes" if value <= far else "as rendered" if value <= farther else "no"

    def score(name: str, key: str) -> Holds:
        value = scored[name][key]["value"]
        low, lower = (scored[one][key]["interval"][0] for one in (bar, TRUTH))
        return "yes" if value >= low else "as rendered" if value >= lower else "no"

    return {
        name: {"distance": distance(name)} | {key: score(name, key) for key in SCORES}
        for name in scored
        if name not in (TRUTH, REFERENCE, bar)
    }


def _told(scores: Sequence[Scores]) -> dict[str, Any]:
    """Means with their intervals, of items that have the score; and the greatest difference outside a request."""
    told: dict[str, Any] = {}
    for key in SCORES:
        values = np.array([value for one in scores if (value := getattr(one, key)) is not None], np.float64)
        told[key] = {"value": _mean(values), "interval": interval(values, shared.mean)}
    return told | {"background": max(one.background_max_abs_diff for one in scores)}


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _print(name: str, figures: Mapping[str, Any]) -> None:
    alike, scored, holds = figures["likeness"], figures["scores"], figures["holds"]
    rows = []
    for who, one in alike.items():
        row: dict[str, Any] = {"who": who, "items": one["pairs"], "held back": one["real"], "by": one["by"]}
        row |= {key: _figure(one[key]["value"], one[key]["interval"]) for key in FIGURES}
        beside = one["distance"]
        row["shipped less"] = _figure(beside["ours less"], beside["its interval"]) if "ours less" in beside else ""
        rows.append(row)
    print(f"\n{name}: within requests, against rendered defects")
    shared.show(rows)
    print(f"{name}: scores, and levels off outside the request")
    shared.show(
        [
            {"who": who}
            | {key: _figure(one[key]["value"], one[key]["interval"]) for key in SCORES}
            | {"outside": one["background"]}
            for who, one in scored.items()
        ]
    )
    for bar, ours in holds.items():
        print(f"{name}: what holds beside {bar}")
        shared.show([{"who": who, **one} for who, one in ours.items()])


def _figure(value: float, of: Interval) -> str:
    return f"{value:.3f} [{of[0]:.3f}, {of[1]:.3f}]"
