"""The latent plane of one plot: one window, or several that overlap and are drawn as one.

Overlapping windows share a lattice of latent cells, so that their latents and noise predictions can be averaged
cell by cell at each step (after MultiDiffusion, Bar-Tal et al., arXiv 2302.08113), with weights that fall towards
each window's border.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.resampling import taper
from models.windows import Plot


@dataclass(frozen=True, eq=False)
class Canvas:
    """Geometry of a plot on the latent grid.

    Attributes:
        corners: (row, column) of each window's first cell.
        height, width: cells.
        latent_size: cells on a window's side.
    """

    corners: tuple[tuple[int, int], ...]
    height: int
    width: int
    latent_size: int

    @classmethod
    def of(cls, plot: Plot, latent_size: int) -> Canvas:
        half = plot.side // 2
        corners = tuple(
            ((window.y - plot.y) // half * (latent_size // 2), (window.x - plot.x) // half * (latent_size // 2))
            for window in plot.windows
        )
        return cls(
            corners,
            max(row for row, _ in corners) + latent_size,
            max(column for _, column in corners) + latent_size,
            latent_size,
        )

    def crops(self, plane: Tensor) -> list[Tensor]:
        """Each window's (C, L, L) part of a (C, height, width) plane."""
        L = self.latent_size
        return [plane[:, row : row + L, column : column + L] for row, column in self.corners]

    def covered(self) -> Tensor:
        """(height, width) bool: cells that a window covers."""
        L = self.latent_size
        covered = torch.zeros(self.height, self.width, dtype=torch.bool)
        for row, column in self.corners:
            covered[row : row + L, column : column + L] = True
        return covered

    def merged(self, parts: Sequence[Tensor]) -> Tensor:
        """Weighted mean of the windows' (C, L, L) tensors on the plane; cells that no window covers are 0."""
        if len(parts) == 1:
            return parts[0]
        L = self.latent_size
        weight = torch.from_numpy(taper(L)).to(parts[0])
        plane = parts[0].new_zeros(parts[0].shape[0], self.height, self.width)
        total = plane.new_zeros(self.height, self.width)
        for part, (row, column) in zip(parts, self.corners, strict=True):
            plane[:, row : row + L, column : column + L] += weight * part
            total[row : row + L, column : column + L] += weight
        return plane / total.clamp(min=torch.finfo(total.dtype).tiny)
