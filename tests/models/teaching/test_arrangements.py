"""A logical type is taught and drawn: on whole images, by tight masks, on nothing of what was there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
import pytest
import torch

from models.adapters import LOGICAL, Adapter, AdapterError, Card
from models.backbone import Backbone
from models.generation import Generator
from models.items import ItemRequest
from models.region import Region
from models.samples import Sample
from models.teaching.examples import arrangements, normal_examples
from models.teaching.lesson import Lesson, Taught
from models.teaching.teaching import Teaching
from models.teaching.trials import Settings, arranged_places, settings_to_try, trials
from models.training.pool import Pool
from tests.models.teaching.parts import killed_every

LESSON = replace(
    Lesson.of(LOGICAL, "swapped", "plate"),
    steps=4, rank=2, crops=1, normal_crops=4, checks=2, places=1, items=2, defects=2, backgrounds=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def taught(backbone: Backbone, samples: Sequence[Sample], normals: Sequence[Sample]) -> Taught:
    teaching = Teaching(backbone, LESSON, samples, normals)
    assert teaching.advance(3600).phase == "done"
    return teaching.result()


def test_windows_show_whole_images_as_they_stand(samples: list[Sample], normals: list[Sample]) -> None:
    size = max(samples[0].mask.shape)
    scenes = list(arrangements(samples, "swapped", "plate", 1, size, size // 4, 0))
    for scene, sample in zip(scenes, samples, strict=True):
        height, width = sample.mask.shape
        np.testing.assert_array_equal(scene.mask[:height, :width], sample.mask)
    rows, columns = normals[0].mask.shape
    first, again = (
        next(normal_examples(normals, "plate", 1, size, size // 4, seed, whole=True)) for seed in (1, 2)
    )
    np.testing.assert_array_equal(first.image[:rows, :columns], again.image[:rows, :columns])


def test_masks_are_tight(backbone: Backbone, samples: list[Sample]) -> None:
    size = backbone.window_px
    scenes = list(arrangements(samples, "swapped", "plate", 1, size, backbone.latent_size, 0))
    pool = Pool.encode(scenes, backbone, loose=False)
    assert (pool.requests == pool.requests[:, :1]).all()
    loose = Pool.encode(scenes, backbone)
    assert (loose.requests.sum(dim=(1, 2, 3)) > pool.requests.sum(dim=(1, 2, 3))).any()


def test_it_learns_from_backgrounds_without_noise_and_without_what_lay_in_them(
    backbone: Backbone, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    teaching = Teaching(backbone, LESSON, samples)
    while teaching.progress.phase == "preparing":
        teaching.advance(0)
    assert teaching._learner is not None
    terms, seen = teaching._learner.terms, []
    predict = terms.backbone.predict_noise

    def watched(z_t: torch.Tensor, t: torch.Tensor, tokens: torch.Tensor, region: Region) -> torch.Tensor:
        seen.append((z_t, region.mask))
        return predict(z_t, t, tokens, region)

    monkeypatch.setattr(terms.backbone, "predict_noise", watched)
    terms(teaching._learner.tokens[None], np.random.default_rng(0), torch.Generator().manual_seed(0), False)
    ((z_t, mask),) = seen
    emptied, images = terms.pool.normal.float(), terms.pool.image.float()
    for row in range(LESSON.defects):
        outside = mask[row, 0] == 0
        assert outside.any()
        assert any(torch.equal(z_t[row][:, outside], left[:, outside]) for left in emptied)
        assert not any(torch.equal(z_t[row][:, outside], image[:, outside]) for image in images)


def test_it_learns_on_coarse_windows_first_and_ends_on_those_in_which_it_draws(
    backbone: Backbone, samples: list[Sample], normals: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    teaching = Teaching(backbone, replace(LESSON, coarse=0.5), samples, normals)
    while teaching.progress.phase == "preparing":
        teaching.advance(0)
    assert teaching._learner is not None
    learning, seen = teaching._learner.backbone, []
    predict = learning.predict_noise

    def watched(z_t: torch.Tensor, *others: Any) -> torch.Tensor:
        if torch.is_grad_enabled():
            seen.append(z_t.shape[-1])
        return predict(z_t, *others)

    monkeypatch.setattr(learning, "predict_noise", watched)
    while teaching.progress.phase == "learning":
        teaching.advance(0)
    cells = backbone.latent_size
    assert [key for key, _ in groupby(seen)] == [cells // 2, cells]


def test_killed_anywhere_it_ends_as_if_undisturbed(
    backbone: Backbone, samples: list[Sample], normals: list[Sample], taught: Taught
) -> None:
    again = killed_every(3, lambda: Teaching(backbone, LESSON, samples, normals))
    assert again.adapter.to_bytes() == taught.adapter.to_bytes()


def test_the_card_says_what_it_is_and_asks_for_masks(taught: Taught, backbone: Backbone) -> None:
    card = taught.adapter.card
    assert card.logical
    assert not card.masks
    assert (card.severity, card.seed_share, card.exemplars) == (1.0, 1.0, 0.0)
    assert taught.card["settings"]["kind"] == LOGICAL
    assert Adapter.from_bytes(taught.adapter.to_bytes()).card == card


def test_nothing_of_what_was_there_tells_what_comes(
    backbone: Backbone,
    taught: Taught,
    samples: list[Sample],
    normals: list[Sample],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[torch.Tensor] = []
    predict = backbone.predict_noise

    def watched(
        z_t: torch.Tensor, t: torch.Tensor, tokens: torch.Tensor, region: Region | None = None
    ) -> torch.Tensor:
        if region is not None:
            seen.append(z_t.clone())
        return predict(z_t, t, tokens, region)

    monkeypatch.setattr(backbone, "predict_noise", watched)
    mask = samples[0].mask
    other = normals[0].image.copy()
    other[mask] = 255 - other[mask]
    structural = replace(taught.adapter, card=replace(taught.adapter.card, kind="structural"))
    for adapter, alike in ((taught.adapter, True), (structural, False)):
        adapter = replace(adapter, card=replace(adapter.card, guidance=1.0))
        for image in (normals[0].image, other):
            Generator(backbone).generate([ItemRequest.by_default(image, mask, adapter, 5)])
        first, second = seen[: len(seen) // 2], seen[len(seen) // 2 :]
        assert len(first) == adapter.card.steps
        assert all(torch.equal(one, same) for one, same in zip(first, second, strict=True)) == alike
        seen.clear()


def test_a_lesser_severity_mixes_what_was_there_with_what_was_drawn(
    backbone: Backbone, taught: Taught, samples: list[Sample], normals: list[Sample]
) -> None:
    request = ItemRequest.by_default(normals[0].image, samples[0].mask, taught.adapter, 5)
    drawings = [
        Generator(backbone).decoded([replace(request, severity=severity)])[0][0].drawing
        for severity in (1.0, 0.25)
    ]
    z_0 = drawings[0].plane[0]
    assert torch.allclose(drawings[1].z - z_0, (drawings[0].z - z_0) / 2, atol=1e-5)


def test_exactly_those_cells_are_drawn_that_it_learned_to_fill(
    backbone: Backbone, taught: Taught, samples: list[Sample]
) -> None:
    sample, size = samples[0], backbone.window_px
    (scene,) = arrangements([sample], "swapped", "plate", 1, size, backbone.latent_size, 0)
    pool = Pool.encode([scene], backbone, loose=False)
    request = ItemRequest.by_default(sample.image, sample.mask, taught.adapter, 5)
    ((decoded,),) = Generator(backbone).decoded([request])
    assert torch.equal(decoded.drawing.mask[0] > 0, pool.requests[0, 0])


def test_the_search_tries_guidance_alone(samples: list[Sample]) -> None:
    tried: list[tuple[Settings, float]] = []
    while (settings := settings_to_try(tried, has_exemplars=True, logical=True)) is not None:
        tried.append((settings, 0.0))
    assert len(tried) == trials(True, logical=True)
    assert len({settings.guidance for settings, _ in tried}) == len(tried)
    assert all((one.severity, one.seed_share, one.exemplars) == (1.0, 1.0, 0.0) for one, _ in tried)


def test_it_is_tried_where_its_samples_have_their_masks(samples: list[Sample]) -> None:
    rows, columns = samples[0].mask.shape
    larger = Sample(
        np.zeros((2 * rows, 3 * columns, 3), np.uint8), np.zeros((2 * rows, 3 * columns), np.bool_), ""
    )
    for place, sample in zip(arranged_places([larger], samples, len(samples)), samples, strict=True):
        assert place.mask.shape == larger.mask.shape
        np.testing.assert_array_equal(place.mask[::2, ::3], sample.mask)


def test_a_thin_mask_is_not_lost_on_a_smaller_photo() -> None:
    thin = np.zeros((120, 160), np.bool_)
    thin[63, 50:90] = True
    smaller = Sample(np.zeros((30, 40, 3), np.uint8), np.zeros((30, 40), np.bool_), "")
    (place,) = arranged_places([smaller], [Sample(np.zeros((120, 160, 3), np.uint8), thin, "")], 1)
    assert place.mask.shape == (30, 40)
    assert place.mask.sum() == 11


def test_another_kind_is_refused() -> None:
    with pytest.raises(AdapterError, match="structural and logical"):
        Adapter("x", 1, "tiny", "", torch.zeros(1, 4), Card(kind="magical"))
