"""Layers of a GPU with channels last, the layout that convolutions on tensor cores want.

Each gives what diffusers' own layer gives, but for rounding, in fewer passes over memory: to change layouts, add
and activate takes a GPU longer than all convolutions and products of matrices together. Whatever is to be learned
goes the old way.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import torch
from diffusers.models.activations import GEGLU
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import Tensor, nn

_log = logging.getLogger(__name__)


class ChannelsLastGroupNorm(nn.GroupNorm):
    """Group norm that leaves channels last; that of torch copies each picture to channels first."""

    def forward(self, input: Tensor) -> Tensor:
        if not is_fused(input) or input.ndim != 4:
            return super().forward(input)
        return _normed(self, input)


class ChannelsLastResnetBlock(ResnetBlock2D):  # type: ignore[misc]
    """A block that adds its time embedding and activates within its norms."""

    def forward(self, input_tensor: Tensor, temb: Tensor | None, *args: Any, **kwargs: Any) -> Tensor:
        if not is_fused(input_tensor):
            whole: Tensor = super().forward(input_tensor, temb, *args, **kwargs)
            return whole
        shift = None if temb is None else self.time_emb_proj(self.nonlinearity(temb))
        hidden = self.conv1(_normed(self.norm1, input_tensor, silu=True))
        hidden = self.conv2(_normed(self.norm2, hidden, shift=shift, silu=True))
        beside = input_tensor if self.conv_shortcut is None else self.conv_shortcut(input_tensor)
        added: Tensor = beside + hidden
        return added

    @staticmethod
    def can_be(block: ResnetBlock2D) -> bool:
        """Whether a block is of the usual kind."""
        return (
            block.time_embedding_norm == "default"
            and not block.skip_time_act
            and isinstance(block.nonlinearity, nn.SiLU)
            and block.upsample is None
            and block.downsample is None
            and block.output_scale_factor == 1
            and not block.dropout.p
            and all(isinstance(norm, nn.GroupNorm) and norm.affine for norm in (block.norm1, block.norm2))
        )


class ChannelsLastTransformer(Transformer2DModel):  # type: ignore[misc]
    """A transformer that gives back its picture as it lies."""

    def _get_output_for_continuous_inputs(
        self, hidden_states: Tensor, residual: Tensor, batch_size: int, height: int, width: int, inner_dim: int
    ) -> Tensor:
        if self.use_linear_projection:
            hidden_states = self.proj_out(hidden_states)
        picture = hidden_states.reshape(batch_size, height, width, inner_dim).permute(0, 3, 1, 2)
        if not self.use_linear_projection:
            picture = self.proj_out(picture)
        added: Tensor = picture + residual
        return added


class FusedGEGLU(GEGLU):  # type: ignore[misc]
    """A gated layer that gates in one pass."""

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if not is_fused(hidden_states):
            whole: Tensor = super().forward(hidden_states, *args, **kwargs)
            return whole
        from models.kernels.fused.gating import gated

        return gated(self.proj(hidden_states))


def use_channels_last(network: nn.Module, *, fused: bool) -> None:
    """Lay out a network on a GPU channels last; its weights and their names stay as they are.

    Args:
        fused: its layers keep the layout, too; of a network that is compiled the compiler sees to that.
    """
    for layer in network.modules() if fused else ():
        if isinstance(layer, nn.GroupNorm) and layer.affine:
            layer.__class__ = ChannelsLastGroupNorm
        elif type(layer) is ResnetBlock2D and ChannelsLastResnetBlock.can_be(layer):
            layer.__class__ = ChannelsLastResnetBlock
        elif type(layer) is Transformer2DModel and layer.is_input_continuous:
            layer.__class__ = ChannelsLastTransformer
        elif type(layer) is GEGLU:
            layer.__class__ = FusedGEGLU
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def is_fused(x: Tensor) -> bool:
    """Whether a layer's input goes through kernels of Triton: on a GPU, where nothing is to be learned."""
    compiles = torch.compiler.is_compiling()
    return x.is_cuda and not compiles and not torch.is_grad_enabled() and _can_fuse()


@cache
def _can_fuse() -> bool:
    """Whether a kernel of Triton runs here: it must be there, and a C compiler for what starts them."""
    try:
        from models.kernels.fused.gating import gated

        gated(torch.zeros(1, 2, device="cuda"))
    except Exception as error:  # whatever it is, there is another way
        _log.warning(
            "layers go the slower way, for kernels of Triton do not run here; is a C compiler missing? %s: %s",
            type(error).__name__,
            error,
        )
        return False
    return True


def _normed(norm: Any, x: Tensor, shift: Tensor | None = None, silu: bool = False) -> Tensor:
    from models.kernels.fused.group_norm import group_norm

    x = x.contiguous(memory_format=torch.channels_last)
    return group_norm(x, norm.num_groups, norm.weight, norm.bias, norm.eps, shift=shift, silu=silu)
