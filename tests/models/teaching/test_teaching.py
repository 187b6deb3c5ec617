"""A type is taught, stopped, taken up again; its adapter draws, and plain diffusers loads it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.adapters import Adapter
from models.backbone import Backbone
from models.foreground import foreground
from models.generation import Generator
from models.items import ItemRequest
from models.levels import Pixels
from models.lora import worn
from models.masks import Mask
from models.placement.distribution import MaskDistribution
from models.samples import Sample, defects, exemplars_from_bytes
from models.teaching.lesson import Lesson, Taught, TeachingError
from models.teaching.teaching import Teaching
from tests.models.teaching.parts import killed_every, photo
from tests.models.tiny import tiny_backbone

LESSON = Lesson(
    name="bar",
    part="plate",
    steps=6,
    rank=2,
    crops=2,
    normal_crops=4,
    checks=3,
    places=1,
    items=2,
    defects=2,
    backgrounds=1,
)


@pytest.fixture(scope="module")
def taught(backbone: Backbone, samples: Sequence[Sample], normals: Sequence[Sample]) -> Taught:
    teaching = Teaching(backbone, LESSON, samples, normals)
    assert teaching.advance(3600).phase == "done"
    return teaching.result()


def test_it_goes_through_its_phases_and_counts_up_to_its_end(
    backbone: Backbone, samples: Sequence[Sample], normals: Sequence[Sample]
) -> None:
    teaching = Teaching(backbone, LESSON, samples, normals)
    seen = [teaching.progress]
    while seen[-1].phase != "done":
        seen.append(teaching.advance(0))
    assert list(dict.fromkeys(one.phase for one in seen)) == [
        "preparing", "learning", "searching", "judging", "done",
    ]  # fmt: skip
    assert [one.step for one in seen] == sorted(one.step for one in seen)
    assert seen[-1].step == seen[-1].steps
    assert {one.steps for one in seen} == {seen[0].steps}
    assert set(seen[-1].losses) == {"defect", "background", "held"}


def test_the_backbone_is_left_as_it_was(backbone: Backbone, taught: Taught) -> None:
    assert {name for name, _ in backbone.unet.named_parameters()} == {
        name for name, _ in tiny_backbone(seed=3).unet.named_parameters()
    }
    assert backbone._digest_of_memory() == tiny_backbone(seed=3).digest


def test_killed_anywhere_and_taken_up_from_its_checkpoint_it_makes_the_same(
    backbone: Backbone, samples: Sequence[Sample], normals: Sequence[Sample], taught: Taught
) -> None:
    again = killed_every(7, lambda: Teaching(backbone, LESSON, samples, normals))
    assert again.adapter.to_bytes() == taught.adapter.to_bytes()
    assert again.exemplars == taught.exemplars
    assert again.card == taught.card


def test_a_stop_between_units_loses_nothing(
    backbone: Backbone, samples: Sequence[Sample], normals: Sequence[Sample], taught: Taught
) -> None:
    calls = 0

    def on_step(done: int, total: int) -> None:
        nonlocal calls
        calls += 1
        if calls % 2:
            raise KeyboardInterrupt

    teaching = Teaching(backbone, LESSON, samples, normals)
    while teaching.progress.phase != "done":
        try:
            teaching.advance(0.001, on_step)
        except KeyboardInterrupt:
            continue
    assert teaching.result().adapter.to_bytes() == taught.adapter.to_bytes()


def test_samples_are_prepared_one_at_a_time_so_that_a_stop_is_heard_between_them(
    backbone: Backbone, samples: Sequence[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    cut, looked_at = 0, 0

    def cutting(mask: Mask) -> list[tuple[tuple[slice, slice], Mask]]:
        nonlocal cut
        cut += 1
        return defects(mask)

    def looking(image: Pixels) -> Mask:
        nonlocal looked_at
        looked_at += 1
        return foreground(image)

    monkeypatch.setattr("models.samples.defects", cutting)
    monkeypatch.setattr("models.placement.distribution.foreground", looking)
    teaching = Teaching(backbone, LESSON, samples)
    for done in range(2 * len(samples)):
        assert (cut, looked_at) == (min(done, len(samples)), max(done - len(samples), 0))
        teaching.advance(0)


def test_another_lessons_checkpoint_is_refused(backbone: Backbone, samples: Sequence[Sample]) -> None:
    teaching = Teaching(backbone, LESSON, samples)
    with pytest.raises(TeachingError, match="another lesson"):
        teaching.restore(Teaching(backbone, replace(LESSON, seed=1), samples).checkpoint())
    with pytest.raises(TeachingError, match="no checkpoint"):
        teaching.restore(b"something else")


def test_nothing_to_learn_from_is_refused_and_names_what_is_missing(backbone: Backbone) -> None:
    with pytest.raises(TeachingError, match="at least one pair") as error:
        Teaching(backbone, LESSON, [photo(1, defect=False)])
    assert error.value.name == "samples"


def test_one_sample_teaches_a_type_that_calls_itself_poor(backbone: Backbone) -> None:
    teaching = Teaching(backbone, LESSON, [photo(1)])
    teaching.advance(3600)
    card = teaching.result().card
    assert card["verdict"] == "poor"
    assert any("send at least two" in reason for reason in card["reasons"])


def test_it_begins_with_the_tokens_that_tell_its_examples_best(backbone: Backbone, samples: list[Sample]) -> None:
    beginnings = {"known": torch.randn(LESSON.tokens, backbone.token_width), "misfit": torch.randn(1, 3)}
    teaching = Teaching(backbone, LESSON, samples, (), beginnings)
    teaching.advance(3600)
    assert teaching.result().card["settings"]["began_with"] in ("known", "noise")


def test_the_adapter_survives_its_file_and_fits_its_backbone_alone(backbone: Backbone, taught: Taught) -> None:
    data = taught.adapter.to_bytes()
    again = Adapter.from_bytes(data)
    assert again.to_bytes() == data
    assert set(again.weights) == set(taught.adapter.weights)
    again.check(backbone)
    assert MaskDistribution.from_json(again.card.masks).known
    assert len(exemplars_from_bytes(taught.exemplars)) == 6


def test_its_items_begin_on_real_defects_as_often_as_its_card_says(taught: Taught, samples: list[Sample]) -> None:
    exemplars = exemplars_from_bytes(taught.exemplars)
    adapter = replace(taught.adapter, card=replace(taught.adapter.card, exemplars=0.5))
    begun = [
        replace(ItemRequest.by_default(samples[0].image, samples[0].mask, adapter, exemplars=exemplars), index=i)
        for i in range(200)
    ]
    share = sum(one.begins_on == "exemplar" for one in begun) / len(begun)
    assert 0.35 < share < 0.65
    assert {one.begins_on for one in begun} == {"exemplar", "noise"}
    assert all(replace(one, exemplars=()).begins_on == "noise" for one in begun)


def test_items_of_two_types_drawn_together_are_those_drawn_alone(
    backbone: Backbone, taught: Taught, samples: list[Sample], normals: list[Sample]
) -> None:
    exemplars = exemplars_from_bytes(taught.exemplars)
    plain = Adapter(
        name="plain",
        version=1,
        backbone=backbone.name,
        backbone_digest=backbone.digest,
        tokens=torch.randn(2, backbone.token_width, generator=torch.Generator().manual_seed(0)),
    )
    mask = samples[0].mask
    requests = [
        ItemRequest.by_default(normals[0].image, mask, adapter, 7, exemplars=some)
        for adapter, some in ((taught.adapter, exemplars), (plain, ()), (taught.adapter, exemplars))
    ]
    together = Generator(backbone).generate(requests)
    alone = [Generator(backbone).generate([request])[0] for request in requests]
    for one, other in zip(together, alone, strict=True):
        assert np.array_equal(one.image, other.image)
    assert np.array_equal(together[0].image, together[2].image)
    assert not np.array_equal(together[0].image, together[1].image)


def test_severity_makes_what_began_on_a_real_defect_at_most_half_as_strong_again(
    backbone: Backbone, taught: Taught, samples: list[Sample], normals: list[Sample]
) -> None:
    exemplars = exemplars_from_bytes(taught.exemplars)

    def at_most(default: float) -> NDArray[Any]:
        card = replace(taught.adapter.card, exemplars=1.0, severity=default)
        adapter = replace(taught.adapter, card=card)
        asked = ItemRequest.by_default(normals[0].image, samples[0].mask, adapter, 7, exemplars=exemplars)
        (result,) = Generator(backbone).generate([replace(asked, severity=1.0)])
        return result.image

    assert np.array_equal(at_most(0.1), at_most(1 / 1.5**2))
    assert not np.array_equal(at_most(0.1), at_most(1.0))


PLAIN = """
import json, sys, warnings
warnings.simplefilter("ignore")
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

folder, file = sys.argv[1:]
pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, low_cpu_mem_usage=False)
bare = pipeline.unet(torch.ones(1, 4, 16, 16), 500, encoder_hidden_states=torch.ones(1, 12, 16)).sample
pipeline.load_lora_weights(file)
tokens = load_file(file)["lora_beside.tokens"]
prompt, _ = pipeline.encode_prompt("plate", "cpu", 1, False)
C1 = torch.cat([prompt, tokens[None]], dim=1)
with torch.no_grad():
    noise = pipeline.unet(torch.ones(1, 4, 16, 16), 500, encoder_hidden_states=C1).sample
    image = pipeline(prompt_embeds=C1, guidance_scale=1, num_inference_steps=2, height=64, width=64).images[0]
print(json.dumps({"noise": noise.flatten().tolist(), "size": image.size}))
"""


def test_plain_diffusers_loads_the_file_and_predicts_the_same(
    tmp_path: Path, backbone: Backbone, taught: Taught
) -> None:
    """The script imports nothing of ours."""
    backbone.save(tmp_path / "tiny", dtype=torch.float32)
    taught.adapter.save(tmp_path / "bar.safetensors")
    script = [sys.executable, "-c", PLAIN, str(tmp_path / "tiny"), str(tmp_path / "bar.safetensors")]
    done = subprocess.run(script, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout.splitlines()[-1])
    assert theirs["size"] == [64, 64]
    adapter = Adapter.load(tmp_path / "bar.safetensors")
    with torch.no_grad(), worn(backbone.unet, adapter.weights):
        tokens = torch.cat([backbone.embed(["plate"]), adapter.tokens[None]], dim=1)
        ours = backbone.predict_noise(torch.ones(1, 4, 16, 16), torch.tensor([500]), tokens)
    assert torch.allclose(ours.flatten(), torch.tensor(theirs["noise"]), atol=1e-4)
    with torch.no_grad():
        bare = backbone.predict_noise(torch.ones(1, 4, 16, 16), torch.tensor([500]), tokens)
    assert not torch.allclose(ours, bare, atol=1e-3)
