"""Low-rank weights are worn and taken off again, in place or not."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from torch import Tensor

from models.lora import Dress, LoraError, worn
from tests.models.tiny import TOKENS, WIDTH, tiny_backbone, tiny_low_rank


@torch.inference_mode()
def predicted(unet: Any) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    z, tokens = torch.randn(1, 4, 16, 16, generator=generator), torch.randn(1, TOKENS, WIDTH, generator=generator)
    noise: Tensor = unet(z, torch.tensor([400]), encoder_hidden_states=tokens).sample
    return noise


def test_a_dress_lies_ready_and_is_worn_where_the_weights_lie() -> None:
    unet = tiny_backbone().unet
    weights, before = (
        tiny_low_rank(unet),
        {name: value.clone() for name, value in unet.state_dict().items()},
    )
    lies = {name: value.data_ptr() for name, value in unet.state_dict().items()}
    bare = predicted(unet)
    with worn(unet, weights):
        expected = predicted(unet)
    dress = Dress(unet, weights)
    for _ in range(2):
        with dress.worn():
            torch.testing.assert_close(predicted(unet), expected, atol=1e-6, rtol=0)
            assert {name: value.data_ptr() for name, value in unet.state_dict().items()} == lies
        assert torch.equal(predicted(unet), bare)
    assert all(torch.equal(value, before[name]) for name, value in unet.state_dict().items())
    assert not torch.allclose(expected, bare, atol=1e-3)


@pytest.mark.parametrize("in_place", [False, True])
def test_weights_are_taken_off_when_something_goes_wrong(in_place: bool) -> None:
    unet = tiny_backbone().unet
    bare = predicted(unet)
    wearing: AbstractContextManager[None] = (
        Dress(unet, tiny_low_rank(unet)).worn() if in_place else worn(unet, tiny_low_rank(unet))
    )
    with pytest.raises(KeyError), wearing:
        raise KeyError
    assert torch.equal(predicted(unet), bare)


def test_no_weights_change_nothing() -> None:
    unet = tiny_backbone().unet
    bare = predicted(unet)
    with Dress(unet, {}).worn(), worn(unet, {}):
        assert torch.equal(predicted(unet), bare)


def test_weights_that_fit_no_module_are_refused_before_any_is_worn() -> None:
    unet = tiny_backbone().unet
    bare, weights = predicted(unet), tiny_low_rank(unet)
    weights["nowhere.lora_A.weight"] = weights["nowhere.lora_B.weight"] = torch.zeros(2, 2)
    with pytest.raises(LoraError, match="nowhere"), worn(unet, weights):
        pass
    assert torch.equal(predicted(unet), bare)
