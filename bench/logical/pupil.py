"""Teaches a type of logical anomaly: the learner of `models.teaching`, with what a rule asks for.

Where things are matters to a rule, and what tells the look of the wrong region may lie far from it. So windows are
never mirrored nor quartered, masks are not loosened over what they leave to be seen, and items begin on noise: a
real defect of another image would bring that image's product with it. Settings are the same for all that is
compared; nothing is searched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from bench.logical.variants import Variant
from models.adapters import Adapter, Card
from models.backbone import Backbone
from models.filling import normalised
from models.samples import Sample
from models.teaching.learner import Learner
from models.teaching.lesson import Lesson
from models.training.cuts import cut_image, cut_mask, planned
from models.training.loosening import on_latent_grid
from models.training.pool import LOOSENINGS, Pool
from models.training.scenes import TrainingScene
from models.windows import Window

OnStep = Callable[[dict[str, float]], None]


@dataclass(frozen=True)
class Settings:
    """With which all items are drawn."""

    severity: float = 1.0
    guidance: float = 1.5
    seed_share: float = 1.0  # what was there tells nothing of what must come
    steps: int = 20


def lesson_of(name: str, part: str, steps: int, seed: int, variant: Variant) -> Lesson:
    """What shapes the learning of a type by a variant."""
    return Lesson(name=name, part=part, steps=steps, seed=seed, lam=variant.lam, prior=variant.prior, close_up=0.0)


def taught(
    backbone: Backbone,
    lesson: Lesson,
    samples: Sequence[Sample],
    normals: Sequence[Sample],
    variant: Variant,
    settings: Settings,
    on_step: OnStep | None = None,
) -> Adapter:
    """A type that was learned from pairs of one line.

    Args:
        samples: images of at least the backbone's window a side, with the wrong region as mask.
        normals: images that keep the rule; their masks are empty.
        on_step: called after each step with the losses.
    """
    size = backbone.window_px
    pairs = [_window(sample, lesson, i, size, backbone.latent_size) for i, sample in enumerate(samples)]
    own = Pool.encode(pairs, backbone)
    tight = [torch.from_numpy(on_latent_grid(pair.mask, backbone.factor) > 0) for pair in pairs]
    own = replace(
        own,
        known=torch.zeros_like(own.known),
        requests=torch.stack(tight)[:, None].repeat(1, LOOSENINGS, 1, 1),
    )
    pools = [own]
    if normals:
        pools.append(Pool.encode((_whole(one, lesson, size) for one in normals), backbone))
    learner = Learner(backbone, lesson, Pool.joined(pools), None, {})
    learner.terms.ablation = variant.taught
    for step in range(lesson.steps):
        losses = learner.step(step)
        if on_step is not None:
            on_step(losses)
    weights, tokens = learner.weights()
    return Adapter(
        name=lesson.name,
        version=1,
        backbone=backbone.name,
        backbone_digest=backbone.digest,
        tokens=tokens.cpu(),
        weights={key: value.cpu() for key, value in weights.items()},
        card=Card(
            part=lesson.part,
            severity=settings.severity,
            guidance=settings.guidance,
            seed_share=settings.seed_share,
            steps=settings.steps,
            min_quality=0.0,
        ),
    )


def _window(sample: Sample, lesson: Lesson, number: int, size: int, latent_size: int) -> TrainingScene:
    """The window in which generation would draw a sample's region."""
    rng = np.random.default_rng([lesson.seed, number])
    window = planned(sample.mask, rng, size, latent_size)
    pixels, mask = cut_image(window, _bytes(sample), size), cut_mask(window, sample.mask, size)
    unit = np.asarray(pixels / np.float32(255), np.float32)
    guess = np.asarray(np.rint(normalised(unit, mask, rng).clip(0, 1) * 255), np.uint8)
    return TrainingScene(pixels, guess, None, mask, lesson.part, lesson.name)


def _whole(sample: Sample, lesson: Lesson, size: int) -> TrainingScene:
    """A square normal image as one window."""
    pixels = cut_image(Window(0, 0, len(sample.mask)), _bytes(sample), size)
    return TrainingScene(pixels, pixels, None, np.zeros((size, size), dtype=np.bool_), lesson.part, "")


def _bytes(sample: Sample) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.asarray(sample.image, np.uint8)
