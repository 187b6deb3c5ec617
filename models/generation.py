"""Generation: a batch of items in, synthetic images with their refined masks out (design §2).

One inversion a window serves every mask, type and seed; U-Net and VAE are called so (`models.batching`) that an
item's pixels do not depend on its neighbours, its slot, a cache hit or a retry.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from models.adapters import MAX_DEFECT_TOKENS, Adapter
from models.attempts import Attempts
from models.backbone import Backbone
from models.batching import Batcher, OnStep, Progress
from models.canvas import Canvas
from models.company import rows_alike
from models.ddim import Grid
from models.denoising import Denoiser
from models.drawing import Drawing, Outside
from models.fingerprint import fingerprint
from models.finishing import Decoded, finished
from models.inversion import Trajectory, TrajectoryCache
from models.items import ItemRequest, ItemResult
from models.levels import Levels, colour
from models.lora import Dress, worn
from models.masks import Mask
from models.refinement import Calibration
from models.resampling import model_windows
from models.stages import stage
from models.starts import Start
from models.training.recipe import Ablation
from models.windows import Plot, plan

DEFAULT_ROWS = {"cpu": 4, "cuda": 8}
"""Rows of a model call, by kind of device, where nobody says otherwise."""
_INVERTED, _CODED = 2, 4
"""Rows of a padded call that inverts: a batch of items has fewer windows than items. And of one that codes pixels:
more of them are hardly faster and take gigabytes."""
_PROMPTS = 64
"""Parts whose prompt is kept."""
_DRESSES = 2
"""Types whose weights lie ready on a GPU, a fifth of a U-Net each."""


@dataclass(frozen=True, eq=False)
class _Piece:
    """A plot of a request before any model has seen it.

    Attributes:
        windows: (3, P, P) each.
        start: what its inside begins on.
    """

    request: ItemRequest
    plot: Plot
    attempt: int
    levels: Levels
    canvas: Canvas
    windows: list[Tensor]
    start: Start


_Plans = dict[tuple[int, bool], tuple[Mask, tuple[Plot, ...]]]
"""By `_planned_by`, with the mask."""


class Generator:
    """Draws items on one backbone. Threads must take turns (`turn`).

    Args:
        backbone: the diffusion model.
        batch_shape: rows of a model call, at most.
        padded: short calls are padded to it. Without it rows are put together if each has the bits then that it
            has alone, and go alone if not (decision 0051). None is by device: not on a CPU, unless the U-Net is
            compiled, which is done for each number of rows.
        cache_bytes: budget of the trajectory cache.
        outside: where the latents outside the mask come from, for all types alike; None is by type: inversion
            unless the type begins on a sketch (decision 0020), the latents as they are if it is logical (0034).
        ablation: which attention a type was taught without, so that it is drawn without it, too: for benchmarks.
        grain: False to leave the photo's grain, and a real defect's, out of what is drawn: for benchmarks.
        turn: held while models are called, and not while items are prepared and finished; with a lock, threads
            take turns, so that a device need not wait for the CPU.

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
        padded: bool | None = None,
        turn: AbstractContextManager[Any] | None = None,
    ) -> None:
        self.backbone = backbone
        self.cache = TrajectoryCache(cache_bytes)
        self.calibration = Calibration.of(backbone.calibration)
        self.outside = outside
        self.ablation = ablation or Ablation()
        self.grain = grain
        padded = backbone.compiled or backbone.device.type != "cpu" if padded is None else padded
        self.fingerprint = fingerprint(backbone, batch_shape if padded else 1)
        if outside:
            self.fingerprint += f"+outside={outside}"
        if self.ablation != Ablation():
            self.fingerprint += f"+{self.ablation}"
        if not grain:
            self.fingerprint += "+grain=False"
        self._unet = Batcher(batch_shape, None if padded else partial(rows_alike, backbone, batch_shape))
        inverted = _INVERTED if padded else batch_shape
        self._denoiser = Denoiser(backbone, self._unet, inverted, self.ablation, self._wearing)
        self._vae = Batcher(min(batch_shape, _CODED) if padded else 1)  # it gains nothing from company on a CPU
        self._turn = nullcontext() if turn is None else turn
        self._plans: _Plans = {}
        self._grids: dict[int, Grid] = {}
        self._prompts: dict[str, Tensor] = {}
        self._dresses: OrderedDict[int, tuple[Adapter, Dress]] = OrderedDict()

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
        progress = Progress(on_step)
        attempts = [Attempts(request) for request in requests]
        while waiting := [one for one in attempts if one.waiting]:
            drawn = self._drawn([one.asked for one in waiting], [one.noise for one in waiting], progress)
            for one, parts in zip(waiting, drawn, strict=True):
                with stage("refine"):
                    one.take(finished(one.asked, parts, self.calibration, one.noise, self.grain))
        return [one.best for one in attempts]

    @torch.inference_mode()
    def decoded(self, requests: Sequence[ItemRequest]) -> list[list[Decoded]]:
        """What was drawn for each request before it is composed, plot by plot: the material of a calibration."""
        return self._drawn(requests, [1] * len(requests), Progress())

    def _drawn(
        self, requests: Sequence[ItemRequest], attempts: Sequence[int], progress: Progress
    ) -> list[list[Decoded]]:
        """Steps 1 to 4 of the method, all requests together, each with the noise of an attempt."""
        for request in requests:
            request.adapter.check(self.backbone)
            if request.mask.shape != request.image.shape[:2]:
                raise ValueError(f"the mask is {request.mask.shape}, the image {request.image.shape[:2]}")
        plots = self._planned(requests)
        pieces = [
            self._piece(request, plot, attempt)
            for request, attempt, own in zip(requests, attempts, plots, strict=True)
            for plot in own
        ]
        with self._turn:
            self._unet.progress = progress
            try:
                trajectories = iter(self._trajectories(pieces))
                begun = self._encoded(window for piece in pieces for window in piece.start.windows)
                drawings = iter([self._drawing(piece, trajectories, begun) for piece in pieces])
                grouped = [list(islice(drawings, len(own))) for own in plots]
                self._denoiser.draw([drawing for group in grouped for drawing in group])
                return list(self._decoded(grouped))
            finally:
                self.cache.trim()

    def _planned(self, requests: Sequence[ItemRequest]) -> list[tuple[Plot, ...]]:
        """The plots of each request; the plans of the call before serve a redraw, and a job's next item."""
        known: _Plans = {}
        for request in requests:
            key, mask = _planned_by(request), request.mask
            planned = known.get(key) or self._plans.get(key)
            if planned is None or planned[0] is not mask:
                size, latent_size = self.backbone.window_px, self.backbone.latent_size
                planned = (mask, plan(mask, size, latent_size, whole=request.adapter.card.logical))
            known[key] = planned
        self._plans = known
        return [known[_planned_by(request)][1] for request in requests]

    def _piece(self, request: ItemRequest, plot: Plot, attempt: int) -> _Piece:
        backbone = self.backbone
        frame = plot.frame(colour(request.image))
        levels = Levels.of(frame, request.black_level, request.white_level)
        unit = levels.to_unit(frame)
        canvas = Canvas.of(plot, backbone.latent_size)
        windows = model_windows(unit, plot, backbone.window_px)
        start = Start.of(request, plot, unit, levels, backbone.window_px, attempt)
        return _Piece(request, plot, attempt, levels, canvas, windows, start)

    def _drawing(self, piece: _Piece, trajectories: Iterator[Trajectory], begun: Iterator[Tensor]) -> Drawing:
        """Takes the piece's own off the trajectories of all windows, and off the latents of what all begin on."""
        backbone, request, canvas, start = self.backbone, piece.request, piece.canvas, piece.start
        own = list(islice(trajectories, len(piece.windows)))
        defect = request.adapter.tokens.to(own[0].prompt)
        spare = MAX_DEFECT_TOKENS - len(defect)
        shape = (canvas.height, canvas.width)
        cells = start.cells(request, piece.plot, shape, backbone.window_px, backbone.factor)
        return Drawing(
            request=request,
            plot=piece.plot,
            canvas=canvas,
            grid=self._grid(request.steps),
            levels=piece.levels,
            trajectories=own,
            mask=torch.from_numpy(cells)[None].to(backbone.device, backbone.dtype),
            tokens=torch.cat([own[0].prompt, functional.pad(defect, (0, 0, 0, spare))]),
            tokens_valid=torch.arange(MAX_DEFECT_TOKENS, device=backbone.device) < len(defect),
            exemplar=canvas.merged(list(islice(begun, len(start.windows)))) if start.windows else None,
            graft=start.graft if self.grain else None,
            lies=start.lies if start.graft is not None or request.control else None,
            outside=self.outside or _outside(request),
            attempt=piece.attempt,
        )

    def _grid(self, steps: int) -> Grid:
        """Its timesteps lie on the device: to bring one there would wait for all that it has to do."""
        if steps not in self._grids:
            grid = Grid.over(self.backbone.alphas_cumprod, steps)
            self._grids[steps] = replace(grid, timesteps=grid.timesteps.to(self.backbone.device))
        return self._grids[steps]

    def _prompt(self, part: str) -> Tensor:
        """C2 of a part, (n, D)."""
        if part not in self._prompts:
            if len(self._prompts) >= _PROMPTS:
                self._prompts.clear()
            self._prompts[part] = self.backbone.embed([part])[0]
        return self._prompts[part]

    def _trajectories(self, pieces: Sequence[_Piece]) -> list[Trajectory]:
        """The trajectories of all windows, cached by all that shapes one: pixels, C2 and grid."""
        found: list[tuple[str, Trajectory | None]] = []
        unknown: dict[str, tuple[Tensor, str]] = {}
        for piece in pieces:
            for x in piece.windows:
                pixels = hashlib.sha256(x.numpy().tobytes()).hexdigest()
                key = f"{pixels}|{piece.request.steps}|{piece.request.part}"
                found.append((key, self.cache.get(key)))
                if found[-1][1] is None:
                    unknown[key] = (x, piece.request.part)
        latents = list(self._encoded(x for x, _ in unknown.values()))
        prompts = {part: self._prompt(part) for part in {part for _, part in unknown.values()}}
        begun: dict[str, Trajectory] = {}
        for (key, (_, part)), z_0, seen in zip(unknown.items(), latents, self._of_latents(latents), strict=True):
            begun[key] = Trajectory([z_0], seen, prompts[part])
            self.cache.put(key, begun[key])
        return [begun[key] if trajectory is None else trajectory for key, trajectory in found]

    def _wearing(self, adapter: Adapter) -> AbstractContextManager[None]:
        """The U-Net wears what a type has learned; on a GPU that of the last few types lies ready."""
        unet = self.backbone.unet
        if not adapter.weights or self.backbone.device.type != "cuda":
            return worn(unet, adapter.weights)
        if id(adapter) not in self._dresses:
            while len(self._dresses) >= _DRESSES:
                self._dresses.popitem(last=False)
            self._dresses[id(adapter)] = adapter, Dress(unet, adapter.weights)
        self._dresses.move_to_end(id(adapter))
        return self._dresses[id(adapter)][1].worn()

    def _decoded(self, groups: Sequence[Sequence[Drawing]]) -> Iterator[list[Decoded]]:
        """Each group's drawings with their pictures; those that they began on come after their own."""
        planes = [_planes(drawing) for group in groups for drawing in group]
        pictures = self._of_latents(crop for own in planes for crops in own for crop in crops)
        counts = iter([[len(crops) for crops in own] for own in planes])
        for group in groups:
            parts = []
            for drawing in group:
                drawn, begun = ([picture.cpu() for picture in islice(pictures, count)] for count in next(counts))
                parts.append(Decoded(drawing.on_cpu(), drawn, begun))
            yield parts

    def _encoded(self, windows: Iterable[Tensor]) -> Iterator[Tensor]:
        """Latents (C, L, L) of windows (3, P, P)."""

        def encode(x: Tensor) -> Tensor:
            with stage("encode"):
                return self.backbone.encode(x)

        return self._vae.stream(encode, ((x.to(self.backbone.device, self.backbone.dtype),) for x in windows))

    def _of_latents(self, latents: Iterable[Tensor]) -> Iterator[Tensor]:
        """Pictures (3, P, P) of latents (C, L, L)."""

        def decode(z: Tensor) -> Tensor:
            with stage("decode"):
                return self.backbone.decode(z)

        return self._vae.stream(decode, ((z,) for z in latents))


def _planes(drawing: Drawing) -> tuple[list[Tensor], list[Tensor]]:
    """The windows (C, L, L) of what was drawn, and of the real defect that it began on."""
    begun = drawing.exemplar if drawing.graft is not None else None
    crops = drawing.canvas.crops
    return crops(drawing.z), [] if begun is None else crops(begun)


def _outside(request: ItemRequest) -> Outside:
    """Where the latents outside the mask come from, by type."""
    if request.adapter.card.logical:
        return "clear"
    return "inversion" if request.begins_on == "noise" else "noise"


def _planned_by(request: ItemRequest) -> tuple[int, bool]:
    """What windows depend on: the mask, and whether the type looks at the whole image."""
    return id(request.mask), request.adapter.card.logical
