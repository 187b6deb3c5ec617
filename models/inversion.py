"""DDIM inversion of a window, keeping its trajectory, and the cache that lends it to every mask, type and seed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from models.ddim import Grid, moved

NoisePredictor = Callable[[list[Tensor], Tensor, list[Tensor]], list[Tensor]]
"""(C, L, L) latents, a timestep and their prompts → ε_θ(z, t, C2), unmasked and without adapter."""


@dataclass(eq=False)
class Trajectory:
    """The latents z_0 … z_T' met while inverting one window under C2, and what the VAE makes of z_0.

    Attributes:
        latents: list of (C, L, L), by level; grows when a deeper level is asked for.
        reconstruction: (3, P, P) in [0, 1], D(E(x)).
        prompt: (n, D), C2.
    """

    latents: list[Tensor]
    reconstruction: Tensor
    prompt: Tensor

    @property
    def depth(self) -> int:
        return len(self.latents) - 1

    @property
    def nbytes(self) -> int:
        return sum(z.nbytes for z in self.latents) + self.reconstruction.nbytes


def deepen(trajectories: list[Trajectory], depth: int, grid: Grid, predict: NoisePredictor) -> None:
    """Invert trajectories that have one depth in common further, to ``depth``.

    ε is evaluated at the level that is stepped to, as the denoising that comes back will evaluate it.
    """
    for level in range(trajectories[0].depth + 1, depth + 1):
        latents = [trajectory.latents[-1] for trajectory in trajectories]
        noises = predict(latents, grid.timesteps[level], [trajectory.prompt for trajectory in trajectories])
        low, high = float(grid.alpha_bar[level - 1]), float(grid.alpha_bar[level])
        for trajectory, z in zip(
            trajectories, moved(torch.stack(latents), torch.stack(noises), low, high), strict=True
        ):
            trajectory.latents.append(z.clone())  # what is kept must not keep the others


@dataclass
class TrajectoryCache:
    """Least recently used trajectories within a byte budget. What it holds never changes a pixel of an item."""

    budget: int
    _held: OrderedDict[str, Trajectory] = field(default_factory=OrderedDict)

    def get(self, key: str) -> Trajectory | None:
        trajectory = self._held.get(key)
        if trajectory is not None:
            self._held.move_to_end(key)
        return trajectory

    def put(self, key: str, trajectory: Trajectory) -> None:
        self._held[key] = trajectory
        self._held.move_to_end(key)

    def trim(self) -> None:
        """Forget the least recently used until the budget holds; called when no trajectory is at work."""
        size = sum(trajectory.nbytes for trajectory in self._held.values())
        while size > self.budget and self._held:
            _, oldest = self._held.popitem(last=False)
            size -= oldest.nbytes

    def __len__(self) -> int:
        return len(self._held)
