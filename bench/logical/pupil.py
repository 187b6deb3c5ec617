"""Teaches a type of logical anomaly as a service does, but without a search: settings are the same for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from bench.logical.variants import Variant
from models.adapters import LOGICAL, Adapter
from models.backbone import Backbone
from models.samples import Sample
from models.teaching import trials
from models.teaching.lesson import Lesson
from models.teaching.teaching import Teaching

OnStep = Callable[[dict[str, float]], None]


@dataclass(frozen=True)
class Settings:
    """With which all items are drawn."""

    severity: float = 1.0
    guidance: float = 1.0
    seed_share: float = 1.0
    steps: int = 20


def lesson_of(name: str, part: str, steps: int | None, seed: int, variant: Variant) -> Lesson:
    """What shapes the learning of a type by a variant; as many steps as usual if None."""
    lesson = Lesson.of(LOGICAL, name, part, seed=seed)
    return replace(
        lesson,
        steps=steps or lesson.steps,
        lam=lesson.lam if variant.background else 0.0,
        prior=lesson.prior if variant.background else 0.0,
    )


def taught(
    backbone: Backbone,
    lesson: Lesson,
    samples: Sequence[Sample],
    normals: Sequence[Sample],
    beginnings: Mapping[str, Tensor],
    variant: Variant,
    settings: Settings,
    on_step: OnStep | None = None,
) -> Adapter:
    """A type that was learned from pairs of one line.

    Args:
        samples: images with the wrong region as mask.
        normals: images that keep the rule; their masks are empty.
        beginnings: tokens of other types, among which the first ones are chosen.
        on_step: called after each step with the losses.
    """
    teaching = Teaching(backbone, lesson, samples, normals, beginnings, variant.taught)
    while (phase := teaching.progress.phase) in ("preparing", "learning"):
        progress = teaching.advance(0)
        if phase == "learning" and on_step is not None:
            on_step(progress.losses)
    chosen = trials.Settings(settings.severity, settings.guidance, settings.seed_share, 0.0)
    adapter = teaching.adapter(chosen)
    return replace(adapter, card=replace(adapter.card, steps=settings.steps, min_quality=0.0))
