"""Layers of a CPU that oneDNN does, where torch's own choice is slow."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

VECTORS = 8
"""Rows of a product with a matrix of vectors."""


class OneDnnConv2d(nn.Conv2d):
    """A convolution that oneDNN does whenever nothing is to be learned.

    For one small picture on one thread torch unfolds it and multiplies matrices, which takes up to twice as long,
    and adds up in another order than for several pictures.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not is_for_onednn(input, weight):
            convolved: Tensor = super()._conv_forward(input, weight, bias)
        else:
            padding: tuple[int, ...] = self.padding  # type: ignore[assignment]
            convolved = torch.mkldnn_convolution(
                input, weight, bias, padding, self.stride, self.dilation, self.groups
            )
        return convolved


class OneDnnLinear(nn.Linear):
    """A linear layer that oneDNN does whenever nothing is to be learned.

    torch asks MKL, which on the CPUs of another maker takes twice as long. Of one vector an item, as a time
    embedding is, both add up by how many there are; so there are always as many.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not is_for_onednn(input, self.weight):
            return super().forward(input)
        if input.ndim == 2:
            return torch.cat([self._filled_up(some) for some in torch.split(input, VECTORS)])
        return self._product(input)

    def _filled_up(self, vectors: Tensor) -> Tensor:
        lacking = VECTORS - len(vectors)
        return self._product(functional.pad(vectors, (0, 0, 0, lacking)))[: len(vectors)]

    def _product(self, input: Tensor) -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(input, self.weight, self.bias, "none", [], "")
        return product


class SingleGroupNorm(nn.GroupNorm):
    """Normalises the pictures of several items one after the other, whenever nothing is to be learned.

    With channels last torch adds up what its threads have counted, and cuts the rows of all pictures among them.
    """

    def forward(self, input: Tensor) -> Tensor:
        if len(input) == 1 or not is_for_onednn(input, self.weight):
            return super().forward(input)
        return torch.cat([super(SingleGroupNorm, self).forward(one) for one in torch.split(input, 1)])


def use_onednn(network: nn.Module) -> None:
    """Let oneDNN do the plain convolutions and the linear layers of a network on a CPU, channels last.

    Its weights and their names stay as they are.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    for layer in network.modules():
        if type(layer) is nn.Conv2d and layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
            layer.__class__ = OneDnnConv2d
        elif type(layer) is nn.Linear:
            layer.__class__ = OneDnnLinear
        elif type(layer) is nn.GroupNorm and layer.affine:
            layer.__class__ = SingleGroupNorm
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def is_for_onednn(input: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN does a layer: in float32 on a CPU, where nothing is to be learned."""
    full = input.dtype == weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    full = full and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return full and input.device.type == "cpu" and not torch.is_grad_enabled()
