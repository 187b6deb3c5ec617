"""Kernels of Triton and the layers that take them: what torch and diffusers give, but for rounding."""

from __future__ import annotations

import os

import pytest
import torch
from torch.nn import functional

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton", reason="needs Triton, which comes with torch for CUDA")

from models import attention
from models.backbone import Backbone
from models.kernels import channels_last
from models.kernels.channels_last import ChannelsLastResnetBlock, use_channels_last
from models.kernels.fused.gating import gated
from models.kernels.fused.group_norm import group_norm
from models.kernels.fused.riding import ridden
from models.region import Region
from tests.models.tiny import TOKENS, WIDTH, tiny_backbone

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


@pytest.mark.parametrize("shifted", [False, True])
def test_it_shifts_before_and_activates_after(shifted: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 48, 9, 7, generator=generator).to(DEVICE).to(memory_format=torch.channels_last)
    shift = 4 * torch.randn(2, 48, generator=generator).to(DEVICE)
    weight, bias = torch.randn(2, 48, generator=generator).to(DEVICE)
    ours = group_norm(x, 4, weight, bias, 1e-5, shift=shift if shifted else None, silu=True)
    before = x + shift[:, :, None, None] if shifted else x
    expected = functional.silu(functional.group_norm(before, 4, weight, bias, 1e-5))
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("width", [16, 1280])
def test_gating_is_that_of_gelu(width: int) -> None:
    x = torch.randn(2, 5, 2 * width, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    value, gate = x.chunk(2, dim=-1)
    torch.testing.assert_close(gated(x), value * functional.gelu(gate), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("heads", "width"), [(8, 40), (2, 4), (3, 160)])
def test_riders_ride_along_with_every_head(heads: int, width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x, riders = torch.randn(2, 37, heads, width, generator=generator), torch.randn(2, 37, 8, generator=generator)
    x, riders = x.to(DEVICE), riders.to(DEVICE)
    expected = torch.cat([x, riders[:, :, None].expand(2, 37, heads, 8)], dim=-1)
    assert torch.equal(ridden(x, riders), expected)


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> Backbone:
    """A backbone on a GPU; without one, kernels are interpreted on the CPU."""
    for module in (channels_last, attention):
        monkeypatch.setattr(module, "is_fused", lambda x: not torch.is_grad_enabled())
    backbone = tiny_backbone(window_px=128, vae="kl")
    for network in (backbone.unet, backbone.vae):
        network.to(DEVICE)
        use_channels_last(network, fused=True)
    return backbone


def test_a_backbone_predicts_and_decodes_as_before(fused: Backbone) -> None:
    plain = tiny_backbone(window_px=128, vae="kl")
    assert any(type(layer) is ChannelsLastResnetBlock for layer in fused.unet.modules())
    generator = torch.Generator().manual_seed(1)
    z, tokens = (
        torch.randn(2, 4, 32, 32, generator=generator),
        torch.randn(2, TOKENS + 3, WIDTH, generator=generator),
    )
    mask = (torch.rand(2, 1, 32, 32, generator=generator) > 0.7).float()
    valid = torch.tensor([[True, False, True], [True, True, True]])
    t = torch.tensor([400, 3])
    with torch.inference_mode():
        expected = plain.predict_noise(z, t, tokens, Region(mask, TOKENS, valid))
        there = Region(mask.to(DEVICE), TOKENS, valid.to(DEVICE))
        ours = fused._predicted(z.to(DEVICE), t.to(DEVICE), tokens.to(DEVICE), there)
        torch.testing.assert_close(ours.cpu(), expected, atol=1e-2 if DEVICE == "cuda" else 1e-4, rtol=0)
        assert ours.std() > 0.01
        pictures = fused.vae.decode(z.to(DEVICE)).sample.cpu()
        torch.testing.assert_close(
            pictures, plain.vae.decode(z).sample, atol=1e-2 if DEVICE == "cuda" else 1e-4, rtol=0
        )


def test_what_is_to_be_learned_goes_the_old_way(fused: Backbone) -> None:
    plain = tiny_backbone(window_px=128, vae="kl")
    z, t, tokens = torch.ones(1, 4, 32, 32), torch.tensor([400]), torch.ones(1, TOKENS, WIDTH)
    for backbone, device in ((fused, DEVICE), (plain, "cpu")):
        backbone.unet.requires_grad_(True)
        backbone._predicted(z.to(device), t.to(device), tokens.to(device), None).square().mean().backward()
    ours, expected = (one.unet.conv_in.weight.grad.cpu() for one in (fused, plain))
    torch.testing.assert_close(ours, expected, atol=1e-2 if DEVICE == "cuda" else 1e-5, rtol=0)
    assert expected.abs().max() > 0


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
