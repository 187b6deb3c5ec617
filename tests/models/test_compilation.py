"""A compiled U-Net: the same predictions, and nothing compiled anew from step to step."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters

from models import compilation
from models.backbone import Backbone
from models.fingerprint import fingerprint
from models.generation import Generator
from models.items import ItemRequest
from models.lora import worn
from models.region import Region
from tests.models.tiny import TOKENS, WIDTH, tiny_adapter, tiny_backbone, tiny_low_rank

ROWS, DEFECT_TOKENS = 2, 4
TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    """Nothing compiled before counts."""
    torch.compiler.reset()
    counters.clear()
    yield
    torch.compiler.reset()


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Backbone:
    """Traced and lowered as for the compiler, whose kernels would take a minute."""
    monkeypatch.setattr(compilation, "BACKEND", "aot_eager")
    return tiny_backbone(compiled=True)


def region(seed: int) -> Region:
    mask = torch.rand(ROWS, 1, 16, 16, generator=torch.Generator().manual_seed(seed)) > 0.7
    return Region(mask.float(), TOKENS, torch.ones(ROWS, DEFECT_TOKENS, dtype=torch.bool))


@torch.inference_mode()
def predicted(backbone: Backbone, seed: int, t: int = 500, region: Region | None = None) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(ROWS, 4, 16, 16, generator=generator)
    count = TOKENS + (0 if region is None else DEFECT_TOKENS)
    tokens = torch.randn(ROWS, count, WIDTH, generator=generator)
    return backbone.predict_noise(z, torch.full((ROWS,), t), tokens, region)


def graphs() -> int:
    return int(counters["stats"]["unique_graphs"])


def test_it_predicts_as_before_and_compiles_once_with_a_region_and_once_without(compiled: Backbone) -> None:
    plain = tiny_backbone()
    torch.testing.assert_close(predicted(compiled, 1), predicted(plain, 1), atol=TOLERANCE, rtol=0)
    under = region(1)
    ours = predicted(compiled, 2, 400, under)
    torch.testing.assert_close(ours, predicted(plain, 2, 400, region(1)), atol=TOLERANCE, rtol=0)
    assert graphs() == 2
    for step in (399, 40, 1):
        predicted(compiled, step, step, under)
        predicted(compiled, step, step)
    ours = predicted(compiled, 3, 7, region(2))
    torch.testing.assert_close(ours, predicted(plain, 3, 7, region(2)), atol=TOLERANCE, rtol=0)
    assert graphs() == 2, "steps, latents, prompts and regions are inputs"


def test_weights_that_a_type_wears_are_worn_by_what_was_compiled_before(compiled: Backbone) -> None:
    plain = tiny_backbone()
    bare = predicted(compiled, 1, region=region(1))
    weights = tiny_low_rank(compiled.unet)
    with worn(plain.unet, weights):
        expected = predicted(plain, 1, region=region(1))
    with worn(compiled.unet, weights):
        ours = predicted(compiled, 1, region=region(1))
    torch.testing.assert_close(ours, expected, atol=TOLERANCE, rtol=0)
    assert (ours - bare).abs().max() > 100 * TOLERANCE
    assert torch.equal(predicted(compiled, 1, region=region(1)), bare), "taken off again"
    assert graphs() == 1


def test_names_and_digest_stay_and_a_copy_that_learns_is_not_compiled(compiled: Backbone) -> None:
    assert compiled.digest == tiny_backbone().digest
    copied = copy.deepcopy(compiled.unet)
    assert copied.state_dict().keys() == compiled.unet.state_dict().keys()
    copied(torch.zeros(1, 4, 16, 16), 1, torch.zeros(1, TOKENS, WIDTH)).sample.mean().backward()
    assert copied.conv_in.weight.grad is not None
    assert graphs() == 0


def test_items_of_a_compiled_backbone_have_another_fingerprint(compiled: Backbone) -> None:
    assert fingerprint(compiled, 2) != fingerprint(tiny_backbone(), 2)


def test_an_item_is_drawn_with_two_compilations_whatever_its_steps_and_masks(compiled: Backbone) -> None:
    """Rows are padded, on a CPU too."""
    adapter = replace(tiny_adapter(compiled), weights=tiny_low_rank(compiled.unet))
    image = np.full((80, 96, 3), 128, dtype=np.uint8)
    generator = Generator(compiled, batch_shape=2)
    for count, corner in ((3, 8), (1, 30)):
        mask = np.zeros(image.shape[:2], dtype=np.bool_)
        mask[corner : corner + 20, corner : corner + 20] = True
        request = replace(ItemRequest.by_default(image, mask, adapter), steps=4, guidance=2.0)
        assert len(generator.generate([replace(request, index=i) for i in range(count)])) == count
    assert graphs() == 2
