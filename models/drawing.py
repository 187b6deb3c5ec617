"""One plot of one item while it is drawn: its canvas, trajectory, tokens and latent plane."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.canvas import Canvas
from models.ddim import Grid, diffused, kept_strength, laid, start, strengthened
from models.inversion import Trajectory
from models.items import ItemRequest
from models.levels import Levels
from models.masks import Mask
from models.noise import seeded_noise
from models.resampling import resized, taper
from models.windows import Place, Plot

Outside = Literal["inversion", "noise", "clear", "nothing"]
"""Where the latents outside the mask come from: DDIM inversion; q(z_t|z_0) with one fixed ε; or, at every t, those
of what the drawing begins on. Nothing is for benchmarks: while it is drawn, a defect then sees no background."""

_EXAGGERATED = 1.5  # times as strong as it was, at most, is what began on a real defect


@dataclass(eq=False)
class Drawing:
    """State of a plot at work.

    Attributes:
        levels: the camera's range as the model sees this plot.
        trajectories: one per window.
        mask: (1, h, w) 0/1 on the plane's cells.
        tokens: (N, D), C1: C2's tokens, then the defect's, padded.
        tokens_valid: (N − C2's,) bool; all False for a control.
        exemplar: (C, h, w), what it begins on; None is the normal image.
        graft: (height, width, channels) in unit range, the photo under the plot with the real defect that it
            begins on; None if it begins on anything else.
        lies: (height, width) under the plot, where that real defect lies, or where a control is drawn anew; None
            for all of the request.
        outside: where the plane comes from.
        attempt: whose noise it has; the first is 1.
        z: (C, h, w), the latent plane as far as it is denoised.
        plane: the trajectory on the plane, by level.
    """

    request: ItemRequest
    plot: Plot
    canvas: Canvas
    grid: Grid
    levels: Levels
    trajectories: list[Trajectory]
    mask: Tensor
    tokens: Tensor
    tokens_valid: Tensor
    exemplar: Tensor | None
    graft: NDArray[np.float32] | None
    lies: Mask | None
    outside: Outside
    attempt: int
    z: Tensor = field(init=False)
    plane: list[Tensor] = field(init=False)

    @property
    def depth(self) -> int:
        if self.request.adapter.card.logical:  # it has learned to begin there alone; a lesser severity mixes
            return self.grid.steps
        # A control goes as deep as the item that it is one of.
        return self.grid.depth(self.request.severity, self.request.begins_on != "noise")

    @property
    def passes(self) -> tuple[bool, ...]:
        """The prompts that each step predicts under: False for C2, True for C1."""
        if self.request.control or self.request.guidance == 0:
            return (False,)
        return (True,) if self.request.guidance == 1 else (False, True)

    def begin(self) -> None:
        """Lay the trajectory on the plane, exemplar and seed's noise into the inside (design §2, step 3)."""
        request = self.request
        self.plane = self._outside()
        z_0, z_T = self.plane[0], self.plane[self.depth]
        key = request.noise_key(self.plot.name, self.attempt)
        noise = seeded_noise(key, tuple(z_T.shape)).to(z_T)
        alpha_bar = float(self.grid.alpha_bar[self.depth])
        begun = self.exemplar  # a real one is as strong as it is
        if begun is not None and request.begins_on == "sketch":
            begun = laid(z_0, begun, request.severity)
        share = request.seed_share
        if self.outside in ("clear", "nothing"):
            begun, share = z_T, 1.0  # no noise but the seed's
        self.reinject(start(z_0, z_T, noise, alpha_bar, share, begun), self.depth)

    def _outside(self) -> list[Tensor]:
        """The trajectory on the plane, by level."""
        if self.outside in ("clear", "nothing"):
            z_0 = self._merged(0)
            seen = z_0 if self.exemplar is None else self.exemplar
            return [z_0] + [seen if self.outside == "clear" else torch.zeros_like(z_0)] * self.depth
        return self._inverted() if self.outside == "inversion" else self._noised()

    def _inverted(self) -> list[Tensor]:
        return [self._merged(level) for level in range(self.depth + 1)]

    def _noised(self) -> list[Tensor]:
        """z_t = √ᾱ_t z_0 + √(1−ᾱ_t) ε with one ε on the whole plane, never that of the inside's own noise."""
        z_0 = self._merged(0)
        key = self.request.noise_key(self.plot.name + "/outside", self.attempt)
        eps = seeded_noise(key, tuple(z_0.shape)).to(z_0)
        return [z_0, *(diffused(z_0, eps, float(self.grid.alpha_bar[t])) for t in range(1, self.depth + 1))]

    def _merged(self, level: int) -> Tensor:
        return self.canvas.merged([trajectory.latents[level] for trajectory in self.trajectories])

    def reinject(self, inside: Tensor, level: int) -> None:
        """Keep what was drawn inside the mask; outside goes back the stored trajectory."""
        self.z = torch.where(self.mask > 0, inside, self.plane[level])

    def strengthen(self) -> None:
        """Make what was drawn as strong as the severity asks for."""
        severity, default = self.request.severity, self.request.adapter.card.severity
        drawn = self.z
        if self.request.begins_on == "exemplar":  # its default is how deep the start is, which may be very little
            severity = min(severity, _EXAGGERATED**2 * default)
            if self.exemplar is not None and not self.request.control:  # on which a control lays nothing
                drawn = kept_strength(self.plane[0], drawn, self.exemplar, self.mask)
        self.reinject(strengthened(self.plane[0], drawn, severity, default), 0)

    def on_cpu(self) -> Drawing:
        """What is looked at once it is drawn, in the CPU's memory: to look at it waits for no device then."""
        if self.z.device.type == "cpu":
            return self
        seen = copy.copy(self)
        seen.z, seen.plane = self.z.cpu(), [self.plane[0].cpu()]
        seen.trajectories = [
            replace(trajectory, latents=[], reconstruction=trajectory.reconstruction.cpu())
            for trajectory in self.trajectories
        ]
        return seen

    def latent_change(self, place: Place) -> NDArray[np.float32]:
        """Norm of ẑ_0 − z_0 over channels at the photo's resolution, (rows, columns); 0 beyond the plot."""
        norm = (self.z - self.plane[0]).float().norm(dim=0)[None, None]
        size = (self.plot.height, self.plot.width)
        frame = functional.interpolate(norm, size=size, mode="bilinear")[0, 0].cpu().numpy()
        return self.at(place, frame, np.zeros((), np.float32))

    def at(self, place: Place, frame: NDArray[np.float32], beyond: NDArray[np.float32]) -> NDArray[np.float32]:
        """What of a plot's frame (height, width, …) lies in a place (rows, columns, …); `beyond` the plot."""
        plot, (rows, columns) = self.plot, place
        y0, y1 = max(rows.start, plot.y), min(rows.stop, plot.y + plot.height)
        x0, x1 = max(columns.start, plot.x), min(columns.stop, plot.x + plot.width)
        shape = (rows.stop - rows.start, columns.stop - columns.start, *frame.shape[2:])
        found = np.broadcast_to(beyond, shape).astype(np.float32)
        found[y0 - rows.start : y1 - rows.start, x0 - columns.start : x1 - columns.start] = frame[
            y0 - plot.y : y1 - plot.y, x0 - plot.x : x1 - plot.x
        ]
        return found

    def latent_texture(self) -> float:
        """Norm over channels of the deviation of z_0, in cells that a window covers."""
        z_0 = self.plane[0].float()
        return float(z_0[:, self.canvas.covered().to(z_0.device)].std(dim=1).norm())

    def lies_at(self, place: Place) -> Mask:
        """Where in a place (rows, columns) `lies` is; anywhere if it is None."""
        if self.lies is None:
            return np.ones([axis.stop - axis.start for axis in place], np.bool_)
        return self.at(place, self.lies.astype(np.float32), np.zeros((), np.float32)) > 0

    def blended(self, parts: Sequence[Tensor], place: Place, channels: int) -> NDArray[np.float32]:
        """The windows' (3, P, P) pictures, blended at the photo's resolution, where the place is.

        Args:
            channels: of the photo, 1 or 3; grey ones get the mean.

        Returns:
            (rows, columns, channels) float32; 0 where no window is.
        """
        if channels == 1:
            parts = [part.mean(dim=0, keepdim=True) for part in parts]
        side = self.plot.side
        rows, columns = place
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        weight = taper(side)
        total = np.zeros((*shape, 1), dtype=np.float32)
        blend = np.zeros((*shape, channels), dtype=np.float32)
        for window, part in zip(self.plot.windows, parts, strict=True):
            picture = resized(part[None].float(), side)[0].cpu().numpy().transpose(1, 2, 0)
            y0, y1 = max(rows.start, window.y), min(rows.stop, window.y + side)
            x0, x1 = max(columns.start, window.x), min(columns.stop, window.x + side)
            if y0 >= y1 or x0 >= x1:
                continue
            here = np.s_[y0 - rows.start : y1 - rows.start, x0 - columns.start : x1 - columns.start]
            there = np.s_[y0 - window.y : y1 - window.y, x0 - window.x : x1 - window.x]
            w = weight[there][:, :, None]
            blend[here] += w * picture[there]
            total[here] += w
        return np.asarray(blend / np.maximum(total, np.finfo(np.float32).tiny), dtype=np.float32)
