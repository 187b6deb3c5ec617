"""Masked attention: the defect sees the background, the background never sees the defect.

A query outside the mask attends neither to keys inside (self-attention) nor to defect tokens
(cross-attention). Each level of the U-Net sees the mask through its coverage c in [0, 1] of that level's
cells; attention weights are multiplied by

    self:   allow(q, k) = 1 − (1 − c_q) c_k
    cross:  allow(q, background token) = 1,   allow(q, defect token) = c_q

which for c in {0, 1} is exactly the rule above. The multiplication is done as a bias log(allow).
"""

from __future__ import annotations

from math import isqrt
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

Coarse = Literal["maxpool", "coverage"]

#: Levels with fewer cells a side than this are coarse: a max-pooled mask there is nearly all ones.
COARSE_BELOW = 16

#: Biases of self-attention are kept up to this many cells, 32×32.
KEPT_CELLS = 32 * 32


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
        self._kept: dict[tuple[str, int, int, torch.dtype], Tensor] = {}

    def coverage(self, height: int, width: int) -> Tensor:
        """c: (B, height·width) float32, the share of each cell that the mask covers (max-pooled when fine)."""
        mask = self.mask.float()
        if self._is_shared(height, width):
            pooled = functional.adaptive_avg_pool2d(mask, (height, width))
        else:
            pooled = functional.adaptive_max_pool2d(mask, (height, width))
        return pooled.flatten(1)

    def self_bias(self, height: int, width: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """(B, 1, hw, hw) additive bias log(1 − (1 − c_q) c_k) for queries and keys on an h×w grid.

        One for all heads. That of a grid finer than `KEPT_CELLS` is made anew each time: at 64×64 cells it takes
        34 MB a row at half precision, and a generation has a region for every batch of its windows.
        """
        key = ("self", height, width, dtype)
        keeps = self._keeps()
        if keeps and key in self._kept:
            return self._kept[key]
        # What is 0 or 1 is so at any precision; shares are not.
        precise = torch.float32 if self._is_shared(height, width) else dtype
        c = self._seen(height, width, self.masked_self).to(precise)
        allow = (1 - c)[:, :, None] * c[:, None, :]
        allow.neg_().add_(1)
        if not self.background_keys:
            c = self.coverage(height, width).to(precise)
            allow *= 1 - c[:, :, None] * (1 - c)[:, None, :]
        bias = allow.log_().to(dtype)[:, None]
        if keeps and height * width <= KEPT_CELLS:
            self._kept[key] = bias
        return bias

    def cross_bias(self, height: int, width: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """(B, 1, hw, N) additive bias: 0 for C2's tokens, log c_q for valid defect tokens, −∞ for padding."""
        key = ("cross", height, width, dtype)
        keeps = self._keeps()
        if keeps and key in self._kept:
            return self._kept[key]
        c = self._seen(height, width, self.masked_cross)
        background = c.new_ones(c.shape[0], c.shape[1], self.background_tokens)
        defect = c[:, :, None] * self.defect_tokens_valid.to(c)[:, None, :]
        bias = torch.cat([background, defect], dim=2).log().to(dtype)[:, None]
        if keeps:
            self._kept[key] = bias
        return bias

    @staticmethod
    def _keeps() -> bool:
        """Whether biases are kept from call to call; in a compiled U-Net they are a part of what is compiled.

        There each grid's is made once a call, and what had been kept would make it compile anew.
        """
        return not torch.compiler.is_compiling()

    def _is_shared(self, height: int, width: int) -> bool:
        """Whether cells of this grid see the share of them that the mask covers, not only whether it does."""
        return self.coarse == "coverage" and min(height, width) < COARSE_BELOW

    def _seen(self, height: int, width: int, masked: bool) -> Tensor:
        """c, or 1 everywhere where attention is not to be masked: each cell then counts as inside."""
        c = self.coverage(height, width)
        return c if masked else torch.ones_like(c)


class MaskedAttnProcessor:
    """A diffusers attention processor that reads `region` from `cross_attention_kwargs`.

    Without a region it is plain scaled dot-product attention.
    """

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        region: Region | None = None,
    ) -> Tensor:
        """Attend from `hidden_states` (B, hw, D), or (B, D, h, w), to itself or to the tokens."""
        if attention_mask is not None:
            raise ValueError("masked attention takes a region, not an attention mask")
        residual = hidden_states
        if attn.spatial_norm is not None:
            hidden_states = attn.spatial_norm(hidden_states, temb)
        grid = hidden_states.shape[2:] if hidden_states.ndim == 4 else None
        if grid is not None:
            hidden_states = hidden_states.flatten(2).transpose(1, 2)
        if attn.group_norm is not None:
            hidden_states = attn.group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)

        cross = encoder_hidden_states is not None
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        if cross and attn.norm_cross:
            context = attn.norm_encoder_hidden_states(context)

        def heads(x: Tensor) -> Tensor:
            return x.view(*x.shape[:2], attn.heads, -1).transpose(1, 2)

        query, key, value = heads(attn.to_q(hidden_states)), heads(attn.to_k(context)), heads(attn.to_v(context))
        if attn.norm_q is not None:
            query = attn.norm_q(query)
        if attn.norm_k is not None:
            key = attn.norm_k(key)

        bias = None
        if region is not None:
            side = isqrt(query.shape[2])
            bias = (
                region.cross_bias(side, side, query.dtype) if cross else region.self_bias(side, side, query.dtype)
            )
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)

        out: Tensor = attn.to_out[0](attended.transpose(1, 2).flatten(2))
        out = attn.to_out[1](out)
        if grid is not None:
            out = out.transpose(1, 2).reshape(*out.shape[::2], *grid)
        if attn.residual_connection:
            out = out + residual
        return out / float(attn.rescale_output_factor)


def install_masked_attention(unet: Any) -> None:
    """Let every attention layer of a diffusers U-Net read `region` from `cross_attention_kwargs`."""
    unet.set_attn_processor(MaskedAttnProcessor())
