"""Generation: a batch of items in, synthetic images with their refined masks out (design §2).

One inversion a window serves every mask, type and seed; U-Net and VAE run at one fixed padded batch shape, so that
an item's pixels do not depend on its neighbours, its slot, a cache hit or a retry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.adapters import MAX_DEFECT_TOKENS, Adapter
from models.attempts import Attempts
from models.attention import Region
from models.backbone import Backbone
from models.batching import Batcher, OnStep
from models.canvas import Canvas
from models.cuts import cut, cut_mask
from models.ddim import Grid, guided, moved
from models.drawing import Drawing, Outside
from models.exemplars import sketch
from models.filling import emptied
from models.fingerprint import fingerprint
from models.finishing import Decoded, finished
from models.grafts import grafted
from models.inversion import Trajectory, TrajectoryCache, deepen
from models.items import ItemRequest, ItemResult
from models.levels import Levels, colour
from models.lora import worn
from models.masks import Mask, grown_where_thin, on_latent_grid, pooled
from models.noise import noise_key
from models.refinement import Calibration
from models.resampling import model_windows
from models.stages import stage
from models.training.recipe import Ablation
from models.windows import Plot, plan


@dataclass(frozen=True)
class _Slot:
    """One window of a drawing under one prompt (C1 or C2): a row of a U-Net batch."""

    drawing: int
    window: int
    defect: bool


@dataclass(frozen=True, eq=False)
class _Start:
    """What the inside of a drawing begins on.

    Attributes:
        latents: (C, h, w) on the plane; None is the normal image.
        graft: the frame (H, W, channels) with a real defect; None for anything else.
        lies: (H, W), where in the request that defect lies: its outline is a real one, the request's is not.
    """

    latents: Tensor | None = None
    graft: NDArray[np.float32] | None = None
    lies: Mask | None = None


class Generator:
    """Draws items on one backbone. Not thread-safe: one generator per device and thread.

    Args:
        backbone: the diffusion model.
        batch_shape: rows of every model call; short batches are padded to it.
        cache_bytes: budget of the trajectory cache.
        outside: where the latents outside the mask come from, for all types alike; None is by type: inversion
            unless the type begins on a sketch (decision 0020), the latents as they are if it is logical (0034).
        ablation: which attention a type was taught without, so that it is drawn without it, too: for benchmarks.
        grain: False to leave the photo's grain, and a real defect's, out of what is drawn: for benchmarks.

    Attributes:
        fingerprint: the execution fingerprint of everything drawn here.
    """

    def __init__(
        self,
        backbone: Backbone,
        batch_shape: int = 1,
        cache_bytes: int = 256 << 20,
        outside: Outside | None = None,
        ablation: Ablation | None = None,
        grain: bool = True,
    ) -> None:
        self.backbone = backbone
        self.cache = TrajectoryCache(cache_bytes)
        self.calibration = Calibration.of(backbone.calibration)
        self.outside = outside
        self.ablation = ablation or Ablation()
        self.grain = grain
        self.fingerprint = fingerprint(backbone, batch_shape)
        if outside:
            self.fingerprint += f"+outside={outside}"
        if self.ablation != Ablation():
            self.fingerprint += f"+{self.ablation}"
        if not grain:
            self.fingerprint += "+grain=False"
        self._batch = Batcher(batch_shape)
        self._plans: dict[tuple[int, bool], tuple[Mask, tuple[Plot, ...]]] = {}

    @torch.inference_mode()
    def generate(self, requests: Sequence[ItemRequest], on_step: OnStep | None = None) -> list[ItemResult]:
        """Draw items, sharing one inversion per window.

        Args:
            requests: items that share an image or mask share the array, so that it is planned once.
            on_step: called after each U-Net call; it stops the work by raising.

        Returns:
            Results in the order of the requests.

        Raises:
            AdapterError: a defect type belongs to another backbone.
            ValueError: an empty mask, or one of another size than its image.
        """
        self._batch.begin(on_step)
        attempts = [Attempts(request) for request in requests]
        while waiting := [one for one in attempts if one.waiting]:
            drawn = self._drawn([one.asked for one in waiting], [one.noise for one in waiting])
            for one, drawings in zip(waiting, drawn, strict=True):
                parts = list(self._decoded(drawings))
                with stage("refine"):
                    one.take(finished(one.asked, parts, self.calibration, one.noise, self.grain))
        return [one.best for one in attempts]

    @torch.inference_mode()
    def decoded(self, requests: Sequence[ItemRequest]) -> list[list[Decoded]]:
        """What was drawn for each request before it is composed, plot by plot: the material of a calibration."""
        self._batch.begin(None)
        return [list(self._decoded(drawings)) for drawings in self._drawn(requests, [1] * len(requests))]

    def _drawn(self, requests: Sequence[ItemRequest], attempts: Sequence[int]) -> list[list[Drawing]]:
        """Steps 1 to 4 of the method, all requests together, each with the noise of an attempt."""
        for request in requests:
            request.adapter.check(self.backbone)
            if request.mask.shape != request.image.shape[:2]:
                raise ValueError(f"the mask is {request.mask.shape}, the image {request.image.shape[:2]}")
        self._plan(requests)
        try:
            drawings = [
                [self._prepared(request, plot, attempt) for plot in self._plans[_planned_by(request)][1]]
                for request, attempt in zip(requests, attempts, strict=True)
            ]
            self._draw([drawing for group in drawings for drawing in group])
        finally:
            self.cache.trim()
        return drawings

    def _plan(self, requests: Sequence[ItemRequest]) -> None:
        """Plan each mask once; the plans of the call before serve a redraw, and a job's next item."""
        known, self._plans = self._plans, {}
        for request in requests:
            key, mask = _planned_by(request), request.mask
            planned = known.get(key) or self._plans.get(key)
            if planned is None or planned[0] is not mask:
                size, latent_size = self.backbone.window_px, self.backbone.latent_size
                planned = (mask, plan(mask, size, latent_size, whole=request.adapter.card.logical))
            self._plans[key] = planned

    def _prepared(self, request: ItemRequest, plot: Plot, attempt: int) -> Drawing:
        backbone = self.backbone
        frame = plot.frame(colour(request.image))
        levels = Levels.of(frame, request.black_level, request.white_level)
        canvas = Canvas.of(plot, backbone.latent_size)
        unit = levels.to_unit(frame)
        trajectories = [self._trajectory(x, request) for x in model_windows(unit, plot, backbone.window_px)]
        defect = request.adapter.tokens.to(trajectories[0].prompt)
        spare = MAX_DEFECT_TOKENS - len(defect)
        start = self._start(request, plot, canvas, unit, attempt)
        cells = self._cells(request, plot, canvas, start.lies)
        return Drawing(
            request=request,
            plot=plot,
            canvas=canvas,
            grid=Grid.over(backbone.alphas_cumprod, request.steps),
            levels=levels,
            trajectories=trajectories,
            mask=torch.from_numpy(cells)[None].to(backbone.device, backbone.dtype),
            tokens=torch.cat([trajectories[0].prompt, functional.pad(defect, (0, 0, 0, spare))]),
            tokens_valid=torch.arange(MAX_DEFECT_TOKENS, device=backbone.device) < len(defect),
            exemplar=start.latents,
            graft=start.graft,
            outside=self.outside or _outside(request),
            attempt=attempt,
        )

    def _start(
        self, request: ItemRequest, plot: Plot, canvas: Canvas, unit: NDArray[np.float32], attempt: int
    ) -> _Start:
        """What an item of this type begins on."""
        if request.adapter.card.logical:
            return _Start(canvas.merged(self._encoded(self._emptied(request, plot, unit))))
        if request.begins_on == "noise" or request.control:
            return _Start()
        key = request.noise_key(f"{plot.name}/{request.begins_on}", attempt)
        graft = lies = None
        if request.begins_on == "exemplar":
            requested = plot.cells(*unit.shape[:2])
            laid_on, lies = grafted(unit, requested, request.exemplars, np.random.default_rng(key))
            graft = laid_on if self.grain else None
        else:
            look = noise_key(request.seed, request.index, "look", 0)  # one light on all of an image
            laid_on, lies = sketch(unit, plot, self.backbone.window_px, request.adapter.card.sketch, key, look)
        latents = canvas.merged(self._encoded(model_windows(laid_on, plot, self.backbone.window_px)))
        return _Start(latents, graft, lies)

    def _cells(self, request: ItemRequest, plot: Plot, canvas: Canvas, lies: Mask | None) -> Mask:
        """The latent cells (h, w) that are drawn: of the request those where what it begins on lies, if it does.

        Of a logical type they are just those that it learned to fill.
        """
        if request.adapter.card.logical:
            (window,) = plot.windows
            mask = cut_mask(window, request.mask, self.backbone.window_px)
            return on_latent_grid(mask, self.backbone.factor) > 0
        cells = plot.cells(canvas.height, canvas.width)
        return grown_where_thin(cells if lies is None else cells & pooled(lies, cells.shape))

    def _emptied(self, request: ItemRequest, plot: Plot, unit: NDArray[np.float32]) -> list[Tensor]:
        """The window (3, P, P) without what the mask holds, of which the cells beside it would tell, too."""
        (window,) = plot.windows
        size = self.backbone.window_px
        held = np.asarray(cut(window, request.mask[:, :, None])) > 0
        left_out = np.where(held, np.float32(0.5), unit)  # resampling would spread it, too
        (blank,) = model_windows(left_out, plot, size)
        left = emptied(blank.permute(1, 2, 0).numpy(), cut_mask(window, request.mask, size))
        return [torch.from_numpy(left).permute(2, 0, 1).contiguous()]

    def _encoded(self, windows: list[Tensor]) -> list[Tensor]:
        """Latents (C, L, L) of windows (3, P, P)."""
        rows = [(x.to(self.backbone.device, self.backbone.dtype),) for x in windows]
        with stage("encode"):
            return self._batch(self.backbone.encode, rows)

    def _trajectory(self, x: Tensor, request: ItemRequest) -> Trajectory:
        """The trajectory of a window, cached by all that shapes it: pixels, C2 and grid."""
        pixels = hashlib.sha256(x.numpy().tobytes()).hexdigest()
        key = f"{pixels}|{request.steps}|{request.part}"
        trajectory = self.cache.get(key)
        if trajectory is None:
            (z_0,) = self._encoded([x])
            (reconstruction,) = self._of_latents([z_0])
            trajectory = Trajectory([z_0], reconstruction, self.backbone.embed([request.part])[0])
            self.cache.put(key, trajectory)
        return trajectory

    def _draw(self, drawings: list[Drawing]) -> None:
        """Invert, start and denoise all drawings together."""
        due = _due([drawing for drawing in drawings if drawing.outside == "inversion"])
        self._batch.expect(sum((depth - group[0].depth) * len(group) for depth, _, group in due))
        self._batch.expect(sum(d.depth * len(d.canvas.corners) * len(d.passes) for d in drawings))
        with stage("invert"):
            for depth, grid, group in due:
                deepen(group, depth, grid, self._background_noise)
        with stage("denoise"):
            for drawing in drawings:
                drawing.begin()
            for adapter, ours in _by_weights(drawings):
                with worn(self.backbone.unet, adapter.weights):
                    self._denoise(ours)
            for drawing in drawings:
                drawing.strengthen()

    def _denoise(self, drawings: list[Drawing]) -> None:
        """All the steps of drawings whose U-Net wears the same weights."""
        slots = [
            _Slot(i, window, defect)
            for i, drawing in enumerate(drawings)
            for window in range(len(drawing.canvas.corners))
            for defect in drawing.passes
        ]
        regions: dict[tuple[_Slot, ...], Region] = {}
        for level in range(max((drawing.depth for drawing in drawings), default=0), 0, -1):
            active = [slot for slot in slots if drawings[slot.drawing].depth >= level]
            noises = dict(zip(active, self._masked_noise(drawings, active, level, regions), strict=True))
            for i in sorted({slot.drawing for slot in active}):
                self._step(drawings[i], i, noises, level)

    def _step(self, drawing: Drawing, i: int, noises: dict[_Slot, Tensor], level: int) -> None:
        """One DDIM step of the inside; the stored trajectory goes back outside (design §2, step 4)."""
        windows = range(len(drawing.canvas.corners))
        by_prompt = {
            defect: drawing.canvas.merged([noises[_Slot(i, window, defect)] for window in windows])
            for defect in drawing.passes
        }
        if len(by_prompt) == 2:
            noise = guided(by_prompt[False], by_prompt[True], drawing.request.guidance)
        else:
            (noise,) = by_prompt.values()
        high, low = float(drawing.grid.alpha_bar[level]), float(drawing.grid.alpha_bar[level - 1])
        drawing.reinject(moved(drawing.z, noise, high, low), level - 1)

    def _background_noise(self, latents: list[Tensor], t: Tensor, prompts: list[Tensor]) -> list[Tensor]:
        t = t.to(self.backbone.device)
        rows = [(z, t, prompt) for z, prompt in zip(latents, prompts, strict=True)]
        return self._batch(self.backbone.predict_noise, rows, counted=True)

    def _masked_noise(
        self, drawings: list[Drawing], slots: list[_Slot], level: int, regions: dict[tuple[_Slot, ...], Region]
    ) -> list[Tensor]:
        """ε_θ of each slot under masked attention; regions are kept from level to level."""

        def predict(*columns: Tensor) -> Tensor:
            z, t, tokens, mask, valid, number = columns
            chunk = tuple(slots[int(j)] for j in number)
            if chunk not in regions:
                regions[chunk] = Region(
                    mask,
                    self.backbone.background_tokens,
                    valid,
                    masked_self=self.ablation.masked_self,
                    masked_cross=self.ablation.masked_cross,
                    background_keys=self.ablation.background_keys,
                )
            return self.backbone.predict_noise(z, t, tokens, regions[chunk])

        rows = []
        for number, slot in enumerate(slots):
            drawing = drawings[slot.drawing]
            t = drawing.grid.timesteps[level].to(self.backbone.device)
            z, mask = (drawing.canvas.crops(plane)[slot.window] for plane in (drawing.z, drawing.mask))
            valid = drawing.tokens_valid & slot.defect
            rows.append((z, t, drawing.tokens, mask, valid, torch.tensor(number)))
        return self._batch(predict, rows, counted=True)

    def _decoded(self, drawings: list[Drawing]) -> Iterator[Decoded]:
        for drawing in drawings:
            on_graft = drawing.exemplar if drawing.graft is not None else None
            begun = [] if on_graft is None else self._pictures(drawing, on_graft)
            yield Decoded(drawing, self._pictures(drawing, drawing.z), begun)

    def _pictures(self, drawing: Drawing, plane: Tensor) -> list[Tensor]:
        """What the VAE makes of a plane's windows, (3, P, P) each."""
        return self._of_latents(drawing.canvas.crops(plane))

    def _of_latents(self, latents: Sequence[Tensor]) -> list[Tensor]:
        """Pictures (3, P, P) of latents (C, L, L)."""
        with stage("decode"):
            return self._batch(self.backbone.decode, [(z,) for z in latents])


def _outside(request: ItemRequest) -> Outside:
    """Where the latents outside the mask come from, by type."""
    if request.adapter.card.logical:
        return "clear"
    return "inversion" if request.begins_on == "noise" else "noise"


def _planned_by(request: ItemRequest) -> tuple[int, bool]:
    """What windows depend on: the mask, and whether the type looks at the whole image."""
    return id(request.mask), request.adapter.card.logical


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
