"""Kernels of a CPU, where torch's own choice is slow."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class OneDnnConv2d(nn.Conv2d):
    """A convolution that oneDNN does whenever nothing is to be learned.

    For one small picture on one thread torch unfolds it and multiplies matrices, which takes up to twice as long,
    and adds up in another order than for several pictures.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        full = input.dtype == weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        if torch.is_grad_enabled() or input.device.type != "cpu" or not full:
            convolved: Tensor = super()._conv_forward(input, weight, bias)
        else:
            padding: tuple[int, ...] = self.padding  # type: ignore[assignment]
            convolved = torch.mkldnn_convolution(
                input, weight, bias, padding, self.stride, self.dilation, self.groups
            )
        return convolved


def use_onednn(network: nn.Module) -> None:
    """Let oneDNN do the plain convolutions of a network on a CPU; its weights and their names stay as they are."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    for layer in network.modules():
        if type(layer) is nn.Conv2d and layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
            layer.__class__ = OneDnnConv2d
