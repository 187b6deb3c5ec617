"""At which precision is learned: networks at half of it where that is faster, what learns always in float32."""

from __future__ import annotations

from typing import Any

import torch

LARGE = 200_000_000
"""Parameters from which a U-Net makes its activations anew in the backward pass instead of keeping them (gradient
checkpointing, Chen et al., arXiv 1604.06174): a third more time, a fraction of the memory."""


def compute_dtype(device: torch.device, weights: torch.dtype = torch.float32) -> torch.dtype:
    """What the networks compute in: that of half-precision weights; else bfloat16 on a GPU that has it, float16 on
    one that does not, and float32 on a CPU, which is faster there."""
    if weights != torch.float32:
        return weights
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def autocast(device: torch.device, weights: torch.dtype = torch.float32) -> torch.autocast:
    """Lets the networks compute in `compute_dtype` while the block runs."""
    dtype = compute_dtype(device, weights)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


def scaler(device: torch.device, weights: torch.dtype) -> torch.amp.GradScaler:
    """Keeps small gradients from vanishing in float16; of other types it does nothing.

    It begins low: a teaching is short, and each step that overflows is lost.
    """
    is_half = compute_dtype(device, weights) is torch.float16
    return torch.amp.GradScaler(device.type, init_scale=2.0**10, enabled=is_half)


def readied(unet: Any) -> Any:
    """A U-Net some of whose parameters learn, ready for it: those are float32, and a large one checkpoints."""
    for parameter in unet.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    if sum(parameter.numel() for parameter in unet.parameters()) >= LARGE:
        unet.enable_gradient_checkpointing()
    return unet.train()
