"""All stages of one set: pairs, detectors, and what these say."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from bench import shared
from bench.quality.backgrounds import backgrounds, delivered_error
from bench.quality.chores import Chore, work
from bench.quality.costs import Cost, costs, metered
from bench.quality.detectors import Lessons, detector
from bench.quality.flatness import Windows, flatness, rises
from bench.quality.kit import Kit, kits
from bench.quality.likeness import Reality, Seen, likeness, spread
from bench.quality.methods import AT_ONCE, CONTROLS, METHODS, OURS, Method, Studio, Taught
from bench.quality.sources import GOOD, Source
from bench.quality.stages import (
    ASKING,
    DESCRIBING,
    FLATTENING,
    LEARNING,
    MAKING,
    OUTCOMES,
    Stage,
    are_kept,
    keep_arrays,
    keep_cost,
    keep_note,
    keep_outcomes,
    keep_pair,
    kept_arrays,
    kept_cost,
    kept_note,
    kept_outcomes,
    kept_pairs,
    missing_pairs,
    numbered,
)
from models.backbone import Backbone
from models.evaluation.asking import alarms, scored
from models.evaluation.contest import part_of
from models.evaluation.outcomes import Outcomes
from models.evaluation.schooling import Schooling
from models.evaluation.segmenter import Pair, Segmenter, real_pairs
from models.evaluation.trace import trace
from models.levels import Pixels
from models.samples import Sample
from models.teaching.trials import Place

TEACH, ALL_REAL = "teach", "all real"
BESIDE = TEACH + " + "
_TEACHING = "teaching"  # of which the cost is kept beside pairs
_SEEN, _FLATNESS = "seen", "flatness"
_DECODED, _BACKGROUNDS = "decoded", 8  # items of a type and method of which the background is kept as decoded
_WINDOWS, _NORMAL_WINDOWS = 6, 12  # of a type and of normal images, on which flatness is looked at


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


def ours_for(arm: str) -> str:
    """The arm of ours that an arm is compared with: beside the real pairs where it has real pairs, else alone."""
    return BESIDE + OURS if arm.startswith(BESIDE) or arm in (TEACH, ALL_REAL) else OURS


@dataclass(frozen=True)
class Wanted:
    """Pairs of a type, or controls.

    Attributes:
        places: gives so many.
    """

    kit: Kit
    stage: Stage
    method: Method
    count: int
    places: Callable[[int], list[Place]]

    @property
    def chore(self) -> str:
        """Name of the chore; the same where the type is taught the same, which is done once."""
        if isinstance(self.method, Taught):
            return f"teach {self.kit.type} {self.method.lesson} {self.method.ablation}"
        return f"make {self.stage.name}"

    def missing(self) -> int:
        """How many are not there yet."""
        return len(missing_pairs(self.stage, self.count))

    def is_made(self) -> bool:
        """Whether all are there."""
        return not self.missing()


class Table:
    """The stages of one set."""

    def __init__(self, source: Source, arguments: argparse.Namespace) -> None:
        self.source = source
        self.name = source.name
        self.arguments = arguments
        self.kits = kits(source, arguments.seed)
        self.arms = [one for one in arms(arguments.methods) if arguments.on != "extra" or one.name != ALL_REAL]

    def pairs_stage(self, method: str, kit: Kit) -> Stage:
        """Of a method's pairs of a type."""
        shaped = {**kit.shaped_by, "method": method, "backbone": self._backbone}
        name = f"pairs-{kit.set}-{kit.type}-{method.replace(' ', '_')}"
        return Stage(self.arguments.out, name, shaped, MAKING)

    def controls_stage(self, kit: Kit) -> Stage:
        """Of controls of ours."""
        shaped = {**kit.shaped_by, "on": self.arguments.on, "controls": True, "backbone": self._backbone}
        return Stage(self.arguments.out, f"controls-{kit.set}-{kit.type}", shaped, MAKING)

    def detector_stage(self, arm: Arm, seed: int) -> Stage:
        """Of a detector that learned from an arm's pairs."""
        return Stage(self.arguments.out, f"detector-{self._word(arm, seed)}", self._shaped(arm, seed), LEARNING)

    def outcomes_stage(self, arm: Arm, seed: int) -> Stage:
        """Of what a detector says."""
        on = self.arguments.on
        return Stage(
            self.arguments.out, f"{on}-{self._word(arm, seed)}", self._shaped(arm, seed) | {"on": on}, ASKING
        )

    def _shaped(self, arm: Arm, seed: int) -> dict[str, Any]:
        arguments = self.arguments
        shaped = {
            **self.source.shaped_by,
            "method": arm.method,
            "real": arm.real,
            "seed": seed,
            "steps": arguments.steps,
        }
        if arm.method:
            shaped |= {"count": arguments.count, "backbone": self._backbone, "places": arguments.seed}
        return shaped

    def _word(self, arm: Arm, seed: int) -> str:
        return f"{self.name}-{arm.name.replace(' + ', '+').replace(' ', '_')}-{seed}"

    @cached_property
    def _backbone(self) -> str:
        """Digest of the backbone, which may change under its name."""
        return Backbone.digest_of(self.arguments.backbone)

    @property
    def seeds(self) -> range:
        """Of the detectors."""
        return range(self.arguments.seeds)

    def to_do(self) -> tuple[int, int]:
        """How many pairs and controls, and how many detectors, are left."""
        pairs = sum(wanted.missing() for wanted in self.wanted)
        return pairs, sum(not chore.done() for chore in self.judging())

    def work(self, backbone: Backbone) -> None:
        """Do all that takes long and is not done yet; beside other processes, what none of these has begun."""
        work([*self.making(backbone), *self.judging(), *self.describing()], self._begun)

    @property
    def _begun(self) -> Path:
        """Folder in which processes see what others are at."""
        return Path(self.arguments.out, f"begun-{self.name}")

    @property
    def wanted(self) -> list[Wanted]:
        """All pairs, and controls of ours."""
        arguments, found = self.arguments, []
        for kit in self.kits:
            for name in arguments.methods:
                stage = self.pairs_stage(name, kit)
                found.append(Wanted(kit, stage, METHODS[name], arguments.count, kit.places))
            if OURS in arguments.methods:
                places = partial(kit.places, split=arguments.on)
                found.append(Wanted(kit, self.controls_stage(kit), CONTROLS, arguments.controls, places))
        return found

    def making(self, backbone: Backbone) -> list[Chore]:
        """All pairs, and controls of ours on images that are asked about."""
        return [Chore(one.chore, one.is_made, partial(self._make, backbone, one)) for one in self.wanted]

    def judging(self) -> list[Chore]:
        """Detectors, and what they say of images asked about."""
        found = []
        for seed in self.seeds:
            for arm in self.arms:
                done = partial(are_kept, self.outcomes_stage(arm, seed), OUTCOMES)
                ready = partial(self._can_learn, arm)
                found.append(Chore(f"judge {arm} {seed}", done, partial(self._outcomes, arm, seed), ready))
        return found

    def describing(self) -> list[Chore]:
        """Looks at pairs by fixed features, and at the loss around detectors."""
        found = []
        for kit in self.kits:
            for name in self.arguments.methods:
                done = partial(are_kept, self._seen_stage(name, kit), _SEEN)
                ready = partial(self._is_made, name, kit)
                found.append(Chore(f"describe {kit.type} {name}", done, partial(self._seen, name, kit), ready))
        for seed in self.seeds:
            for arm in self.arms:
                done = partial(are_kept, self._flatness_stage(arm, seed), _FLATNESS)
                ready = partial(are_kept, self.outcomes_stage(arm, seed), OUTCOMES)
                found.append(Chore(f"flatness {arm} {seed}", done, partial(self._flatness, arm, seed), ready))
        return found

    def _can_learn(self, arm: Arm) -> bool:
        return arm.method is None or all(self._is_made(arm.method, kit) for kit in self.kits)

    def _is_made(self, method: str, kit: Kit) -> bool:
        return not missing_pairs(self.pairs_stage(method, kit), self.arguments.count)

    def _make(self, backbone: Backbone, wanted: Wanted) -> None:
        stage, missing = wanted.stage, missing_pairs(wanted.stage, wanted.count)
        with tqdm(total=len(missing), desc=stage.name) as bar:

            def on_unit(done: int, of: int) -> None:
                bar.set_postfix_str(f"taught {done} of {of}")

            found = wanted.places(wanted.count)
            studio = Studio(backbone, self.arguments.out, on_unit)
            ready = wanted.method(studio, wanted.kit)
            if ready.teaching is not None:
                keep_cost(stage, _TEACHING, ready.teaching)
            for first in range(0, len(missing), AT_ONCE):
                numbers = missing[first : first + AT_ONCE]
                pairs, cost = metered(partial(ready.draw, [(number, found[number]) for number in numbers]))
                for number, pair in zip(numbers, pairs, strict=True):
                    keep_cost(stage, numbered(number), replace(cost, seconds=cost.seconds / len(numbers)))
                    if ready.decoded_error is not None and number < _BACKGROUNDS:  # after it: it fills caches
                        error = ready.decoded_error(number, found[number])
                        keep_note(stage, f"{numbered(number)}.{_DECODED}", {"error": error})
                    keep_pair(stage, number, pair)
                bar.update(len(numbers))

    def judge(self) -> dict[str, list[Outcomes]]:
        """By arm, the outcomes of its detectors."""
        found: dict[str, list[Outcomes]] = {}
        for arm in self.arms:
            found[arm.name] = [self._outcomes(arm, seed) for seed in self.seeds]
        return found

    def trace(self) -> dict[str, dict[str, Any]]:
        """False alarms on controls of ours, and on the images that they were drawn on, by arm."""
        arguments = self.arguments
        if OURS not in arguments.methods:
            return {}
        held: list[tuple[Pair, Pixels]] = []
        parts: list[str] = []
        for kit in self.kits:
            controls = kept_pairs(self.controls_stage(kit), kit.type, arguments.controls)
            places = kit.places(arguments.controls, arguments.on)
            held += [(control, place.image) for control, place in zip(controls, places, strict=True)]
            photos = self.source.samples(GOOD, arguments.on)
            parts += [part_of(photos[place.photo]) for place in places]
        rows = {}
        for arm in (arm for arm in self.arms if arm.method == OURS):
            heard = np.array(
                [[alarms(detector, *both) for both in held] for detector in self._detectors(arm)], np.float64
            )
            asked = [self._outcomes(arm, seed) for seed in self.seeds]
            found = trace(asked, heard[..., 0], heard[..., 1], parts)
            rows[arm.name] = {
                "controls": found.controls,
                "originals": found.originals,
                "difference": found.interval,
                "parts": found.groups,
            }
        return rows

    def _detectors(self, arm: Arm) -> Iterator[Segmenter]:
        return (self._detector(arm, seed) for seed in self.seeds)

    def costs(self) -> dict[str, dict[str, Any]]:
        """By method, what its items and its teachings cost."""
        items: dict[str, list[Cost]] = {}
        teachings: dict[str, list[Cost]] = {}
        for method in self.arguments.methods:
            stages = [self.pairs_stage(method, kit) for kit in self.kits]
            found = [kept_cost(stage, numbered(n)) for stage in stages for n in range(self.arguments.count)]
            items[method] = [one for one in found if one is not None]
            teachings[method] = [one for stage in stages if (one := kept_cost(stage, _TEACHING)) is not None]
        return costs(items, teachings, OURS)

    def backgrounds(self) -> dict[str, dict[str, Any]]:
        """By method, how far items are from the normal image outside the request, as decoded and as delivered."""
        count, methods = self.arguments.count, self.arguments.methods
        decoded: dict[str, list[float]] = {method: [] for method in methods}
        delivered: dict[str, list[float]] = {method: [] for method in methods}
        for kit in self.kits:
            places = kit.places(count) if methods else []
            for method in methods:
                stage = self.pairs_stage(method, kit)
                pairs = zip(kept_pairs(stage, kit.type, count), places, strict=True)
                delivered[method] += [delivered_error(pair, place) for pair, place in pairs]
                notes = [kept_note(stage, f"{numbered(n)}.{_DECODED}") for n in range(min(count, _BACKGROUNDS))]
                decoded[method] += [note["error"] for note in notes if note is not None]
        return backgrounds(decoded, delivered)

    def likeness(self) -> dict[str, dict[str, dict[str, Any]]]:
        """By type and method, how like real pairs of the images asked about its pairs are, and how various."""
        arguments = self.arguments
        if not arguments.methods:
            return {}
        scale = spread(sample for kit in self.kits for sample in kit.samples)
        rows = {}
        for kit in self.kits:
            real = Reality.of(self.source.samples(kit.type, arguments.on), scale)
            methods = {method: self._seen(method, kit) for method in arguments.methods}
            rows[kit.type] = likeness(real, methods, arguments.count)
        return rows

    def _seen_stage(self, method: str, kit: Kit) -> Stage:
        pairs = self.pairs_stage(method, kit)
        shaped = {**pairs.shaped_by, "count": self.arguments.count}
        return Stage(pairs.root, f"seen-{pairs.name}", shaped, DESCRIBING)

    def _seen(self, method: str, kit: Kit) -> Seen:
        stage = self._seen_stage(method, kit)
        known = kept_arrays(stage, _SEEN)
        if known is None:
            pairs = kept_pairs(self.pairs_stage(method, kit), kit.type, self.arguments.count)
            known = vars(Seen.of(pairs))
            keep_arrays(stage, _SEEN, known)
        return Seen(**known)

    def flatness(self) -> dict[str, Any]:
        """By arm, how much the loss on images asked about rises around its detectors."""
        known = {arm.name: [self._flatness(arm, seed) for seed in self.seeds] for arm in self.arms}
        found, losses = (
            {arm: np.array([one[key] for one in several]) for arm, several in known.items()}
            for key in ("rises", "loss")
        )
        return flatness(found, losses, ours_for)

    def _flatness_stage(self, arm: Arm, seed: int) -> Stage:
        shaped = self._shaped(arm, seed) | {"on": self.arguments.on}
        return Stage(self.arguments.out, f"flat-{self._word(arm, seed)}", shaped, FLATTENING)

    def _flatness(self, arm: Arm, seed: int) -> dict[str, Any]:
        stage = self._flatness_stage(arm, seed)
        known = kept_arrays(stage, _FLATNESS)
        if known is None:
            detector = self._detector(arm, seed)
            loss = partial(self._windows.loss, detector)
            known = {"rises": rises(detector, loss, seed=seed), "loss": np.array(loss())}
            keep_arrays(stage, _FLATNESS, known)
        return known

    @cached_property
    def _windows(self) -> Windows:
        """Of a few images that are asked about, spread over them."""
        on = self.arguments.on
        found = [(one, 0) for one in shared.spread(self.source.samples(GOOD, on), _NORMAL_WINDOWS)]
        for number, kit in enumerate(self.kits, start=1):
            found += [(one, number) for one in shared.spread(self.source.samples(kit.type, on), _WINDOWS)]
        return Windows.of(found, self.arguments.device)

    def _detector(self, arm: Arm, seed: int) -> Segmenter:
        return detector(
            self.detector_stage(arm, seed),
            Schooling(steps=self.arguments.steps, seed=seed),
            [kit.type for kit in self.kits],
            lambda: Lessons(
                made=list(self._made(arm.method)) if arm.method else [],
                real=[pair for split in arm.real for pair in self._of_types(split)],
                normal=real_pairs(self.source.samples(GOOD, "teach"), ""),
            ),
            self.arguments.device,
        )

    def _outcomes(self, arm: Arm, seed: int) -> Outcomes:
        stage = self.outcomes_stage(arm, seed)
        known = kept_outcomes(stage)
        if known is not None:
            return known
        detector = self._detector(arm, seed)
        outcomes = Outcomes.of([scored(detector, sample, type_) for sample, type_ in self._tests()])
        keep_outcomes(stage, outcomes)
        return outcomes

    def _made(self, method: str) -> Iterator[Pair]:
        for kit in self.kits:
            found = kept_pairs(self.pairs_stage(method, kit), kit.type, self.arguments.count)
            yield from (pair for pair in found if pair.mask.any())

    def _of_types(self, split: str) -> Iterator[Pair]:
        for kit in self.kits:
            yield from real_pairs(self.source.samples(kit.type, split), kit.type)

    def _tests(self) -> list[tuple[Sample, str | None]]:
        on = self.arguments.on
        found: list[tuple[Sample, str | None]] = [(one, None) for one in self.source.samples(GOOD, on)]
        return found + [(one, kit.type) for kit in self.kits for one in self.source.samples(kit.type, on)]
