"""Is a taught type worth training on? Detectors learn with its items and without, a hold-out judges."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, repeat
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.adapters import Adapter
from models.backbone import Backbone
from models.evaluation.contest import (
    Contest,
    ContestError,
    Control,
    Held,
    Judged,
    Material,
    Vetted,
    Vetting,
    vetting,
)
from models.evaluation.requests import loose_places
from models.evaluation.schooling import Schooling
from models.evaluation.segmenter import Pair, for_detectors, real_pairs
from models.generation import Generator
from models.items import ItemRequest
from models.levels import Levels, Pixels, colour
from models.masks import Mask, around
from models.placement.distribution import MaskDistribution
from models.references import References
from models.samples import Exemplar, Sample
from models.teaching.trials import Place, arranged_places

Phase = Literal["preparing", "drawing", "training", "asking", "done"]
OnStep = Callable[[int, int], None]
"""Called with how many units are done, and of how many."""

_FORMAT_VERSION = 6


class TrialError(ValueError):
    """No trial can be made of this; the message says why, and what would help."""


@dataclass(frozen=True, eq=False)
class Learned:
    """A taught type, and what it was taught from."""

    adapter: Adapter
    exemplars: Sequence[Exemplar]
    references: References | None
    samples: Sequence[Sample]


@dataclass(frozen=True)
class Plan:
    """How large a trial is.

    Attributes:
        count: synthetic pairs.
        controls: at most, on good photos of the hold-out.
        detectors: of each kind.
        steps: of each detector's training.
        metric: a key of `metrics.IMAGE_METRICS` or of `metrics.PIXEL_METRICS`.
    """

    count: int = 100
    controls: int = 40
    detectors: int = 3
    steps: int = 300
    seed: int = 0
    metric: str = "image AUROC"


@dataclass(frozen=True)
class Progress:
    """How far a trial is; ``step`` of ``steps`` units, all phases together."""

    phase: Phase
    step: int
    steps: int


class Change(NamedTuple):
    """What was drawn, within the box around a request; beyond it an item is the photo it was drawn on.

    Attributes:
        accepted: whether a data set would take the item.
    """

    pixels: Pixels
    label: Mask
    accepted: bool


@dataclass(frozen=True, eq=False)
class _Drawn:
    place: Place
    is_control: bool
    change: Change

    def pair(self, type_: str, levels: Levels) -> Pair:
        """The place with what was drawn, of the whole photo's levels, and its label."""
        box = around(self.place.mask, 0)
        image, mask = self.place.image.copy(), np.zeros_like(self.place.mask)
        image[box], mask[box] = self.change.pixels, self.change.label
        return Pair(for_detectors(image, levels), mask, type_)


class Trial:
    """A trial at work.

    Args:
        learned: the type.
        normals: good photos that the type was taught beside: items are drawn on them, detectors learn from them.
        hold_out: photos of neither.

    Raises:
        TrialError: nothing can be drawn, learned or asked; says why.
    """

    def __init__(
        self,
        backbone: Backbone,
        learned: Learned,
        normals: Sequence[Sample],
        hold_out: Sequence[Held],
        plan: Plan,
    ) -> None:
        learned.adapter.check(backbone)
        self.plan = plan
        self._learned, self._normals, self._hold_out = learned, normals, hold_out
        self._generator = Generator(backbone)
        self._good = [one.sample for one in hold_out if one.type is None]
        if not normals:
            raise TrialError(
                "the type was taught without good photos, from which detectors learn what no defect is; teach it "
                "again with normal images"
            )
        if len(self._good) in (0, len(hold_out)):
            raise TrialError("the hold-out needs both defective photos and good ones; send some of either kind")
        self._places = chain(
            zip(repeat(False), self._found_on(normals, plan.count, plan.seed)),
            zip(repeat(True), self._found_on(self._good, plan.controls, plan.seed + 1)),
        )
        self._drawn: list[_Drawn] = []
        self._redraw: list[Change] = []
        self._all_drawn = False
        self._vetting: tuple[Material, Vetting] | None = None
        self._contest: Contest | None = None
        self._contest_state: Mapping[str, Any] | None = None

    @property
    def progress(self) -> Progress:
        """How far it is."""
        plan, drawn = self.plan, len(self._drawn)
        if self._contest is not None:
            return Progress(self._contest.phase, drawn + self._contest.step, drawn + self._contest.steps)
        learning = plan.detectors * (2 * (plan.steps + len(self._hold_out)) + plan.controls)
        phase: Phase = "preparing" if self._redraw or self._all_drawn or not drawn else "drawing"
        return Progress(phase, drawn, max(drawn, plan.count + plan.controls) + learning)

    def advance(self, seconds: float, on_step: OnStep | None = None) -> Progress:
        """Work for about that long, by at least one unit.

        Args:
            on_step: called ahead of each unit, with how many are done and of how many; it may raise to stop.

        Raises:
            TrialError: what was drawn cannot be learned from.
        """
        end = time.monotonic() + seconds
        while (progress := self.progress).phase != "done":
            if on_step is not None:
                on_step(progress.step, progress.steps)
            self._unit()
            if time.monotonic() >= end:
                break
        return self.progress

    def checkpoint(self) -> bytes:
        """All that `restore` needs; of drawn photos no more than what was drawn."""
        state = {
            "format_version": _FORMAT_VERSION,
            "plan": asdict(self.plan),
            "drawn": [_packed(change) for change in (*(one.change for one in self._drawn), *self._redraw)],
            "all_drawn": self._all_drawn,
            "contest": self._contest.state() if self._contest else self._contest_state,
        }
        written = io.BytesIO()
        torch.save(state, written)
        return written.getvalue()

    def restore(self, checkpoint: bytes) -> None:
        """Go on from where a trial by the same plan was, with the same photos; to be called before any work.

        Raises:
            TrialError: it is of another plan, or no checkpoint.
        """
        try:
            state = torch.load(io.BytesIO(checkpoint), map_location="cpu", weights_only=True)
            version, plan = state["format_version"], state["plan"]
        except Exception as error:
            raise TrialError(f"this is no checkpoint of an evaluation: {error}") from error
        if version != _FORMAT_VERSION or plan != asdict(self.plan):
            raise TrialError("this checkpoint is of another evaluation, or of another Flawsmith")
        self._redraw = [_unpacked(packed) for packed in state["drawn"]]
        self._all_drawn, self._contest_state = state["all_drawn"], state["contest"]

    def result(self) -> Judged:
        """The verdict, once the phase is "done".

        Raises:
            ContestError: it is not.
        """
        if self._contest is None:
            raise ContestError("the evaluation is not over yet")
        found = self._contest.judged()
        items = [one for one in self._drawn if not one.is_control]
        rejected = sum(not one.change.accepted for one in items)
        if not rejected:
            return found
        note = f"{rejected} of {len(items)} items were not accepted; as in data sets, they were left out"
        notes = (note, *found.comparison.notes)
        return replace(found, comparison=replace(found.comparison, notes=notes))

    def _unit(self) -> None:
        if self._contest is not None:
            self._contest.advance()
            return
        if self._vetting is not None:
            self._vet(*self._vetting)
            return
        found = next(self._places, None)
        if found is None:
            self._all_drawn, material = True, self._material()
            self._vetting = material, vetting(material)
            return
        is_control, place = found
        change = self._redraw.pop(0) if self._redraw else self._change(is_control, place, len(self._drawn))
        self._drawn.append(_Drawn(place, is_control, change))

    def _found_on(self, photos: Sequence[Sample], count: int, seed: int) -> Iterator[Place]:
        samples = self._learned.samples
        if self._learned.adapter.card.logical:
            return arranged_places(photos, samples, count)
        return loose_places(photos, MaskDistribution.learned(samples), count, seed)

    def _change(self, is_control: bool, place: Place, number: int) -> Change:
        """What is drawn at a place, and its label; of a control, where it is drawn anew."""
        learned = self._learned
        request = replace(
            ItemRequest.by_default(
                place.image,
                place.mask,
                learned.adapter,
                self.plan.seed,
                is_control,
                learned.exemplars,
                learned.references,
            ),
            index=number,
            min_quality=0.0 if is_control else learned.adapter.card.min_quality,
        )
        (result,) = self._generator.generate([request])
        rows, columns = around(place.mask, 0)
        return Change(result.image[rows, columns], result.refined_mask[rows, columns], result.accepted)

    def _vet(self, material: Material, looking: Vetting) -> None:
        """Look at one photo; after the last one detectors of both kinds are matched."""
        try:
            next(looking)
        except StopIteration as done:
            self._vetting = None
            self._contest = self._matched(material, done.value)

    def _material(self) -> Material:
        """All that was drawn, beside real photos."""
        name = self._learned.adapter.name
        items = [one for one in self._drawn if not one.is_control]
        accepted = [one for one in items if one.change.accepted]
        if items and not accepted:
            raise TrialError(
                f"none of {len(items)} items was accepted, so that data sets would hold none: they show nothing, "
                f"or less than the type's quality of {self._learned.adapter.card.min_quality:g}; teach it from "
                "more samples, or clearer ones"
            )
        normals, good = (
            [Levels.of(colour(one.image)) for one in photos] for photos in (self._normals, self._good)
        )
        return Material(
            real=real_pairs(self._learned.samples, name),
            normals=real_pairs(self._normals, ""),
            synthetic=[one.pair(name, normals[one.place.photo]) for one in accepted],
            hold_out=self._hold_out,
            controls=[self._control(one, name, good[one.place.photo]) for one in self._drawn if one.is_control],
            on_normals=True,
        )

    def _matched(self, material: Material, vetted: Vetted) -> Contest:
        plan = self.plan
        schooling = Schooling(steps=plan.steps, seed=plan.seed)
        try:
            contest = Contest(material, schooling, plan.detectors, plan.metric, vetted)
            if self._contest_state is not None:
                contest.restore(self._contest_state)
        except ContestError as error:
            raise TrialError(str(error)) from error
        return contest

    def _control(self, one: _Drawn, type_: str, levels: Levels) -> Control:
        original = for_detectors(one.place.image, levels)
        return Control(one.pair(type_, levels), original, self._good[one.place.photo])


def _packed(change: Change) -> tuple[Tensor, Tensor, bool]:
    return torch.from_numpy(change.pixels.copy()), torch.from_numpy(change.label.copy()), change.accepted


def _unpacked(packed: tuple[Tensor, Tensor, bool]) -> Change:
    pixels, label, accepted = packed
    return Change(np.asarray(pixels.numpy()), np.asarray(label.numpy()), accepted)
