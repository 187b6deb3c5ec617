"""Ways to come by synthetic pairs, each from the same real pairs, normal images and places."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.quality.backgrounds import decoded_error
from bench.quality.costs import Cost, metered
from bench.quality.kit import Kit
from bench.quality.perlin import perlin
from bench.quality.stages import MAKING, Stage, keep_cost, kept_cost
from bench.rendered import adapters_of
from bench.taught import ON_NOISE
from models.adapters import Adapter
from models.backbone import Backbone
from models.evaluation.segmenter import Pair
from models.generation import Generator
from models.items import ItemRequest
from models.paste import paste
from models.references import References
from models.refinement import Calibration
from models.teaching.lesson import Lesson
from models.teaching.teaching import Teaching
from models.teaching.trials import Place
from models.training.recipe import Ablation

AT_ONCE = 4
"""Items that are drawn together: on a CPU with the bits that each has alone, in three quarters of the time."""

OnUnit = Callable[[int, int], None]
"""Called with how many units of a teaching are done, and of how many."""


@dataclass(frozen=True, eq=False)
class Studio:
    """Where pairs are made.

    Attributes:
        root: where stages are kept.
        on_unit: hears of teachings.
    """

    backbone: Backbone
    root: Path
    on_unit: OnUnit


Numbered = tuple[int, Place]
"""A place, and the number that seeds what is drawn there."""


@dataclass(frozen=True)
class Ready:
    """A method that can make pairs of a type.

    Attributes:
        draw: makes the pairs of places; a pair's neighbours change nothing in it.
        decoded_error: of a numbered place, how far what a model decodes there is from the normal image outside the
            request (`backgrounds.decoded_error`), in the first attempt; of methods that decode something.
        teaching: what it cost to learn the type, of methods that learn.
    """

    draw: Callable[[Sequence[Numbered]], list[Pair]]
    decoded_error: Callable[[int, Place], float] | None = None
    teaching: Cost | None = None


Method = Callable[[Studio, Kit], Ready]
"""Gets ready to make pairs of a type."""


def textured(_: Studio, kit: Kit) -> Ready:
    """Textures within Perlin noise."""

    def draw(places: Sequence[Numbered]) -> list[Pair]:
        made = [perlin(place.image, np.random.default_rng([kit.seed, 6, number])) for number, place in places]
        return [Pair(image, mask, kit.type) for image, mask in made]

    return Ready(draw)


def pasted(studio: Studio, kit: Kit) -> Ready:
    """Poisson copy-paste, which every type has."""
    adapter = adapters_of(studio.backbone.name)[0]  # of which a paste asks nothing
    calibration = Calibration.of(studio.backbone.calibration)
    exemplars = kit.exemplars

    def draw(places: Sequence[Numbered]) -> list[Pair]:
        requests = [ItemRequest.by_default(place.image, place.mask, adapter, number) for number, place in places]
        made = [paste(request, exemplars, calibration) for request in requests]
        return [Pair(result.image, result.refined_mask, kit.type) for result in made]

    return Ready(draw)


@dataclass(frozen=True)
class Taught:
    """A type is taught and drawn: our method, or without a part of it.

    Attributes:
        lesson: what of a lesson is otherwise than usual.
        ablation: what teaching and drawing go without.
        searched: whether it is drawn as the search found best; else on noise.
        refined: whether the label is what changed; else what was asked for.
        rejecting: whether a poor item is drawn again.
        grain: whether the photo's grain is drawn back into what changed; else it is as the VAE decoded it.
        control: whether controls are drawn in place of items.
    """

    lesson: Mapping[str, Any] = field(default_factory=dict)
    ablation: Ablation = field(default_factory=Ablation)
    searched: bool = True
    refined: bool = True
    rejecting: bool = True
    grain: bool = True
    control: bool = False

    def __call__(self, studio: Studio, kit: Kit) -> Ready:
        """Teach the type, unless it was taught before."""
        adapter, teaching = self._taught(studio, kit)
        references = References.of(kit.exemplars, adapter.references)
        if not self.searched:
            adapter = ON_NOISE.of(adapter)
        generator = Generator(studio.backbone, AT_ONCE, ablation=self.ablation, grain=self.grain)

        def request(number: int, place: Place) -> ItemRequest:
            asked = ItemRequest.by_default(
                place.image, place.mask, adapter, number, exemplars=kit.exemplars, references=references
            )
            if self.control:
                return replace(asked, control=True)
            return replace(asked, min_quality=adapter.card.min_quality) if self.rejecting else asked

        def draw(places: Sequence[Numbered]) -> list[Pair]:
            made = generator.generate([request(number, place) for number, place in places])
            return [
                Pair(result.image, result.refined_mask if self.refined else place.mask, kit.type)
                for result, (_, place) in zip(made, places, strict=True)
            ]

        def error(number: int, place: Place) -> float:
            asked = request(number, place)
            (parts,) = generator.decoded([asked])
            return decoded_error(asked, parts)

        return Ready(draw, None if self.control else error, teaching)

    def _taught(self, studio: Studio, kit: Kit) -> tuple[Adapter, Cost | None]:
        # What is drawn otherwise is taught the same, and not twice.
        shaped = {**kit.shaped_by, "backbone": studio.backbone.digest}
        shaped |= {"lesson": dict(self.lesson), "ablation": vars(self.ablation)}
        stage = Stage(studio.root, f"type-{kit.set}-{kit.type}", shaped, MAKING)
        file = stage.folder / "adapter.safetensors"
        if not file.exists():
            adapter, cost = metered(lambda: self._teach(studio, kit))
            keep_cost(stage, "teaching", cost)
            adapter.save(file)
        return Adapter.load(file), kept_cost(stage, "teaching")

    def _teach(self, studio: Studio, kit: Kit) -> Adapter:
        lesson = replace(Lesson(kit.type, kit.part, seed=kit.seed), **self.lesson)
        beginnings = {adapter.name: adapter.tokens for adapter in adapters_of(studio.backbone.name)}
        teaching = Teaching(studio.backbone, lesson, kit.samples, kit.few_normals, beginnings, self.ablation)
        while (progress := teaching.advance(5)).phase != "done":
            studio.on_unit(progress.step, progress.steps)
        return teaching.result().adapter


_OPEN = Ablation(masked_self=False, masked_cross=False)
_FIRST_TERM = {"lam": 0.0, "prior": 0.0, "places": 1, "items": 1}

OURS, PASTE = "ours", "paste"
CONTROLS = Taught(control=True)
METHODS: dict[str, Method] = {
    OURS: Taught(),
    PASTE: pasted,
    "Perlin": textured,
    "textual inversion": Taught({"rate": 0.0, **_FIRST_TERM}, searched=False),
    "inpainting": Taught(_FIRST_TERM, _OPEN, searched=False),
    "no disentanglement": Taught({"disentangled": False}),
    "no masked attention": Taught(ablation=_OPEN),
    "noise start": Taught(searched=False),
    "no refinement": Taught(refined=False),
    "no rejection": Taught(rejecting=False),
    "no grain": Taught(grain=False),
}
"""
textual inversion: tokens alone are learned, by the first term, and drawn from noise, with the background put back
    at each step: as AnomalyDiffusion does (Hu et al., arXiv 2312.05767), on the same backbone.
inpainting: low-rank weights and tokens by the first term, with no attention masked: as DefectFill does (Song et
    al., arXiv 2503.13985), on the same backbone.
What follows is ours without a part.
"""
