"""Group norm with channels last: what torch gives, to float32's rounding."""

from __future__ import annotations

import os

import pytest
import torch
from torch.nn import functional

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton", reason="needs Triton, which comes with torch for CUDA")

from models.kernels.group_norm_triton import group_norm

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize(
    ("channels", "groups", "height", "width"),
    [(320, 32, 16, 16), (960, 32, 4, 8), (40, 4, 7, 5), (128, 32, 96, 200), (96, 1, 33, 31)],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_it_gives_what_torch_gives(
    channels: int, groups: int, height: int, width: int, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(channels)
    x = 3 * torch.randn(2, channels, height, width, generator=generator) + 5
    weight, bias = torch.randn(2, channels, generator=generator)
    x, weight, bias = (each.to(DEVICE, dtype) for each in (x, weight, bias))
    x = x.to(memory_format=torch.channels_last)
    ours = group_norm(x, groups, weight, bias, 1e-5)
    assert ours.is_contiguous(memory_format=torch.channels_last)
    exact = functional.group_norm(x.double(), groups, weight.double(), bias.double(), 1e-5)
    rounding = torch.finfo(dtype).eps
    torch.testing.assert_close(ours.double(), exact, rtol=2 * rounding, atol=2e-5 + 2 * rounding)


def test_a_picture_comes_out_the_same_in_any_company() -> None:
    x = torch.randn(3, 64, 40, 40, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    x = x.to(memory_format=torch.channels_last)
    weight = bias = torch.ones(64, device=DEVICE)
    together = group_norm(x, 8, weight, bias, 1e-5)
    alone = [
        group_norm(one[None].contiguous(memory_format=torch.channels_last), 8, weight, bias, 1e-5) for one in x
    ]
    assert torch.equal(together, torch.cat(alone))


def test_a_picture_of_one_colour_becomes_the_bias() -> None:
    x = torch.full((1, 16, 8, 8), 7.0, device=DEVICE).to(memory_format=torch.channels_last)
    bias = torch.arange(16.0, device=DEVICE)
    flat = group_norm(x, 4, torch.ones(16, device=DEVICE), bias, 1e-5)
    torch.testing.assert_close(flat, bias[None, :, None, None].expand_as(x), atol=1e-2, rtol=0)
