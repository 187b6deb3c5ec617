"""Low-rank changes of a U-Net's weights (LoRA, Hu et al., arXiv 2106.09685): learned by peft, worn while drawing.

A change of a weight W is ΔW = B A with A (r, in…) and B (out, r…); what is stored is scaled by 1, so that peft and
diffusers read it without a word on scaling.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]
"""``<module>.lora_A.weight`` and ``<module>.lora_B.weight``, named as the U-Net names its modules."""

_A, _B = ".lora_A.weight", ".lora_B.weight"


class LoraError(Exception):
    """Weights that do not fit a U-Net; the message names the first that does not."""


def check(unet: Any, weights: Weights) -> None:
    """Raise LoraError unless the weights are pairs that fit modules of this U-Net."""
    for name in modules_of(weights):
        _checked(unet, name, weights)


def modules_of(weights: Weights) -> list[str]:
    """Names of the modules that are changed.

    Raises:
        LoraError: a name has another form, or one of a pair is missing.
    """
    names = {key.removesuffix(_A).removesuffix(_B) for key in weights}
    for name in sorted(names):
        if name + _A not in weights or name + _B not in weights:
            raise LoraError(f"{name}: low-rank weights come as a pair, {_A[1:]} and {_B[1:]}")
    return sorted(names)


@contextmanager
def worn(unet: Any, weights: Weights) -> Iterator[None]:
    """W + ΔW while the block runs; afterwards the very values that were there.

    On a GPU they are put where W lies, for what was recorded of the U-Net (`models.graphs`) reads them there. On a
    CPU W may be a file that is mapped, and stays as it is.
    """
    if next(unet.parameters()).is_cuda:
        with Dress(unet, weights).worn():
            yield
        return
    changed = [(module, module.weight.data, value) for module, value in _changed(unet, weights)]
    try:
        for module, _, value in changed:
            module.weight.data = value
        yield
    finally:
        for module, own, _ in changed:
            module.weight.data = own


class Dress:
    """W + ΔW of a U-Net on a GPU, ready to be put where W lies and taken off again.

    Memory is that of the changed weights, twice.
    """

    def __init__(self, unet: Any, weights: Weights) -> None:
        changed = list(_changed(unet, weights))
        self._there = [module.weight.data for module, _ in changed]
        self._own = [there.clone() for there in self._there]
        self._worn = [value for _, value in changed]

    @contextmanager
    def worn(self) -> Iterator[None]:
        """As `worn`."""
        if not self._there:
            yield
            return
        try:
            torch._foreach_copy_(self._there, self._worn)
            yield
        finally:
            torch._foreach_copy_(self._there, self._own)


def _changed(unet: Any, weights: Weights) -> Iterator[tuple[Any, Tensor]]:
    """Modules with W + ΔW.

    Raises:
        LoraError: weights do not fit.
    """
    for name in modules_of(weights):
        module = _checked(unet, name, weights)
        own = module.weight.data
        change = _product(weights[name + _B].to(own.device), weights[name + _A].to(own.device))
        yield module, (own.float() + change.view(own.shape)).to(own.dtype)


def _product(b: Tensor, a: Tensor) -> Tensor:
    """B A as a matrix: (out, in · kernel)."""
    return b.float().flatten(1) @ a.float().flatten(1)


def _checked(unet: Any, name: str, weights: Weights) -> Any:
    try:
        module = unet.get_submodule(name)
        shape = module.weight.shape
    except AttributeError:
        raise LoraError(f"{name}: the U-Net has no such module with a weight") from None
    a, b = weights[name + _A], weights[name + _B]
    rank = a.shape[0]
    expected_b = (shape[0], rank) + (1,) * (len(shape) - 2)
    if a.shape[1:] != shape[1:] or tuple(b.shape) != expected_b:
        raise LoraError(f"{name}: {tuple(b.shape)} times {tuple(a.shape)} does not fit a weight of {tuple(shape)}")
    return module
