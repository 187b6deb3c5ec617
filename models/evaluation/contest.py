"""A contest: detectors that learn from real pairs alone against detectors that learn from synthetic ones, too.

Both kinds have the same steps, seeds and normal images, and are asked about the same photos that neither has seen.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence, Sized
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from models.evaluation.asking import alarms, scored
from models.evaluation.comparison import Comparison, compared
from models.evaluation.copies import Shots, repeats
from models.evaluation.light import Light, apart, light
from models.evaluation.pixels import PixelOutcomes, counted
from models.evaluation.schooling import Schooling, Training
from models.evaluation.segmenter import Pair, for_detectors
from models.evaluation.trace import Trace, trace
from models.evaluation.verdict import FEWEST, Fault
from models.levels import Pixels
from models.samples import Sample
from models.stepping import at_once

Phase = Literal["training", "asking", "done"]

_KINDS = ("without", "with")
_MOST_COPIES = 0.5  # share of synthetic pairs that may repeat real ones


class ContestError(ValueError):
    """Detectors cannot be trained or asked with what there is; the message says why, and what would help."""


@dataclass(frozen=True, eq=False)
class Held:
    """A photo of the hold-out.

    Attributes:
        type: what defect it shows; None for a good one.
    """

    sample: Sample
    type: str | None


@dataclass(frozen=True, eq=False)
class Control:
    """A good photo of the hold-out, or a part of it, drawn anew without a defect.

    Attributes:
        pair: what came of it; its mask is where it was drawn.
        original: what it was drawn on, of the same size and levels.
        photo: of the hold-out, of which this is the whole or a part.
    """

    pair: Pair
    original: Pixels
    photo: Sample


@dataclass(frozen=True, eq=False)
class Material:
    """What detectors learn from and are asked about.

    Attributes:
        real: pairs with a defect.
        normals: good photos.
        synthetic: made pairs; those without a label are not learned from.
        hold_out: photos that none of these show.
        controls: of good ones of the hold-out.
        on_normals: whether the synthetic pairs were drawn on `normals`, so that their light need not be compared.
    """

    real: Sequence[Pair]
    normals: Sequence[Pair]
    synthetic: Sequence[Pair]
    hold_out: Sequence[Held]
    controls: Sequence[Control] = ()
    on_normals: bool = False


@dataclass(frozen=True)
class Vetted:
    """What is seen of material ahead of any detector.

    Attributes:
        held: the hold-out without photos that are learned from, where enough are left.
        faults: what makes figures untrustworthy.
        notes: what is to be kept in mind.
    """

    held: Sequence[Held]
    faults: Sequence[Fault]
    notes: Sequence[str]


Vetting = Generator[None, None, Vetted]


@dataclass(frozen=True)
class Judged:
    """What came of a contest.

    Attributes:
        without, with_them: outcomes of the detectors of either kind.
        trace: None where there were no controls.
    """

    comparison: Comparison
    without: tuple[PixelOutcomes, ...]
    with_them: tuple[PixelOutcomes, ...]
    trace: Trace | None


@dataclass
class _Said:
    """What a detector says, as far as it was asked.

    Attributes:
        held: scores of photos of the hold-out.
        pixels: what `pixels.counted` says of theirs.
        controls: scores of controls and of what they were drawn on.
    """

    held: list[float] = field(default_factory=list)
    pixels: list[NDArray[np.int32]] = field(default_factory=list)
    controls: list[tuple[float, float]] = field(default_factory=list)

    def state(self) -> dict[str, Any]:
        return {
            "held": self.held,
            "pixels": torch.from_numpy(np.stack(self.pixels)) if self.pixels else None,
            "controls": self.controls,
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> _Said:
        pixels = [] if state["pixels"] is None else list(state["pixels"].numpy())
        return cls(list(state["held"]), pixels, [(a, b) for a, b in state["controls"]])


class Contest:
    """Detectors of both kinds, trained and asked one after the other, a small unit at a time.

    Args:
        schooling: of each detector; its seed is that of the first.
        detectors: of each kind.
        metric: a key of `metrics.IMAGE_METRICS` or of `metrics.PIXEL_METRICS`, by which the verdict is given.
        vetted: what `vetting` found of the material; if it is not given all of it is looked at here.

    Raises:
        ContestError: there is nothing to learn from, or nothing to ask about.
    """

    def __init__(
        self,
        material: Material,
        schooling: Schooling,
        detectors: int = 3,
        metric: str = "image AUROC",
        vetted: Vetted | None = None,
    ) -> None:
        self.schooling, self.detectors, self.metric = schooling, detectors, metric
        self._real = [pair for pair in material.real if pair.mask.any()]
        self._synthetic = [pair for pair in material.synthetic if pair.mask.any()]
        self._normals = list(material.normals)
        _check(self._real, self._normals, self._synthetic, material.hold_out)
        vetted = vetted or at_once(vetting(material))
        self._held, self._faults, self._notes = vetted.held, vetted.faults, vetted.notes
        photos = {one.sample.sha256 for one in self._held}
        self._controls = [control for control in material.controls if control.photo.sha256 in photos]
        self._types = tuple(sorted({pair.type for pair in (*self._real, *self._synthetic)}))
        self._said: dict[str, list[_Said]] = {kind: [] for kind in _KINDS}
        self._training: Training | None = None

    @property
    def phase(self) -> Phase:
        """What the next unit is of."""
        if self._turn() is None:
            return "done"
        return "asking" if self._training is not None and self._training.done else "training"

    @property
    def steps(self) -> int:
        """Units of all together."""
        return self.detectors * (2 * (self.schooling.steps + len(self._held)) + len(self._controls))

    @property
    def step(self) -> int:
        """Units that are done."""
        asked = sum(len(one.held) + len(one.controls) for kind in _KINDS for one in self._said[kind])
        begun = sum(len(self._said[kind]) for kind in _KINDS)
        made = self._training.step if self._training else 0
        current = self._training is not None and self._training.done
        return asked + (begun - (1 if current else 0)) * self.schooling.steps + made

    def advance(self) -> None:
        """Do one unit: a step of a training, or ask about one photo."""
        turn = self._turn()
        if turn is None:
            return
        kind, number = turn
        training = self._training = self._training or self._begun(kind, number)
        if training.step < self.schooling.steps:
            training.advance()
            if training.done:
                self._said[kind].append(_Said())
            return
        said, segmenter = self._said[kind][number], training.segmenter
        if len(said.held) < len(self._held):
            held = self._held[len(said.held)]
            found = scored(segmenter, held.sample, held.type)
            said.held.append(found.image)
            said.pixels.append(counted(found.pixels, found.mask))
        else:
            control = self._controls[len(said.controls)]
            said.controls.append(alarms(segmenter, control.pair, control.original))
        if self._complete(kind, said):
            self._training = None

    def state(self) -> dict[str, Any]:
        """All that `restore` needs, of numbers, texts and tensors."""
        return {
            "shaped_by": self._shaped_by(),
            "said": {kind: [one.state() for one in self._said[kind]] for kind in _KINDS},
            "training": self._training.state() if self._training else None,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from where a contest with the same material was.

        Raises:
            ContestError: it was with another.
        """
        if state["shaped_by"] != self._shaped_by():
            raise ContestError("this state is of a contest with other material or settings")
        self._said = {kind: [_Said.restored(one) for one in state["said"][kind]] for kind in _KINDS}
        self._training = None
        if state["training"] is not None:
            turn = self._turn()
            assert turn is not None
            self._training = self._begun(*turn)
            self._training.restore(state["training"])

    def judged(self) -> Judged:
        """The verdict, once all is done.

        Raises:
            ContestError: it is not.
        """
        if self.phase != "done":
            raise ContestError("the contest is not over yet")
        without, with_them = ([self._outcomes(one) for one in self._said[kind]] for kind in _KINDS)
        found = None
        if self._controls:
            heard = np.array([one.controls for one in self._said["with"]], np.float64)
            groups = [part_of(control.photo) for control in self._controls]
            found = trace(with_them, heard[..., 0], heard[..., 1], groups)
        comparison = compared(without, with_them, self.metric, found, self._faults)
        comparison = replace(comparison, notes=(*self._notes, *comparison.notes))
        return Judged(comparison, tuple(without), tuple(with_them), found)

    def _turn(self) -> tuple[str, int] | None:
        """The kind and number of the detector that is trained or asked next."""
        for number in range(self.detectors):
            for kind in _KINDS:
                said = self._said[kind]
                if len(said) <= number or not self._complete(kind, said[number]):
                    return kind, number
        return None

    def _complete(self, kind: str, said: _Said) -> bool:
        controls = len(self._controls) if kind == "with" else 0
        return len(said.held) == len(self._held) and len(said.controls) == controls

    def _begun(self, kind: str, number: int) -> Training:
        schooling = replace(self.schooling, seed=self.schooling.seed + number)
        if kind == "without":
            return Training([*self._real, *self._normals], schooling, self._types)
        return Training([*self._synthetic, *self._normals], schooling, self._types, beside=self._real)

    def _outcomes(self, said: _Said) -> PixelOutcomes:
        hits, alarms = np.stack(said.pixels, axis=1).astype(np.float64)
        return PixelOutcomes(
            hits=hits,
            alarms=alarms,
            image=np.array(said.held, np.float64),
            types=tuple(one.type for one in self._held),
            areas=np.array([one.sample.mask.sum() for one in self._held], np.float64),
            groups=tuple(part_of(one.sample) for one in self._held),
        )

    def _shaped_by(self) -> list[Any]:
        lots: tuple[Sized, ...] = (self._real, self._normals, self._synthetic, self._controls, self._held)
        return [asdict(self.schooling), self.detectors, *map(len, lots)]


def part_of(sample: Sample) -> str:
    """Which part a photo shows; one of its own where nothing is known."""
    return sample.group or sample.sha256


def _check(real: Sequence[Pair], normals: Sequence[Pair], synthetic: Sequence[Pair], held: Sequence[Held]) -> None:
    for what, lot, remedy in (
        ("real pairs with a defect", real, "a detector without synthetic data has nothing to learn from"),
        (
            "good photos",
            normals,
            "detectors learn from them what is no defect; teach the type with normal images",
        ),
        ("synthetic pairs with a label", synthetic, "nothing was made that could be seen"),
        ("defective photos in the hold-out", [one for one in held if one.type], "send some that were not taught"),
        ("good photos in the hold-out", [one for one in held if not one.type], "send some that were not taught"),
    ):
        if not lot:
            raise ContestError(f"there are no {what}: {remedy}")


def vetting(material: Material) -> Vetting:
    """Look at material, one photo a step, and return what is found."""
    faults, notes = [], []
    shots = Shots()
    for pair in (*material.real, *material.normals):
        shots.add(pair.image)
        yield
    for pair in material.synthetic:
        shots.add(pair.image, drawn_on=True)
        yield
    leaked = []
    for one in material.hold_out:
        leaked.append(bool(shots.same(for_detectors(one.sample.image))))
        yield
    held = list(material.hold_out)
    if any(leaked):
        left = [one for one, is_copy in zip(held, leaked, strict=True) if not is_copy]
        said = f"{sum(leaked)} of {len(held)} photos of the hold-out show what detectors learned from"
        if min(_parts(left, True), _parts(left, False)) >= FEWEST:
            held = left
            notes.append(f"{said}; they are left out")
        else:
            faults.append(Fault("cannot tell", f"{said}, and too few would be left without them; send others"))
    copies = 0
    for pair in material.synthetic:
        same = (material.real[i] for i in shots.same(pair.image) if i < len(material.real))
        copies += any(repeats(pair, real) for real in same)
        yield
    if copies:
        said = f"{copies} of {len(material.synthetic)} synthetic pairs repeat real ones, which teaches nothing new"
        if copies > _MOST_COPIES * len(material.synthetic):
            faults.append(Fault("do not use", said))
        else:
            notes.append(said)
    if not material.on_normals and (word := apart(*(yield from _lights(material.synthetic, material.normals)))):
        faults.append(
            Fault(
                "do not use",
                f"synthetic photos are {word} than the good ones: a detector can tell them by that, with no look "
                "at defects; draw on photos of the same light",
            )
        )
    lots = ([one for one in held if (one.type is not None) == defective] for defective in (True, False))
    if word := apart(*(yield from _lights(*lots))):
        notes.append(
            f"defective photos of the hold-out are {word} than its good ones: a detector may tell them by that; "
            "take both on the same days and cameras"
        )
    return Vetted(held, faults, notes)


def _lights(*lots: Sequence[Pair | Held]) -> Generator[None, None, list[list[Light]]]:
    """The light of each photo, one a step."""
    found = []
    for lot in lots:
        seen = []
        for one in lot:
            seen.append(light(one if isinstance(one, Pair) else _pair(one)))
            yield
        found.append(seen)
    return found


def _parts(held: Sequence[Held], defective: bool) -> int:
    return len({part_of(one.sample) for one in held if (one.type is not None) == defective})


def _pair(one: Held) -> Pair:
    return Pair(for_detectors(one.sample.image), one.sample.mask, one.type or "")
