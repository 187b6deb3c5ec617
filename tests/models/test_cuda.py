"""What only a GPU can tell: its ways change nothing that is drawn, and what learns there learns as on a CPU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from models.backbone import Backbone
from models.evaluation.schooling import Schooling, trained
from models.generation import Generator
from models.items import ItemRequest
from models.kernels.channels_last import ChannelsLastGroupNorm
from models.lora import worn
from models.region import Region
from models.teaching.lesson import Lesson
from models.teaching.teaching import Teaching
from tests.models.evaluation.discs import pair
from tests.models.teaching.parts import photo, search_briefly
from tests.models.tiny import TOKENS, WIDTH, tiny_adapter, tiny_backbone, tiny_low_rank

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

DEFECT_TOKENS = 4
ROWS = 3


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return replace(tiny_backbone(window_px=128), device=torch.device("cuda"))


def inputs(seed: int, masked: bool) -> tuple[Tensor, Tensor, Tensor, Region | None]:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(ROWS, 4, 32, 32, generator=generator).cuda()
    tokens = torch.randn(ROWS, TOKENS + DEFECT_TOKENS * masked, WIDTH, generator=generator).cuda()
    region = None
    if masked:
        mask = (torch.rand(ROWS, 1, 32, 32, generator=generator) > 0.7).float().cuda()
        region = Region(mask, TOKENS, (torch.rand(ROWS, DEFECT_TOKENS, generator=generator) > 0.5).cuda())
    return z, torch.full((ROWS,), 100 * seed).cuda(), tokens, region


def test_all_its_norms_leave_channels_last(backbone: Backbone) -> None:
    norms = [layer for layer in backbone.unet.modules() if isinstance(layer, torch.nn.GroupNorm)]
    assert norms
    assert all(type(norm) is ChannelsLastGroupNorm for norm in norms)


@pytest.mark.parametrize("masked", [False, True])
@torch.inference_mode()
def test_a_replayed_call_predicts_what_an_eager_one_does(backbone: Backbone, masked: bool) -> None:
    for seed in (1, 2, 3):
        given = inputs(seed, masked)
        assert torch.equal(backbone.predict_noise(*given), backbone._predicted(*given))


@torch.inference_mode()
def test_it_predicts_what_a_cpu_does(backbone: Backbone) -> None:
    on_cpu = tiny_backbone(window_px=128)
    z, t, tokens, region = inputs(1, masked=True)
    assert region is not None
    there = Region(region.mask.cpu(), TOKENS, region.defect_tokens_valid.cpu())
    expected = on_cpu.predict_noise(z.cpu(), t.cpu(), tokens.cpu(), there)
    ours = backbone.predict_noise(z, t, tokens, region).cpu()
    torch.testing.assert_close(ours, expected, atol=2e-2, rtol=0)  # convolutions round to TF32


@torch.inference_mode()
def test_weights_are_worn_by_what_was_recorded_before_and_taken_off_again(backbone: Backbone) -> None:
    given = inputs(1, masked=True)
    bare = backbone.predict_noise(*given)
    with worn(backbone.unet, tiny_low_rank(backbone.unet)):
        ours, eager = backbone.predict_noise(*given), backbone._predicted(*given)
    assert torch.equal(ours, eager)
    assert not torch.allclose(ours, bare, atol=1e-3)
    assert torch.equal(backbone.predict_noise(*given), bare)


def test_an_item_has_the_pixels_alone_that_it_has_beside_others(backbone: Backbone) -> None:
    adapter = replace(tiny_adapter(backbone), weights=tiny_low_rank(backbone.unet))
    image = np.random.default_rng(0).integers(0, 255, (160, 200, 3)).astype(np.uint8)
    requests = []
    for index in range(5):
        mask = np.zeros(image.shape[:2], dtype=np.bool_)
        mask[20 + 9 * index : 60 + 9 * index, 30:70] = True
        asked = ItemRequest.by_default(image, mask, adapter)
        requests.append(replace(asked, index=index, steps=5, guidance=1.0 + index % 2))
    together = Generator(backbone, batch_shape=4).generate(requests)
    for request, result in zip(requests, together, strict=True):
        (alone,) = Generator(backbone, batch_shape=4).generate([request])
        np.testing.assert_array_equal(alone.image, result.image)
        np.testing.assert_array_equal(alone.refined_mask, result.refined_mask)
        assert (alone.image != image).any()


def test_a_type_is_taught_as_on_a_cpu(backbone: Backbone) -> None:
    lesson = Lesson(
        "bar", "plate", steps=4, rank=2, crops=2, normal_crops=4, checks=2, places=1, items=1, defects=2
    )
    samples, normals = [photo(seed) for seed in range(3)], [photo(9, defect=False)]
    with pytest.MonkeyPatch.context() as patch:
        search_briefly(patch)
        teachings = [Teaching(one, lesson, samples, normals) for one in (tiny_backbone(window_px=128), backbone)]
        for teaching in teachings:
            assert teaching.advance(3600).phase == "done"
    expected, ours = (teaching.result() for teaching in teachings)
    assert ours.card["losses"] == pytest.approx(expected.card["losses"], rel=0.05)
    torch.testing.assert_close(ours.adapter.tokens, expected.adapter.tokens, atol=2e-2, rtol=0)
    assert all(weight.device.type == "cpu" for weight in ours.adapter.weights.values())


def test_a_detector_learns_as_on_a_cpu() -> None:
    pairs = [pair(number, ("hole", "bar", "")[number % 3]) for number in range(12)]
    schooling = Schooling(steps=60, crop=64, batch=6, width=16, rate=5e-3)
    expected, ours = (trained(pairs, schooling, ("hole", "bar"), device=device) for device in ("cpu", "cuda"))
    for number, type_ in ((100, "hole"), (101, "bar"), (102, "")):
        image = pair(number, type_).image
        assert np.abs(ours.judged(image) - expected.judged(image)).mean() < 0.05
