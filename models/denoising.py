"""The U-Net's part of drawing: windows are inverted, and all drawings of a batch denoised side by side.

A row of a U-Net call is a window under a prompt. What is done to latents between two calls is done to those of all
drawings at once: so short a piece of work costs a GPU's CPU as much for one as for eight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from models.adapters import Adapter
from models.backbone import Backbone
from models.batching import Batcher
from models.ddim import Grid, guided, moved
from models.drawing import Drawing
from models.inversion import Trajectory, deepen
from models.region import Region
from models.stages import stage
from models.training.recipe import Ablation


@dataclass(frozen=True)
class _Slot:
    """One window of a drawing under one prompt (C1 or C2): a row of a U-Net batch."""

    drawing: int
    window: int
    defect: bool


class Denoiser:
    """Inverts and denoises drawings, as far as latents.

    Args:
        unet: puts rows together.
        inverted: rows of a padded call that inverts.
        ablation: which attention is not masked.
        wearing: lets the U-Net wear a type's weights while its drawings are denoised.
    """

    def __init__(
        self,
        backbone: Backbone,
        unet: Batcher,
        inverted: int,
        ablation: Ablation,
        wearing: Callable[[Adapter], AbstractContextManager[None]],
    ) -> None:
        self._backbone = backbone
        self._unet = unet
        self._inverted = inverted
        self._ablation = ablation
        self._wearing = wearing

    def draw(self, drawings: list[Drawing]) -> None:
        """Invert, start and denoise all drawings together."""
        due = _due([drawing for drawing in drawings if drawing.outside == "inversion"])
        self._unet.progress.expect(sum((depth - group[0].depth) * len(group) for depth, _, group in due))
        self._unet.progress.expect(sum(d.depth * len(d.canvas.corners) * len(d.passes) for d in drawings))
        with stage("invert"):
            for depth, grid, group in due:
                deepen(group, depth, grid, self._background_noise)
        with stage("denoise"):
            for drawing in drawings:
                drawing.begin()
            for adapter, ours in _by_weights(drawings):
                with self._wearing(adapter):
                    _Company(self._backbone, self._unet, self._ablation, ours).denoise()
            for drawing in drawings:
                drawing.strengthen()

    def _background_noise(self, latents: list[Tensor], t: Tensor, prompts: list[Tensor]) -> list[Tensor]:
        rows = [(z, t, prompt) for z, prompt in zip(latents, prompts, strict=True)]
        return self._unet(self._backbone.predict_noise, rows, self._inverted)


class _Company:
    """Drawings whose U-Net wears the same weights."""

    def __init__(self, backbone: Backbone, unet: Batcher, ablation: Ablation, drawings: list[Drawing]) -> None:
        self._backbone = backbone
        self._unet = unet
        self._ablation = ablation
        self._drawings = drawings
        self._prompts: dict[tuple[_Slot, ...], tuple[Tensor, Region]] = {}

    def denoise(self) -> None:
        """All steps, from the deepest start on."""
        slots = [
            _Slot(i, window, defect)
            for i, drawing in enumerate(self._drawings)
            for window in range(len(drawing.canvas.corners))
            for defect in drawing.passes
        ]
        for level in range(max((drawing.depth for drawing in self._drawings), default=0), 0, -1):
            active = [slot for slot in slots if self._drawings[slot.drawing].depth >= level]
            noises = dict(zip(active, self._masked_noise(active, level), strict=True))
            self._step(sorted({slot.drawing for slot in active}), noises, level)

    def _masked_noise(self, slots: list[_Slot], level: int) -> list[Tensor]:
        """ε_θ of each slot under masked attention."""

        def predict(z: Tensor, t: Tensor, number: Tensor) -> Tensor:
            tokens, region = self._prompted(tuple(slots[j] for j in number.tolist()))
            return self._backbone.predict_noise(z, t, tokens, region)

        rows = []
        for number, slot in enumerate(slots):
            drawing = self._drawings[slot.drawing]
            z = drawing.canvas.crops(drawing.z)[slot.window]
            rows.append((z, drawing.grid.timesteps[level], torch.tensor(number)))
        return self._unet(predict, rows)

    def _prompted(self, slots: tuple[_Slot, ...]) -> tuple[Tensor, Region]:
        """Tokens (B, N, D) and region of the rows of a call: the same at every level."""
        if slots not in self._prompts:
            whose = [(self._drawings[slot.drawing], slot) for slot in slots]
            region = Region(
                torch.stack([drawing.canvas.crops(drawing.mask)[slot.window] for drawing, slot in whose]),
                self._backbone.background_tokens,
                torch.stack([drawing.tokens_valid & slot.defect for drawing, slot in whose]),
                masked_self=self._ablation.masked_self,
                masked_cross=self._ablation.masked_cross,
                background_keys=self._ablation.background_keys,
            )
            self._prompts[slots] = torch.stack([drawing.tokens for drawing, _ in whose]), region
        return self._prompts[slots]

    def _step(self, active: Sequence[int], noises: dict[_Slot, Tensor], level: int) -> None:
        """One DDIM step of the inside; the stored trajectory goes back outside (design §2, step 4)."""
        alike: dict[object, list[int]] = {}
        for i in active:
            drawing = self._drawings[i]
            guidance = drawing.request.guidance if len(drawing.passes) == 2 else None
            alike.setdefault((drawing.z.shape, drawing.grid.steps, drawing.passes, guidance), []).append(i)
        for group in alike.values():
            drawings = [self._drawings[i] for i in group]
            grid = drawings[0].grid
            noise = self._merged(group, noises)
            high, low = float(grid.alpha_bar[level]), float(grid.alpha_bar[level - 1])
            inside = moved(torch.stack([drawing.z for drawing in drawings]), noise, high, low)
            outside = torch.stack([drawing.plane[level - 1] for drawing in drawings])
            mask = torch.stack([drawing.mask for drawing in drawings])
            for drawing, z in zip(drawings, torch.where(mask > 0, inside, outside), strict=True):
                drawing.z = z

    def _merged(self, group: Sequence[int], noises: dict[_Slot, Tensor]) -> Tensor:
        """ε of drawings of one kind on their planes, (B, C, h, w): of all windows, guided if under two prompts."""

        def under(defect: bool) -> Tensor:
            return torch.stack([self._plane(i, defect, noises) for i in group])

        first = self._drawings[group[0]]
        if len(first.passes) == 2:
            return guided(under(False), under(True), first.request.guidance)
        return under(first.passes[0])

    def _plane(self, i: int, defect: bool, noises: dict[_Slot, Tensor]) -> Tensor:
        canvas = self._drawings[i].canvas
        return canvas.merged([noises[_Slot(i, window, defect)] for window in range(len(canvas.corners))])


def _by_weights(drawings: list[Drawing]) -> list[tuple[Adapter, list[Drawing]]]:
    """Drawings in groups that wear the same weights: those of one adapter, and all that wear none."""
    groups: dict[int, tuple[Adapter, list[Drawing]]] = {}
    for drawing in drawings:
        adapter = drawing.request.adapter
        groups.setdefault(id(adapter) if adapter.weights else 0, (adapter, []))[1].append(drawing)
    return list(groups.values())


def _due(drawings: list[Drawing]) -> list[tuple[int, Grid, list[Trajectory]]]:
    """Trajectories to deepen, in groups that share depth, target and grid."""
    targets: dict[int, tuple[int, Grid, Trajectory]] = {}
    for drawing in drawings:
        for trajectory in drawing.trajectories:
            known = targets.get(id(trajectory))
            if known is None or known[0] < drawing.depth:
                targets[id(trajectory)] = (drawing.depth, drawing.grid, trajectory)
    groups: dict[tuple[int, int, int], tuple[int, Grid, list[Trajectory]]] = {}
    for depth, grid, trajectory in targets.values():
        if trajectory.depth < depth:
            key = (grid.steps, trajectory.depth, depth)
            groups.setdefault(key, (depth, grid, []))[2].append(trajectory)
    return list(groups.values())
