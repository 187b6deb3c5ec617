"""Both terms of the loss on one batch drawn from a pool: what training a backbone and teaching a type share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.backbone import Backbone
from models.ddim import EXEMPLAR_REACH, WHOLE_AT, carried, laid
from models.losses import background_term, defect_term, diffused, diffused_background, velocity_weight
from models.region import Region
from models.training.pool import Pool
from models.training.precision import autocast
from models.training.recipe import Ablation

_ANY_PART = "part"


@dataclass(frozen=True)
class Rows:
    """How a batch is made up.

    defects, backgrounds, normals: rows of the first term (z_t under C1), of the second (z_t^m under C2, of the
        same scenes), and of normal images under C2, every third with a random m, of fewer by chance.
    gamma: cap of the weight by t.
    least_start: of T: the noise of the first term's rows is that of a drawing begun there or above.
    least_sketched: the same for drawings that began on a sketch, or on an exemplar.
    sketched: share of the rows within reach of such a start that had one.
    exaggerated: whether a start lays a sketch on as strongly as its severity says; else as it is.
    clear: whether the first term's rows see the background of what a drawing begins on, without noise at every t;
        else z_t's, noised as the inside is.
    high: t/T is 1 − u^high with u spread evenly: above 1, a batch has more of high t, where colours are settled.
    """

    defects: int
    backgrounds: int
    normals: int
    gamma: float
    least_start: float
    least_sketched: float
    sketched: float
    exaggerated: bool = True
    clear: bool = False
    high: float = 1.0


@dataclass(frozen=True, eq=False)
class Batch:
    """What one forward pass predicts: rows of the first term, then those of the second, normal images last.

    Attributes:
        z_t: (B, C, L, L), noised.
        t: (B,).
        tokens: (B, N, D), C1 of the first rows, C2 (padded) of the others.
        region: what attention sees.
        eps: (B, C, L, L), what was noised with.
        learned: (n, 1, L, L), the area of the first term.
        taken: (B − n, 1, L, L), what was taken out of the others.
        weight: (B,) by t.
        normals: how many of the last rows are normal images.
    """

    z_t: Tensor
    t: Tensor
    tokens: Tensor
    region: Region
    eps: Tensor
    learned: Tensor
    taken: Tensor
    weight: Tensor
    normals: int

    def losses(self, predicted: Tensor) -> tuple[Tensor, Tensor]:
        """The defect term and the background term of ε_θ (B, C, L, L), each a mean over its own rows."""
        n = len(self.learned)
        first = self.weight[:n] * defect_term(self.eps[:n], predicted[:n], self.learned)
        second = self.weight[n:] * background_term(self.eps[n:], predicted[n:], self.taken)
        return first.mean(), second.mean()


class Terms:
    """Draws batches from a pool and gives the loss's two terms.

    One forward pass serves both: rows of the first carry their mask and defect tokens; rows of the second carry a
    full mask and no valid defect token, which is attention without a mask under C2 alone.

    Args:
        types: names in the order of the tokens.
    """

    def __init__(self, rows: Rows, backbone: Backbone, pool: Pool, types: list[str], ablation: Ablation) -> None:
        self.rows = rows
        self.backbone = backbone
        self.pool = pool
        self.types = types
        self.ablation = ablation
        self._defective = np.flatnonzero([bool(name) for name in pool.types])
        self._known = np.flatnonzero(pool.known.numpy())

    def __call__(
        self, learned_tokens: Tensor, rng: np.random.Generator, noise: torch.Generator, close_up: bool = False
    ) -> tuple[Tensor, Tensor]:
        """The defect term and the background term of one batch."""
        batch = self.batch(learned_tokens, rng, noise, close_up)
        return batch.losses(self.predicted(batch))

    def predicted(self, batch: Batch) -> Tensor:
        """ε_θ of a batch: (B, C, L, L) float32."""
        with autocast(self.backbone.device, self.backbone.dtype):
            return self.backbone.predict_noise(batch.z_t, batch.t, batch.tokens, batch.region).float()

    def batch(
        self, learned_tokens: Tensor, rng: np.random.Generator, noise: torch.Generator, close_up: bool = False
    ) -> Batch:
        """One batch.

        Args:
            learned_tokens: (types, n, D).
            rng, noise: of the batch.
            close_up: quarters of windows, twice as many.
        """
        device = self.backbone.device
        n, k, rest = (
            rows * (2 if close_up else 1) for rows in (self.rows.defects, self.rows.backgrounds, self.rows.normals)
        )
        scenes = torch.from_numpy(rng.choice(self._defective, n, replace=len(self._defective) < n))
        normals = torch.from_numpy(rng.choice(self._known, rest))
        m = torch.stack([self._mask(int(i), rng) for i in scenes])
        third = int(rng.integers(3))  # a batch of one normal image has a mask in every third step, too
        m_normals = [
            self._mask(int(rng.choice(self._defective)), rng) if i % 3 == third else torch.zeros_like(m[0])
            for i in range(len(normals))
        ]
        disentangled = self.ablation.disentangled
        backgrounds = (self.pool.image if disentangled else self.pool.normal)[scenes[:k]]
        z_0 = torch.cat([self.pool.image[scenes], backgrounds, self.pool.normal[normals]]).float()
        t = torch.from_numpy(self._timesteps(rng, n + k + rest))
        sketched = (t[:n] < self._reach) & torch.from_numpy(rng.random(n) < self.rows.sketched)
        starts = self._starts(rng, t[:n], sketched)
        z_n = self._begun(scenes, starts, sketched)
        if not self.ablation.background:
            z_n = torch.zeros_like(z_n)
        m = torch.cat([m, m[:k], *(one[None] for one in m_normals)])
        if close_up:
            corners = [corner(one, rng) for one in (*m[:n], *m[n + k :])]
            corners[n:n] = corners[:k]
            z_0, z_n, m = quarters(z_0, corners), quarters(z_n, corners[:n]), quarters(m, corners)
        m = m.to(device)
        parts = [self._prompt(int(i), rng) for i in torch.cat([scenes, scenes[:k], normals])]
        alpha_bar = self.backbone.alphas_cumprod[t].float().to(device)
        eps = torch.randn(z_0.shape, generator=noise).to(device)
        z_0, z_n, t = z_0.to(device), z_n.to(device), t.to(device)
        eps[:n] = carried(eps[:n], z_0[:n], z_n, m[:n], self._alpha_bar(starts).to(device))

        learned, taken = (m[:n], m[n:]) if disentangled else (torch.ones_like(m[:n]), torch.zeros_like(m[n:]))

        noised = diffused(z_0[:n], eps[:n], alpha_bar[:n])
        z_t = torch.cat(
            [
                torch.where(m[:n] > 0, noised, z_n) if self.rows.clear else noised,
                diffused_background(z_0[n:], taken, eps[n:], alpha_bar[n:]),
            ]
        )
        with autocast(device, self.backbone.dtype):
            types = torch.tensor([self.types.index(self.pool.types[i]) for i in scenes.tolist()])
            tokens = self._conditions(parts, learned_tokens[types.to(device)])
        return Batch(
            z_t=z_t,
            t=t,
            tokens=tokens,
            region=self.region(m, n, learned_tokens.shape[1]),
            eps=eps,
            learned=learned,
            taken=taken,
            weight=velocity_weight(alpha_bar, self.rows.gamma),
            normals=rest,
        )

    def _mask(self, i: int, rng: np.random.Generator) -> Tensor:
        """m of scene i: (1, L, L) float32."""
        requests = self.pool.requests[i]
        return requests[int(rng.integers(len(requests)))][None].float()

    def _prompt(self, i: int, rng: np.random.Generator) -> str:
        """C2's text: mostly the part's name; sometimes none, because requests may name none."""
        kind = rng.random()
        if kind < 0.2:
            return _ANY_PART
        return self.pool.parts[i] if kind < 0.85 else f"a photo of a {self.pool.parts[i]}"

    def _timesteps(self, rng: np.random.Generator, count: int) -> Any:
        """t, one from each of `count` slices of T, equal ones unless `high`: evenly spread within a batch."""
        T = len(self.backbone.alphas_cumprod)
        slices = (rng.permutation(count) + rng.random(count)) / count
        if self.rows.high != 1:
            slices = 1 - slices**self.rows.high
        return np.minimum((slices * T).astype(np.int64), T - 1)

    @property
    def _reach(self) -> int:
        """The timestep below which drawings on a sketch begin."""
        return int(EXEMPLAR_REACH * len(self.backbone.alphas_cumprod))

    def _starts(self, rng: np.random.Generator, t: Tensor, sketched: Tensor) -> Tensor:
        """The level (B,) at which the drawing began whose noise each row carries: at t or above."""
        T = len(self.backbone.alphas_cumprod)
        top = np.where(sketched.numpy(), self._reach, T)
        least = np.where(sketched.numpy(), self.rows.least_sketched, self.rows.least_start)
        lowest = np.maximum(t.numpy(), (least * T).astype(np.int64))
        # Squared: the first steps after a start see the most of it, and settle the most.
        return torch.from_numpy((lowest + rng.random(len(t)) ** 2 * (top - lowest)).astype(np.int64))

    def _begun(self, scenes: Tensor, starts: Tensor, sketched: Tensor) -> Tensor:
        """What the drawings began on (B, C, L, L): the normal image, or a sketch laid over it as a start does."""
        normal, sketch = self.pool.normal[scenes].float(), self.pool.sketch[scenes].float()
        severity = sketched * (starts / self._reach if self.rows.exaggerated else WHOLE_AT)
        return laid(normal, sketch, severity.float()[:, None, None, None])

    def _alpha_bar(self, t: Tensor) -> Tensor:
        """ᾱ of levels (B,): (B, 1, 1, 1)."""
        return self.backbone.alphas_cumprod[t].float()[:, None, None, None]

    def _conditions(self, parts: list[str], tokens: Tensor) -> Tensor:
        """C1 of the first rows, C2 (padded to C1's length) of the others: (B, N, D)."""
        c2 = self.backbone.embed(parts)
        padding = c2.new_zeros(len(parts) - len(tokens), *tokens.shape[1:])
        return torch.cat([c2, torch.cat([tokens.to(c2), padding])], dim=1)

    def region(self, m: Tensor, defects: int, tokens: int) -> Region:
        """What attention sees: masks m of the first rows; of the others all, and none of the tokens."""
        mask = torch.cat([m[:defects], torch.ones_like(m[defects:])])
        valid = torch.zeros(len(m), tokens, dtype=torch.bool, device=m.device)
        valid[:defects] = True
        return Region(
            mask,
            self.backbone.background_tokens,
            valid,
            masked_self=self.ablation.masked_self,
            masked_cross=self.ablation.masked_cross,
            background_keys=self.ablation.background_keys,
        )


def corner(m: Tensor, rng: np.random.Generator) -> tuple[int, int]:
    """Where a quarter of a window begins that holds a cell of its mask (1, L, L), or anything if there is none."""
    half = m.shape[-1] // 2
    cells = m[0].nonzero()
    if not len(cells):
        row, column = rng.integers(0, half + 1, 2).tolist()
        return row, column
    row, column = (
        int(rng.integers(max(cell - half + 1, 0), min(cell, half) + 1))
        for cell in cells[rng.integers(len(cells))].tolist()
    )
    return row, column


def quarters(x: Tensor, corners: list[tuple[int, int]]) -> Tensor:
    """(B, C, L, L) → (B, C, L/2, L/2)."""
    half = x.shape[-1] // 2
    return torch.stack(
        [one[:, row : row + half, column : column + half] for one, (row, column) in zip(x, corners, strict=True)]
    )
