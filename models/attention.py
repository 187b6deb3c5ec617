"""Masked attention: the defect sees the background, the background never sees the defect (`models.region`)."""

from __future__ import annotations

from math import isqrt
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend

from models.kernels.channels_last import is_fused
from models.region import RIDING, Region


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
            return x.view(*x.shape[:2], attn.heads, -1)

        query, key, value = heads(attn.to_q(hidden_states)), heads(attn.to_k(context)), heads(attn.to_v(context))
        if attn.norm_q is not None:
            query = attn.norm_q(query)
        if attn.norm_k is not None:
            key = attn.norm_k(key)
        attended = _attended(query, key, value, region, cross)

        out: Tensor = attn.to_out[0](attended.flatten(2))
        out = attn.to_out[1](out)
        if grid is not None:
            out = out.transpose(1, 2).reshape(*out.shape[::2], *grid)
        if attn.residual_connection:
            out = out + residual
        return out if attn.rescale_output_factor == 1 else out / float(attn.rescale_output_factor)


def _attended(query: Tensor, key: Tensor, value: Tensor, region: Region | None, cross: bool) -> Tensor:
    """Scaled dot-product attention of (B, hw, heads, d) under a region, (B, hw, heads, d)."""
    width, bias = query.shape[-1], None
    if region is not None:
        side, dtype = isqrt(query.shape[1]), query.dtype
        riders = region.riders(side, side, dtype, cross=cross)
        if riders is not None:
            query, key = (_with(x, those) for x, those in zip((query, key), riders, strict=True))
            if not _takes_two_widths(query, key, value):
                value = functional.pad(value, (0, RIDING))
        else:
            bias = region.cross_bias(side, side, dtype) if cross else region.self_bias(side, side, dtype)
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=width**-0.5)
    return attended.transpose(1, 2)[..., :width]


def _with(x: Tensor, riders: Tensor) -> Tensor:
    """(B, n, heads, d) with the same riders (B, n, RIDING) in every head."""
    if is_fused(x):
        from models.kernels.fused.riding import ridden

        return ridden(x.contiguous(), riders.contiguous())
    return torch.cat([x, riders[:, :, None].expand(*x.shape[:3], RIDING)], dim=-1)


def install_masked_attention(unet: Any) -> None:
    """Let every attention layer of a diffusers U-Net read `region` from `cross_attention_kwargs`."""
    unet.set_attn_processor(MaskedAttnProcessor())


def _takes_two_widths(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Whether the kernel that torch takes for these (B, n, heads, ·) lets values be narrower than keys."""
    if not query.is_cuda or torch.compiler.is_compiling() or torch.is_grad_enabled():
        return False
    chosen = torch._fused_sdp_choice(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
    return SDPBackend(chosen) == SDPBackend.CUDNN_ATTENTION
