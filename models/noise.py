"""Seeded noise, made on the CPU, so that it is the same on every device."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def noise_key(seed: int, index: int, region: str, attempt: int, defect: int = 0) -> int:
    """63 bits from a hash of (seed, index, region, attempt, defect): an item's noise depends on nothing else.

    Args:
        defect: which of several defects in one image; the first has the key of one that is alone.
    """
    ordinal = f"|{defect}" if defect else ""
    text = f"flawsmith-noise-1|{seed}|{index}|{region}|{attempt}{ordinal}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def seeded_noise(key: int, shape: tuple[int, ...]) -> Tensor:
    """Standard normal ε of this shape from its key: float32 on the CPU."""
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(key), dtype=torch.float32)
