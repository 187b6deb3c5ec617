"""Layers of a CPU: what torch gives, the same for a row in any company, and learned as ever."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from models.kernels.onednn import VECTORS, OneDnnConv2d, OneDnnLinear, SingleGroupNorm, use_onednn
from tests.models.tiny import tiny_backbone


def conv(**settings: object) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(48, 32, 3, **settings).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def pictures() -> torch.Tensor:
    return torch.randn(4, 48, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "settings", [{"padding": 1}, {"stride": 2, "padding": 1}, {"dilation": 2}, {"groups": 4}, {"bias": False}]
)
def test_it_gives_what_torch_gives(settings: dict[str, object]) -> None:
    plain = conv(**settings)
    ours = copy.deepcopy(plain)
    use_onednn(ours)
    assert type(ours) is OneDnnConv2d
    with torch.inference_mode():
        torch.testing.assert_close(ours(pictures()), plain(pictures()), rtol=1e-5, atol=1e-5)


def test_a_row_comes_out_the_same_in_any_company() -> None:
    ours = conv(padding=1)
    use_onednn(ours)
    x = pictures()
    with torch.inference_mode():
        alone = torch.cat([ours(row) for row in x.split(1)])
        for rows in (2, 3, 4):
            assert torch.equal(ours(x[:rows]), alone[:rows])


def test_what_learns_learns_by_torch_itself() -> None:
    plain = conv(padding=1)
    ours = copy.deepcopy(plain)
    use_onednn(ours)
    for layer in (plain, ours):
        layer(pictures()).square().sum().backward()
    assert torch.equal(ours.weight.grad, plain.weight.grad)
    assert ours.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_with_torch(dtype: torch.dtype) -> None:
    plain = conv(padding=1)
    ours = copy.deepcopy(plain)
    use_onednn(ours)
    with torch.inference_mode(), torch.autocast("cpu", dtype):
        assert torch.equal(ours(pictures()), plain(pictures()))
    with torch.inference_mode(), torch.autocast("cpu", dtype):
        assert torch.equal(ours.to(dtype)(pictures()), plain.to(dtype)(pictures()))


def test_other_paddings_stay_with_torch() -> None:
    for settings in ({"padding": "same"}, {"padding": 1, "padding_mode": "reflect"}):
        layer = conv(**settings)
        use_onednn(layer)
        assert type(layer) is nn.Conv2d


@pytest.mark.parametrize("shape", [(4, 48), (VECTORS + 3, 48), (4, 9, 48)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_gives_what_torch_gives(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    plain = nn.Linear(48, 32, bias)
    ours = copy.deepcopy(plain)
    use_onednn(ours)
    assert type(ours) is OneDnnLinear
    x = torch.randn(shape)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), plain(x), rtol=1e-5, atol=1e-5)
    x.requires_grad_()
    assert torch.equal(ours(x), plain(x)), "what learns learns by torch itself"


def test_vectors_come_out_the_same_in_any_company() -> None:
    torch.manual_seed(0)
    ours = nn.Linear(256, 192)
    use_onednn(ours)
    x = torch.randn(2 * VECTORS, 256)
    with torch.inference_mode():
        alone = torch.cat([ours(row) for row in x.split(1)])
        for rows in range(2, len(x) + 1):
            assert torch.equal(ours(x[:rows]), alone[:rows])


@pytest.mark.parametrize("threads", [1, 2])
def test_pictures_are_normalised_the_same_in_any_company(threads: int) -> None:
    torch.manual_seed(0)
    plain = nn.GroupNorm(8, 64)
    plain.weight.data.normal_()
    ours = copy.deepcopy(plain)
    use_onednn(ours)
    assert type(ours) is SingleGroupNorm
    x = torch.randn(4, 64, 32, 32).contiguous(memory_format=torch.channels_last)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            torch.testing.assert_close(ours(x), plain(x), rtol=1e-5, atol=1e-5)
            alone = torch.cat([ours(row) for row in x.split(1)])
            for rows in (2, 3, 4):
                assert torch.equal(ours(x[:rows]), alone[:rows])
    finally:
        torch.set_num_threads(before)


def test_a_backbone_on_a_cpu_has_them_and_its_copy_too() -> None:
    backbone = tiny_backbone()
    for network in (backbone.unet, backbone.vae, copy.deepcopy(backbone.unet)):
        kinds = {type(layer) for layer in network.modules() if hasattr(layer, "weight")}
        assert not kinds & {nn.Conv2d, nn.Linear, nn.GroupNorm}
        assert OneDnnConv2d in kinds
