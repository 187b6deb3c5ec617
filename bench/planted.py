"""``python -m bench planted``: does the verdict see through synthetic data whose worth is known beforehand?

Ten cases of real and rendered photos, six with a planted fault and four with pairs that are as good as can be.
Each goes through the contest that a trial ends with: detectors learn with them and without, a hold-out judges.
Bad pairs must never be said to help; good ones must, by the metrics by which their worth is known, and by none be
said to harm; where the fault can be named, its reason must be. The same detectors are judged by whole images and
by pixels.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from bench import shared
from bench.data import read_samples
from bench.quality.sources import GOOD, SETS
from bench.rendered import Stream, draw_pair
from models.backbone import Backbone
from models.evaluation.contest import Contest, Control, Held, Material, part_of
from models.evaluation.schooling import Schooling
from models.evaluation.segmenter import Pair, real_pairs
from models.evaluation.verdict import Kind
from models.levels import Pixels
from models.masks import Mask
from models.samples import Sample

_TILES, _CAPSULES = "magnetic_tile", "visa_capsules"
_REAL = 2  # pairs of each type that the line has; the rest of `teach` nobody has seen
_METRICS = ("image AUROC", "pixel AP")
_COUNT = 80  # of synthetic pairs, where they can be made
_CONTROLS = 20
_PATCH = 48  # pixels a side of what a useless or traced pair is labelled with
_SIDE = 256  # of rendered scenes, and of the windows that the VAE sees
_HELD = 150  # rendered parts of either kind to judge by: what three pairs leave to gain is small
_RENDERED = ("scratch", "dent", "stain")


@dataclass(frozen=True)
class Case:
    """A case.

    Attributes:
        right: verdicts that are right.
        reason: words that the verdict's reasons must hold.
        plant: makes its material.
        told_by: metrics by which its worth is known; by others it is right to say that nothing can be told, too.
    """

    name: str
    right: tuple[Kind, ...]
    reason: str
    plant: Callable[[argparse.Namespace], Material]
    told_by: tuple[str, ...] = _METRICS


def main() -> None:
    parser = shared.parser("planted", __doc__)
    parser.add_argument("--cases", nargs="+", choices=[case.name for case in CASES])
    parser.add_argument("--detectors", type=int, default=3, help="of each kind")
    parser.add_argument("--steps", type=int, default=300, help="of each detector's training")
    arguments = parser.parse_args()
    rows = []
    for case in CASES:
        if arguments.cases and case.name not in arguments.cases:
            continue
        found = judged(case, arguments)
        rows += found
        shared.show(found)
        shared.write(arguments.json, arguments, cases=rows)
    for metric in _METRICS:
        right = [row["right"] for row in rows if row["metric"] == metric]
        print(f"by {metric} {sum(right)} of {len(right)} verdicts are right")


def judged(case: Case, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """What the contest says of a case, by each metric."""
    schooling = Schooling(steps=arguments.steps, seed=arguments.seed)
    contest = Contest(case.plant(arguments), schooling, arguments.detectors)
    with tqdm(total=contest.steps, desc=case.name) as bar:
        while contest.phase != "done":
            contest.advance()
            bar.update()
    return [_row(case, contest, metric) for metric in _METRICS]


def _row(case: Case, contest: Contest, metric: str) -> dict[str, Any]:
    contest.metric = metric
    found = contest.judged().comparison
    (row,) = (one for one in found.rows if one.name == metric)
    reasons = "; ".join(found.verdict.reasons)
    right = case.right if metric in case.told_by else (*case.right, "cannot tell")
    return {
        "case": case.name,
        "metric": metric,
        "verdict": found.verdict.kind,
        "right": found.verdict.kind in right and case.reason in reasons,
        "gain": found.verdict.gain,
        "interval": found.verdict.interval,
        "without": row.without,
        "with": row.with_them,
        "reasons": reasons,
        "notes": "; ".join(found.notes),
    }


def _real(name: str) -> tuple[list[Pair], list[Pair]]:
    """The few pairs that a line has, and further ones that it has not."""
    few, others = [], []
    for type_ in SETS[name][1]:
        pairs = real_pairs(read_samples(name, type_, "teach"), type_)
        chosen = shared.spread(range(len(pairs)), _REAL)
        few += [pairs[i] for i in chosen]
        others += [one for i, one in enumerate(pairs) if i not in chosen]
    return few, others


def _hold_out(name: str) -> list[Held]:
    defective = [Held(one, type_) for type_ in SETS[name][1] for one in read_samples(name, type_, "extra")]
    return [*defective, *(Held(one, None) for one in read_samples(name, GOOD, "extra"))]


def _base(name: str = _TILES) -> Material:
    """A line with few pairs, and synthetic ones that are real ones it has not seen: as good as can be."""
    few, others = _real(name)
    normals = real_pairs(read_samples(name, GOOD, "teach"), "")
    return Material(few, normals, others, _hold_out(name))


def _useless(arguments: argparse.Namespace) -> Material:
    """Labels on photos that show nothing there."""
    base = _base()
    rng = np.random.default_rng([arguments.seed, 1])
    return replace(base, synthetic=[_labelled(one.image, rng) for one in _some(base.normals, _COUNT)])


def _copies(_: argparse.Namespace) -> Material:
    base = _base()
    return replace(base, synthetic=[*base.real, *(replace(one, image=_rewritten(one.image)) for one in base.real)])


def _leaked(_: argparse.Namespace) -> Material:
    base = _base()
    leaked = [pair for one in base.hold_out if one.type for pair in real_pairs([one.sample], one.type)]
    return replace(base, synthetic=[replace(one, image=_rewritten(one.image)) for one in leaked])


def _trace(arguments: argparse.Namespace) -> Material:
    """Patches that went through the VAE, labelled as defects: all that a generator without grain leaves."""
    backbone = Backbone.load(arguments.backbone)
    base, rng = _base(), np.random.default_rng([arguments.seed, 2])
    good = [one.sample for one in base.hold_out if one.type is None]
    controls = [
        Control(_traced(backbone, one.image, rng), one.image, one) for one in shared.spread(good, _CONTROLS)
    ]
    synthetic = [_traced(backbone, one.image, rng) for one in _some(base.normals, _COUNT)]
    return replace(base, synthetic=synthetic, controls=controls)


def _shifted(_: argparse.Namespace) -> Material:
    """Good pairs, taken in brighter light than the line's good photos."""
    base = _base()
    return replace(base, synthetic=[replace(one, image=_brighter(one.image)) for one in base.synthetic])


def _tiny(_: argparse.Namespace) -> Material:
    base = _base()
    parts: dict[str, Held] = {part_of(one.sample): one for one in base.hold_out if one.type}
    few = list(islice(parts.values(), 4))
    return replace(base, hold_out=[*few, *(one for one in base.hold_out if one.type is None)])


def _unseen_tiles(_: argparse.Namespace) -> Material:
    return _base()


def _unseen_capsules(_: argparse.Namespace) -> Material:
    return _base(_CAPSULES)


def _unseen_scenes(surface: str, arguments: argparse.Namespace) -> Material:
    """Rendered parts: any number of new ones."""
    seed = arguments.seed

    def scenes(first: int, count: int) -> list[Pair]:
        drawn = (
            draw_pair(Stream.LABELS, first + i, _RENDERED[i % len(_RENDERED)], seed, surface, side=_SIDE)
            for i in range(count)
        )
        return [Pair(one.image, one.mask, one.type) for one in drawn]

    def normals(first: int, count: int) -> list[Pixels]:
        return [
            draw_pair(Stream.NORMALS, first + i, "scratch", seed, surface, side=_SIDE).normal for i in range(count)
        ]

    none = np.zeros((_SIDE, _SIDE), np.bool_)
    held = [Held(Sample(one.image, one.mask, f"scene {i}"), one.type) for i, one in enumerate(scenes(1000, _HELD))]
    held += [Held(Sample(image, none, f"good {i}"), None) for i, image in enumerate(normals(1000, _HELD))]
    good = [Pair(image, none, "") for image in normals(0, 40)]
    return Material(scenes(2000, 3), good, scenes(0, _COUNT), held, on_normals=True)


CASES = (
    Case("useless", ("do not use", "cannot tell"), "", _useless),
    Case("copies of real pairs", ("do not use",), "repeat real ones", _copies),
    Case("leaked hold-out", ("cannot tell",), "show what detectors learned from", _leaked),
    Case("generator's trace", ("do not use",), "trace", _trace),
    Case("shifted normals", ("do not use",), "than the good ones", _shifted),
    Case("tiny hold-out", ("cannot tell",), "more defective parts", _tiny),
    Case("unseen tiles", ("helps",), "", _unseen_tiles),
    Case("unseen capsules", ("helps",), "", _unseen_capsules, ("pixel AP",)),
    Case("unseen rendered metal", ("helps",), "", partial(_unseen_scenes, "brushed-metal")),
    Case("unseen rendered ceramic", ("helps",), "", partial(_unseen_scenes, "ceramic"), ("pixel AP",)),
)
"""Six faults, then four that are good."""


def _some(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """So many, in turn."""
    return [pairs[i % len(pairs)] for i in range(count)]


def _square(shape: tuple[int, ...], rng: np.random.Generator) -> Mask:
    mask = np.zeros(shape[:2], np.bool_)
    row, column = (int(rng.integers(max(1, side - _PATCH))) for side in shape[:2])
    mask[row : row + _PATCH, column : column + _PATCH] = True
    return mask


def _labelled(image: Pixels, rng: np.random.Generator) -> Pair:
    return Pair(image, _square(image.shape, rng), SETS[_TILES][1][int(rng.integers(len(SETS[_TILES][1])))])


def _traced(backbone: Backbone, image: Pixels, rng: np.random.Generator) -> Pair:
    """An image in whose label the VAE's round trip is seen."""
    pair = _labelled(image, rng)
    row, column = (
        int(np.clip(np.flatnonzero(pair.mask.any(axis=axis))[0] - _PATCH, 0, max(0, side - _SIDE)))
        for axis, side in zip((1, 0), pair.mask.shape, strict=True)
    )
    window = (slice(row, row + _SIDE), slice(column, column + _SIDE))
    seen = image[window].astype(np.float32) / 255
    padded = np.pad(seen, [(0, _SIDE - seen.shape[0]), (0, _SIDE - seen.shape[1])], mode="edge")
    x = torch.from_numpy(np.stack([padded] * 3))[None]
    with torch.inference_mode():
        decoded = backbone.decode(backbone.encode(x))[0].mean(dim=0).numpy()
    drawn = image.copy()
    there = pair.mask[window]
    drawn[window][there] = np.rint(decoded.clip(0, 1) * 255).astype(np.uint8)[: seen.shape[0], : seen.shape[1]][
        there
    ]
    return replace(pair, image=drawn)


def _rewritten(image: Pixels) -> Pixels:
    """The same photo, saved anew: no byte of it needs to be the same."""
    rng = np.random.default_rng(image.size)
    return np.asarray(np.clip(image.astype(np.int64) + rng.integers(-1, 2, image.shape), 0, 255), np.uint8)


def _brighter(image: Pixels) -> Pixels:
    return np.asarray(np.clip(image.astype(np.float32) * 0.7 + 90, 0, 255), np.uint8)
