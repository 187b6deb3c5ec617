"""A look at what was learned: invert held normal images, draw defects under C1 and controls under C2."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.backbone import Backbone
from models.ddim import Grid, guided, laid, moved, start
from models.masks import on_latent_grid
from models.noise import seeded_noise
from models.region import Region
from models.rendering import DEFECT_TYPES
from models.training.pool import Pool
from models.training.vae import to_bytes


def preview(
    backbone: Backbone,
    tokens: Tensor,
    held: Pool,
    severity: float = 0.7,
    seed_share: float = 0.8,
    steps: int = 20,
    guidance: float = 1.5,
) -> list[list[NDArray[np.uint8]]]:
    """For each held scene a column: reconstruction, mask, drawn under C1, under C2, the rendered defect.

    `tokens` is (types, n, D). C1 begins on sketches. Trajectories are put back outside the mask after each step.
    """
    device = backbone.device
    grid = Grid.over(backbone.alphas_cumprod, steps)
    depth = grid.depth(severity, exemplar=True)
    z_0 = held.normal.float().to(device)
    m = torch.stack(
        [torch.from_numpy(on_latent_grid(mask.numpy(), backbone.factor))[None] for mask in held.mask]
    ).to(device)
    with torch.inference_mode():
        c2 = backbone.embed(held.parts)
        trajectory = [z_0]
        for level in range(depth):
            t = grid.timesteps[max(level, 1)].expand(len(z_0)).to(device)
            noise = backbone.predict_noise(trajectory[-1], t, c2, None)
            trajectory.append(moved(trajectory[-1], noise, *_levels(grid, level, level + 1)))

        seed = seeded_noise(0, tuple(z_0.shape)).to(device)
        sketched = laid(z_0, held.sketch.float().to(device), severity)
        begin, control = (
            start(z_0, trajectory[depth], seed, float(grid.alpha_bar[depth]), seed_share, begun)
            for begun in (sketched, z_0)
        )
        c1 = torch.cat([c2, tokens[[DEFECT_TYPES.index(name) for name in held.types]].to(c2)], dim=1)
        valid = torch.ones(len(z_0), tokens.shape[1], dtype=torch.bool, device=device)
        region = Region(m, backbone.background_tokens, valid)

        drawn = []
        for defect in (True, False):
            z = torch.where(m > 0, begin if defect else control, trajectory[depth])
            for level in range(depth, 0, -1):
                t = grid.timesteps[level].expand(len(z)).to(device)
                noise = backbone.predict_noise(z, t, c2, None)
                if defect:
                    noise = guided(noise, backbone.predict_noise(z, t, c1, region), guidance)
                z = moved(z, noise, *_levels(grid, level, level - 1))
                z = torch.where(m > 0, z, trajectory[level - 1])
            drawn.append(to_bytes(backbone.decode(z)))
        rows = [
            to_bytes(backbone.decode(z_0)),
            np.repeat((held.mask.numpy() * np.uint8(255))[..., None], 3, axis=3),
            *drawn,
            to_bytes(backbone.decode(held.image.float().to(device))),
        ]
    return [list(column) for column in zip(*rows, strict=True)]


def _levels(grid: Grid, here: int, there: int) -> tuple[float, float]:
    return float(grid.alpha_bar[here]), float(grid.alpha_bar[there])
