"""Learning at half precision, and with activations made anew: the same lesson with less memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from models.backbone import Backbone
from models.samples import Sample
from models.teaching.learner import Learner
from models.teaching.lesson import Lesson
from models.teaching.teaching import Teaching
from models.teaching.weights import attached
from models.training import precision
from tests.models.teaching.parts import photo, search_briefly
from tests.models.tiny import tiny_backbone

LESSON = Lesson(
    name="bar", steps=4, rank=2, crops=1, normal_crops=2, checks=2, places=1, items=1, defects=2, backgrounds=1
)


def prepared(backbone: Backbone) -> Teaching:
    """A teaching that is about to learn."""
    samples: list[Sample] = [photo(seed) for seed in range(5)]
    teaching = Teaching(backbone, LESSON, samples, [photo(100, defect=False)])
    while teaching.progress.phase == "preparing":
        teaching.advance(0)
    return teaching


def learner(backbone: Backbone) -> Learner:
    found = prepared(backbone)._learner
    assert found is not None
    return found


def test_activations_made_anew_teach_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, anew = learner(tiny_backbone()), None
    monkeypatch.setattr(precision, "LARGE", 0)
    anew = learner(tiny_backbone())
    assert anew.backbone.unet.is_gradient_checkpointing
    assert not kept.backbone.unet.is_gradient_checkpointing
    for step in range(2):
        assert kept.step(step) == pytest.approx(anew.step(step), rel=1e-5)
    for (name, one), (_, other) in zip(kept._learned(), anew._learned(), strict=True):
        torch.testing.assert_close(one, other, msg=name)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_at_half_precision_what_learns_is_in_full(dtype: torch.dtype) -> None:
    ours = learner(replace(tiny_backbone(), dtype=dtype))
    weights = dict(ours.backbone.unet.named_parameters())
    assert {weight.dtype for weight in weights.values() if weight.requires_grad} == {torch.float32}
    assert {weight.dtype for weight in weights.values() if not weight.requires_grad} == {dtype}
    assert ours.scaler.is_enabled() is (dtype is torch.float16)
    before = {name: value.detach().clone() for name, value in ours._learned()}
    exact = learner(tiny_backbone())
    for step in range(2):
        losses, known = ours.step(step), exact.step(step)
        assert losses == pytest.approx(known, rel=0.05)
    assert any(not torch.equal(before[name], value) for name, value in ours._learned())
    assert all(torch.isfinite(value).all() for _, value in ours._learned())


def test_a_type_taught_at_half_precision_draws_on_its_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    search_briefly(monkeypatch)
    backbone = replace(tiny_backbone(), dtype=torch.bfloat16)
    teaching = prepared(backbone)
    checkpoint = teaching.checkpoint()
    assert teaching.advance(3600).phase == "done"
    teaching.result().adapter.check(backbone)
    again = prepared(backbone)
    again.restore(checkpoint)
    assert again.advance(3600).phase == "done"
    assert again.result().adapter.to_bytes() == teaching.result().adapter.to_bytes()


def test_the_copy_that_learns_shares_the_weights_that_do_not() -> None:
    unet = tiny_backbone().unet
    copied = attached(unet, 2, "attention")
    own = {weight.data_ptr() for weight in unet.parameters()}
    frozen = [weight for weight in copied.parameters() if not weight.requires_grad]
    assert len(frozen) == len(own)
    assert {weight.data_ptr() for weight in frozen} == own
    assert all(weight.requires_grad for weight in unet.parameters())


def test_a_gpu_learns_in_bfloat16_where_it_can_and_else_in_float16(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    for has_it, expected in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, has_it=has_it: has_it)
        assert precision.compute_dtype(cuda) is expected
        assert precision.compute_dtype(cuda, torch.float16) is torch.float16
    assert precision.compute_dtype(cpu) is torch.float32
    assert not precision.scaler(cpu, torch.float32).is_enabled()
