"""Whether a U-Net gives a row the same bits alone and beside others, which is for a device's kernels to say."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from models.adapters import MAX_DEFECT_TOKENS
from models.backbone import Backbone
from models.region import Region

_told: WeakKeyDictionary[torch.nn.Module, dict[tuple[int, int], bool]] = WeakKeyDictionary()
"""What U-Nets said, by the most rows and the threads."""


def rows_alike(backbone: Backbone, most: int) -> bool:
    """Whether ε_θ of a row is the same to the last bit in calls of 1 to ``most`` rows.

    Kernels are chosen by shape, type and number of threads, not by what is in a tensor, so noise tells it; it is
    asked with a region and without one, as denoising and inversion ask. A U-Net is asked once.
    """
    told = _told.setdefault(backbone.unet, {})
    asked = (most, torch.get_num_threads())
    if asked not in told:
        told[asked] = _asked(backbone, most)
    return told[asked]


@torch.inference_mode()
def _asked(backbone: Backbone, most: int) -> bool:
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(most, *shape, generator=generator).to(backbone.device, backbone.dtype)

    side, known = backbone.latent_size, backbone.background_tokens
    z = noise(backbone.latent_channels, side, side)
    t = torch.linspace(1, len(backbone.alphas_cumprod) - 1, most).long().to(backbone.device)
    prompts, mask = noise(known + MAX_DEFECT_TOKENS, backbone.token_width), noise(1, side, side) > 0
    valid = noise(MAX_DEFECT_TOKENS) > 0

    def inverting(rows: slice) -> Tensor:
        return backbone.predict_noise(z[rows], t[rows], prompts[rows, :known])

    def denoising(rows: slice) -> Tensor:
        region = Region(mask[rows].to(z), known, valid[rows])
        return backbone.predict_noise(z[rows], t[rows], prompts[rows], region)

    return all(_alike(predict, most) for predict in (inverting, denoising))


def _alike(predict: Callable[[slice], Tensor], most: int) -> bool:
    alone = torch.cat([predict(slice(row, row + 1)) for row in range(most)])
    return all(torch.equal(predict(slice(rows)), alone[:rows]) for rows in range(2, most + 1))
