"""``python -m bench quality``: does a detector get better by synthetic defects, and by whose?

Every method learns from the `teach` third of a real data set and makes the same number of pairs in the same
places. The same small detector trains on each method's pairs, alone and beside the real `teach` pairs, with the
same steps and seeds, and is asked about images that nobody has seen. Intervals are of 95 %, paired, over groups of
test images: "ahead" means that the interval of the difference leaves out 0. Finished stages are kept, so that it
goes on where it was; `--plan` says what is still to do.

Remedies and settings are chosen on the `extra` third; `--on test` is for the table, once.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from bench import shared
from bench.quality.judging import judged, real_pairs
from bench.quality.kit import SETS, Kit, kits
from bench.quality.methods import METHODS, OURS, Studio
from bench.quality.stages import Stage, keep_outcomes, keep_pair, kept_outcomes, kept_pairs, missing_pairs
from bench.taught import read_samples
from models.backbone import Backbone
from models.evaluation.metrics import METRICS, draws, once
from models.evaluation.outcomes import Array, Outcomes
from models.evaluation.segmenter import Pair, Schooling
from models.samples import Sample

TEACH, ALL_REAL = "teach", "all real"
BESIDE = TEACH + " + "
_DRAWS = 1000


@dataclass(frozen=True)
class Arm:
    """What a detector learns from.

    Attributes:
        method: that made its pairs; None for real ones alone.
        real: thirds of the real pairs that it learns from, too.
    """

    name: str
    method: str | None
    real: tuple[str, ...]


def arms(methods: Sequence[str]) -> list[Arm]:
    """Real pairs alone, and each method alone and beside them."""
    found = [Arm(TEACH, None, ("teach",)), Arm(ALL_REAL, None, ("teach", "extra"))]
    for method in methods:
        found += [Arm(method, method, ()), Arm(BESIDE + method, method, ("teach",))]
    return found


class Table:
    """The stages of one set."""

    def __init__(self, name: str, arguments: argparse.Namespace) -> None:
        self.name = name
        self.arguments = arguments
        self.kits = kits(name, arguments.seed)
        self.arms = [one for one in arms(arguments.methods) if arguments.on != "extra" or one.name != ALL_REAL]
        self._real: dict[tuple[str, str], list[Sample]] = {}

    def pairs_stage(self, method: str, kit: Kit) -> Stage:
        """Of a method's pairs of a type."""
        shaped = {"set": kit.set, "type": kit.type, "method": method, "seed": kit.seed}
        shaped |= {"backbone": self.arguments.backbone}
        return Stage(self.arguments.out, f"pairs-{kit.set}-{kit.type}-{method.replace(' ', '_')}", shaped)

    def outcomes_stage(self, arm: Arm, seed: int) -> Stage:
        """Of what a detector says that learned from an arm's pairs."""
        arguments = self.arguments
        shaped: dict[str, Any] = {"set": self.name, "method": arm.method, "real": arm.real, "seed": seed}
        shaped |= {"on": arguments.on, "steps": arguments.steps}
        if arm.method:
            shaped |= {"count": arguments.count, "backbone": arguments.backbone, "places": arguments.seed}
        word = arm.name.replace(" + ", "+").replace(" ", "_")
        return Stage(arguments.out, f"outcomes-{self.name}-{word}-{seed}", shaped)

    @property
    def seeds(self) -> range:
        """Of the detectors."""
        return range(self.arguments.seeds)

    def to_do(self) -> tuple[int, int]:
        """How many pairs and how many trainings of detectors are left."""
        pairs = sum(
            len(missing_pairs(self.pairs_stage(method, kit), self.arguments.count))
            for method in self.arguments.methods
            for kit in self.kits
        )
        stages = [self.outcomes_stage(arm, seed) for arm in self.arms for seed in self.seeds]
        return pairs, sum(kept_outcomes(stage) is None for stage in stages)

    def make(self, backbone: Backbone) -> None:
        """Make all pairs that are not there yet."""
        count = self.arguments.count
        for method in self.arguments.methods:
            for kit in self.kits:
                stage = self.pairs_stage(method, kit)
                missing = missing_pairs(stage, count)
                if not missing:
                    continue
                places = kit.places(count)
                with tqdm(total=len(missing), desc=f"{kit.set} {kit.type}, {method}") as bar:

                    def on_unit(done: int, of: int, bar: tqdm[Any] = bar) -> None:
                        bar.set_postfix_str(f"taught {done} of {of}")

                    studio = Studio(backbone, self.arguments.out, on_unit)
                    todo = [(number, places[number]) for number in missing]
                    for number, pair in zip(missing, METHODS[method](studio, kit, todo), strict=True):
                        keep_pair(stage, number, pair)
                        bar.update()

    def judge(self) -> dict[str, list[Outcomes]]:
        """By arm, the outcomes of its detectors."""
        found: dict[str, list[Outcomes]] = {}
        for arm in self.arms:
            found[arm.name] = [self._outcomes(arm, seed) for seed in self.seeds]
        return found

    def _outcomes(self, arm: Arm, seed: int) -> Outcomes:
        stage = self.outcomes_stage(arm, seed)
        known = kept_outcomes(stage)
        if known is not None:
            return known
        schooling = Schooling(steps=self.arguments.steps, seed=seed)
        real = [pair for split in arm.real for pair in self._of_types(split)]
        made = list(self._made(arm.method)) if arm.method else []
        normal = real_pairs(self._samples("good", "teach"), "")
        with tqdm(total=schooling.steps, desc=f"{self.name} {arm.name}, seed {seed}") as bar:
            outcomes = judged(
                [*(made or real), *normal],
                real if made else [],
                self._tests(),
                [kit.type for kit in self.kits],
                schooling,
                lambda step: bar.update(step - bar.n) and None,
            )
        keep_outcomes(stage, outcomes)
        return outcomes

    def _made(self, method: str) -> Iterator[Pair]:
        for kit in self.kits:
            found = kept_pairs(self.pairs_stage(method, kit), kit.type, self.arguments.count)
            yield from (pair for pair in found if pair.mask.any())

    def _of_types(self, split: str) -> Iterator[Pair]:
        for kit in self.kits:
            yield from real_pairs(self._samples(kit.type, split), kit.type)

    def _tests(self) -> list[tuple[Sample, str | None]]:
        on = self.arguments.on
        found: list[tuple[Sample, str | None]] = [(one, None) for one in self._samples("good", on)]
        return found + [(one, kit.type) for kit in self.kits for one in self._samples(kit.type, on)]

    def _samples(self, type_: str, split: str) -> list[Sample]:
        if (type_, split) not in self._real:
            self._real[type_, split] = read_samples(self.name, type_, split)
        return self._real[type_, split]


def figures(found: Mapping[str, Sequence[Outcomes]]) -> dict[str, dict[str, Any]]:
    """By arm and metric the mean over its detectors with its interval, and ours less it, paired, with its own."""
    first = next(iter(found.values()))[0]
    weights = draws(first, _DRAWS)
    drawn = {arm: {name: _mean(several, name, weights) for name in METRICS} for arm, several in found.items()}
    values = {
        arm: {name: float(_mean(several, name, once(first))[0]) for name in METRICS}
        for arm, several in found.items()
    }
    rows: dict[str, dict[str, Any]] = {}
    for arm in found:
        ours = (BESIDE + OURS) if arm.startswith(BESIDE) or arm in (TEACH, ALL_REAL) else OURS
        rows[arm] = {}
        for name in METRICS:
            one = {"value": values[arm][name], "interval": _interval(drawn[arm][name])}
            if ours in found and ours != arm:
                one["ours less"] = values[ours][name] - values[arm][name]
                one["its interval"] = _interval(drawn[ours][name] - drawn[arm][name])
            rows[arm][name] = one
    return rows


def _mean(several: Sequence[Outcomes], metric: str, weights: Array) -> Array:
    return np.asarray(np.mean([METRICS[metric](one, weights) for one in several], axis=0))


def _interval(values: Array) -> tuple[float, float]:
    low, high = np.nanquantile(values, (0.025, 0.975))
    return float(low), float(high)


def main() -> None:
    parser = shared.parser("quality", __doc__)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    parser.add_argument("--count", type=int, default=100, help="pairs of each type and method")
    parser.add_argument("--seeds", type=int, default=3, help="detectors of each arm")
    parser.add_argument("--steps", type=int, default=300, help="of each detector's training")
    parser.add_argument("--on", choices=("extra", "test"), default="extra", help="images that are asked about")
    parser.add_argument("--out", type=Path, default=Path("out/quality"), help="keeps finished stages")
    parser.add_argument("--plan", action="store_true", help="only say what is still to do")
    arguments = parser.parse_args()
    tables = [Table(name, arguments) for name in arguments.sets]
    for table in tables:
        pairs, trainings = table.to_do()
        print(f"{table.name}: {pairs} pairs to make, {trainings} detectors to train")
    if arguments.plan:
        return
    backbone = Backbone.load(arguments.backbone)
    found = {}
    for table in tables:
        table.make(backbone)
        found[table.name] = figures(table.judge())
        print(f"\n{table.name}, on {arguments.on}")
        shared.show(
            [
                {"arm": arm} | {name: one["value"] for name, one in row.items()}
                for arm, row in found[table.name].items()
            ]
        )
        for arm, row in found[table.name].items():
            for name in ("pixel AP", "escapes at 1 %"):
                if "ours less" in row[name]:
                    low, high = row[name]["its interval"]
                    print(f"ours less {arm}, {name}: {row[name]['ours less']:+.3f} [{low:+.3f}, {high:+.3f}]")
        shared.write(arguments.json, arguments, figures=found)


if __name__ == "__main__":
    main()
