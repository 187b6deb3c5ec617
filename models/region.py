"""Where the defect may be, and what of it each query of attention may see.

Each level of the U-Net sees the mask through its coverage c in [0, 1] of that level's cells; attention weights are
multiplied by

    self:   allow(q, k) = 1 − (1 − c_q) c_k
    cross:  allow(q, background token) = 1,   allow(q, defect token) = c_q

which for c in {0, 1} says: a query outside the mask attends neither to keys inside nor to defect tokens. The
multiplication is a bias log(allow) of the scores.

Where c is 0 or 1 that bias has rank one, −∞ (1 − c_q) c_k, so it rides along as one more dimension of queries and
keys: attention then needs no matrix of biases, which at 64×64 cells weighs more than all else in the U-Net, and
takes the fastest kernel that a device has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

Coarse = Literal["maxpool", "coverage"]

#: Levels with fewer cells a side than this are coarse: a max-pooled mask there is nearly all ones.
COARSE_BELOW = 16

#: In place of −∞, before the scores are scaled by 1/√d: half precision holds it, and its exponential is 0.
FORBIDDEN = -(2.0**15)

#: On a CPU biases of up to so many cells, 32×32, are faster than what rides along. Both give the same bits.
BIASED_CELLS = 32 * 32

#: Dimensions that ride along are filled up to so many, as the kernels of a GPU want them.
RIDING = 8

Kept = TypeVar("Kept")


class Riders(NamedTuple):
    """What rides along with every head, so that the product of both is the bias of a score, before it is scaled.

    Attributes:
        queries: (B, hw, RIDING). keys: (B, hw or N, RIDING).
    """

    queries: Tensor
    keys: Tensor

    @classmethod
    def of(cls, queries: list[Tensor], keys: list[Tensor], dtype: torch.dtype) -> Riders:
        """Those whose product is FORBIDDEN Σ_i q_i k_i.

        Args:
            queries: (B, hw) each, 0 or 1. keys: (B, hw or N) each, 0 or 1.
        """

        def filled_up(those: Tensor) -> Tensor:
            return functional.pad(those, (0, RIDING - those.shape[-1])).to(dtype)

        return cls(filled_up(torch.stack(queries, dim=-1)), filled_up(FORBIDDEN * torch.stack(keys, dim=-1)))


class Region:
    """Where the defect may be, and which tokens speak of it, for one batch.

    Args:
        mask: (B, 1, L, L), 0 or 1, on the latent grid.
        background_tokens: how many of the leading tokens are C2's.
        defect_tokens_valid: (B, N − background_tokens) bool; False marks padding. All False for C2 alone.
        coarse: how levels coarser than 16×16 see the mask: "maxpool" (0 or 1) or "coverage" (mean).
        masked_self: False lets every query see every key: for ablations.
        masked_cross: False lets every query see the valid defect tokens: for ablations.
        background_keys: False keeps queries inside from keys outside, so that self-attention tells the defect
            nothing of its background: for ablations. allow(q, k) is then multiplied by 1 − c_q (1 − c_k).
    """

    def __init__(
        self,
        mask: Tensor,
        background_tokens: int,
        defect_tokens_valid: Tensor,
        coarse: Coarse = "coverage",
        masked_self: bool = True,
        masked_cross: bool = True,
        background_keys: bool = True,
    ) -> None:
        if mask.ndim != 4 or mask.shape[1] != 1:
            raise ValueError(f"a region's mask is (B, 1, L, L), not {tuple(mask.shape)}")
        if defect_tokens_valid.ndim != 2 or defect_tokens_valid.shape[0] != mask.shape[0]:
            raise ValueError("defect_tokens_valid is (B, number of defect tokens)")
        self.mask = mask
        self.background_tokens = background_tokens
        self.defect_tokens_valid = defect_tokens_valid
        self.coarse: Coarse = coarse
        self.masked_self = masked_self
        self.masked_cross = masked_cross
        self.background_keys = background_keys
        self._kept: dict[tuple[str, int, int, torch.dtype], Any] = {}

    @property
    def rules(self) -> tuple[int, Coarse, bool, bool, bool]:
        """All but its tensors."""
        seen = (self.masked_self, self.masked_cross, self.background_keys)
        return (self.background_tokens, self.coarse, *seen)

    def like(self, mask: Tensor, defect_tokens_valid: Tensor) -> Region:
        """Another one by the same rules."""
        tokens, coarse, *seen = self.rules
        return Region(mask, tokens, defect_tokens_valid, coarse, *seen)

    def coverage(self, height: int, width: int) -> Tensor:
        """c: (B, height·width) float32, the share of each cell that the mask covers (max-pooled when fine)."""
        mask = self.mask.float()
        if self._is_shared(height, width):
            pooled = functional.adaptive_avg_pool2d(mask, (height, width))
        else:
            pooled = functional.adaptive_max_pool2d(mask, (height, width))
        return pooled.flatten(1)

    def riders(self, height: int, width: int, dtype: torch.dtype, *, cross: bool) -> Riders | None:
        """What rides along in place of a bias on an h×w grid; None where a bias does, as where c is a share.

        Args:
            cross: of attention to the tokens, else to the grid itself.
        """
        small = self.mask.device.type == "cpu" and height * width <= BIASED_CELLS
        if small or self._is_shared(height, width):
            return None
        make = self._cross_riders if cross else self._self_riders
        key = ("cross riders" if cross else "self riders", height, width, dtype)
        return self._once(key, lambda: Riders.of(*make(height, width), dtype))

    def self_bias(self, height: int, width: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """(B, 1, hw, hw) additive bias log(1 − (1 − c_q) c_k) for queries and keys on an h×w grid."""
        return self._once(("self bias", height, width, dtype), lambda: self._self_bias(height, width).to(dtype))

    def cross_bias(self, height: int, width: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """(B, 1, hw, N) additive bias: 0 for C2's tokens, log c_q for valid defect tokens, −∞ for padding."""
        return self._once(("cross bias", height, width, dtype), lambda: self._cross_bias(height, width).to(dtype))

    def _self_bias(self, height: int, width: int) -> Tensor:
        c = self._seen(height, width, self.masked_self)
        allow = 1 - (1 - c)[:, :, None] * c[:, None, :]
        if not self.background_keys:
            c = self.coverage(height, width)
            allow = allow * (1 - c[:, :, None] * (1 - c)[:, None, :])
        return allow.log()[:, None]

    def _cross_bias(self, height: int, width: int) -> Tensor:
        c = self._seen(height, width, self.masked_cross)
        background = c.new_ones(c.shape[0], c.shape[1], self.background_tokens)
        defect = c[:, :, None] * self.defect_tokens_valid.to(c)[:, None, :]
        return torch.cat([background, defect], dim=2).log()[:, None]

    def _self_riders(self, height: int, width: int) -> tuple[list[Tensor], list[Tensor]]:
        """FORBIDDEN (1 − c_q) c_k, and without background keys FORBIDDEN c_q (1 − c_k), too."""
        c = self.coverage(height, width)
        seen = self._seen(height, width, self.masked_self)
        blind = torch.zeros_like(c) if self.background_keys else c
        return [1 - seen, blind], [seen, 1 - c]

    def _cross_riders(self, height: int, width: int) -> tuple[list[Tensor], list[Tensor]]:
        """FORBIDDEN (1 − c_q) of the defect's tokens, and FORBIDDEN of padding."""
        c = self._seen(height, width, self.masked_cross)
        valid = self.defect_tokens_valid.to(c)
        background = valid.new_zeros(len(valid), self.background_tokens)
        tokens, padding = (torch.cat([background, those], dim=1) for those in (valid, 1 - valid))
        return [1 - c, torch.ones_like(c)], [tokens, padding]

    def _once(self, key: tuple[str, int, int, torch.dtype], make: Callable[[], Kept]) -> Kept:
        """What is made for the first call of a grid and kept for the others.

        In a compiled U-Net it is a part of what is compiled: there each grid's is made once a call anyway, and
        what had been kept would make it compile anew.
        """
        if torch.compiler.is_compiling():
            return make()
        if key not in self._kept:
            self._kept[key] = make()
        kept: Kept = self._kept[key]
        return kept

    def _is_shared(self, height: int, width: int) -> bool:
        """Whether cells of this grid see the share of them that the mask covers, not only whether it does."""
        return self.coarse == "coverage" and min(height, width) < COARSE_BELOW

    def _seen(self, height: int, width: int, masked: bool) -> Tensor:
        """c, or 1 everywhere where attention is not to be masked: each cell then counts as inside."""
        c = self.coverage(height, width)
        return c if masked else torch.ones_like(c)
