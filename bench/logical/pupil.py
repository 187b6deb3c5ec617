"""Teaches a type of logical anomaly as a service does, but without a search: settings are the same for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from bench.logical.variants import Variant
from models.adapters import LOGICAL, Adapter
from models.backbone import Backbone
from models.samples import Sample
from models.teaching.lesson import Lesson
from models.teaching.teaching import Teaching
from models.teaching.trials import Settings

OnStep = Callable[[dict[str, float]], None]


DRAWN_WITH = Settings(severity=1.0, guidance=1.0, seed_share=1.0, exemplars=0.0)


def lesson_of(name: str, part: str, seed: int, variant: Variant, given: Mapping[str, Any]) -> Lesson:
    """What shapes the learning of a type by a variant; as usual but for what is `given`."""
    lesson = replace(Lesson.of(LOGICAL, name, part, seed=seed), **given)
    return replace(
        lesson,
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
    adapter = teaching.adapter(settings)
    return replace(adapter, card=replace(adapter.card, min_quality=0.0))
