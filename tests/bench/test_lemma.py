from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from bench import lemma
from models.ddim import Grid
from models.region import Region
from models.training.diffusion import DiffusionStage, new_backbone
from models.training.pool import Pool
from models.training.recipe import TINY, Ablation
from models.training.scenes import TrainingScene, draw_scenes
from models.training.vae import new_vae
from tests.models.tiny import tiny_backbone

CPU = torch.device("cpu")
SHAPE = (2, 4, 16, 16)
ALPHAS = tiny_backbone().alphas_cumprod


def square() -> Tensor:
    m = torch.zeros(2, 1, 16, 16)
    m[:, :, 4:8, 6:12] = 1
    return m


@pytest.fixture(scope="module")
def scenes() -> list[TrainingScene]:
    return list(draw_scenes(2, 9, TINY.window_px))


def stage(scenes: list[TrainingScene], ablation: Ablation | None = None) -> DiffusionStage:
    torch.manual_seed(0)
    backbone = new_backbone(TINY, new_vae(TINY), CPU)
    pool = Pool.encode(scenes, backbone)
    return DiffusionStage(TINY, backbone, pool, pool, ablation)


@pytest.mark.parametrize("t", lemma.TIMES)
def test_an_oracle_leaves_no_residual(t: int) -> None:
    z_0, eps, m = torch.randn(SHAPE), torch.randn(SHAPE), square()

    def oracle(z_t: Tensor, times: Tensor) -> Tensor:
        alpha_bar = ALPHAS[times].float()[:, None, None, None]
        return (z_t - alpha_bar.sqrt() * (1 - m) * z_0) / (1 - alpha_bar).sqrt()

    def blind(z_t: Tensor, times: Tensor) -> Tensor:
        return torch.zeros_like(z_t)

    assert lemma.residual(oracle, z_0, m, eps, t, ALPHAS).max() < 1e-4
    assert lemma.residual(blind, z_0, m, eps, t, ALPHAS).min() > 0.1


def test_a_background_that_both_prompts_agree_on_comes_back() -> None:
    z_0, eps, m = torch.randn(SHAPE), torch.randn(SHAPE), square()

    def same(z: Tensor, t: Tensor) -> Tensor:
        return eps

    def defect(z: Tensor, t: Tensor) -> Tensor:
        return eps + m

    def leaking(z: Tensor, t: Tensor) -> Tensor:
        return eps + 0.1

    grid = Grid.over(ALPHAS, 20)
    drawn = lemma.free_running(same, defect, z_0, m, torch.randn(SHAPE), grid)
    assert lemma.rms(drawn - z_0, 1 - m) < 1e-4
    assert lemma.rms(drawn - z_0, m) > 0.1
    assert lemma.rms(lemma.free_running(same, leaking, z_0, m, torch.randn(SHAPE), grid) - z_0, 1 - m) > 0.01


def test_margins_count_from_the_masks_cells() -> None:
    mask = lemma.on_pixels(square()[0], 4)
    assert mask[16:32, 24:48].all()
    assert mask.sum() == 16 * 24
    near, far = (lemma.beyond([mask], margin)[0, 0].numpy() > 0 for margin in (0, 4))
    assert np.array_equal(near, ~mask)
    assert not far[32:36, 24:48].any()
    assert far[36, 24:48].all()


def test_what_fills_the_picture_has_no_background_to_judge() -> None:
    assert lemma.rms(torch.ones(1, 4, 8, 8), torch.zeros(1, 1, 8, 8)) != lemma.rms(
        torch.ones(1, 4, 8, 8), torch.ones(1, 1, 8, 8)
    )


def test_open_self_attention_opens_only_that() -> None:
    valid = torch.tensor([[True, True, False]] * 2)
    masked, open_ = (Region(square(), 8, valid, masked_self=on) for on in (True, False))
    assert (open_.self_bias(16, 16) == 0).all()
    assert (masked.self_bias(16, 16) == -torch.inf).any()
    assert torch.equal(open_.cross_bias(16, 16), masked.cross_bias(16, 16))


def test_open_cross_attention_shows_valid_tokens_to_all_and_padding_to_none() -> None:
    valid = torch.tensor([[True, True, False]] * 2)
    masked, open_ = (Region(square(), 8, valid, masked_cross=on) for on in (True, False))
    bias = open_.cross_bias(8, 8)
    assert (bias[..., :10] == 0).all()
    assert (bias[..., 10] == -torch.inf).all()
    assert (masked.cross_bias(8, 8)[..., 8:10] == -torch.inf).any()
    assert torch.equal(open_.self_bias(8, 8), masked.self_bias(8, 8))


def test_the_stage_asks_for_the_ablated_attention(scenes: list[TrainingScene]) -> None:
    region = stage(scenes, Ablation(masked_self=False)).terms.region(torch.ones(3, 1, 8, 8), 2, 4)
    assert (region.masked_self, region.masked_cross, region.background_keys) == (False, True, True)
    blind = stage(scenes, Ablation(background_keys=False)).terms.region(torch.ones(3, 1, 8, 8), 2, 4)
    assert not blind.background_keys


def test_nothing_ablated_is_the_default_and_each_ablation_learns_otherwise(scenes: list[TrainingScene]) -> None:
    def losses(ablation: Ablation | None) -> dict[str, float]:
        return stage(scenes, ablation).step(0, 0.0)

    default = losses(None)
    assert losses(Ablation()) == default
    for ablation in list(lemma.VARIANTS.values())[1:]:
        assert losses(ablation) != default


def test_without_the_term_the_loss_is_over_the_whole_image(
    scenes: list[TrainingScene], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = stage(scenes, Ablation(disentangled=False))
    seen: list[Tensor] = []

    def zero(z: Tensor, t: Tensor, tokens: Tensor, region: Region) -> Tensor:
        seen.append(region.mask)
        return one.tokens.sum() * 0 + torch.zeros_like(z)

    monkeypatch.setattr(one.backbone, "predict_noise", zero)
    loss = one.step(0, 0.0)
    assert set(loss) == {"defect", "background"}
    n = TINY.batch_defects
    assert 0 < seen[0][:n].mean() < 1  # attention still knows where the defect is


def test_all_measures_of_a_variant_are_numbers(scenes: list[TrainingScene]) -> None:
    made = stage(scenes)
    backbone, tokens = made.averaged()
    held = lemma.Held.of(scenes[:3], backbone)
    found = lemma.measures(backbone, tokens, held, Ablation(), seed=0)
    assert len(found) == len(lemma.TIMES) + 2 + len(lemma.MARGINS) + 1
    nothing_left = {"(iii) leak beyond 16 px"}  # in windows of 32 px
    assert np.isfinite([value for key, value in found.items() if key not in nothing_left]).all()
    again = replace(lemma.fitting(backbone), seed=0)
    assert new_backbone(again, backbone.vae, CPU).unet.config.sample_size == backbone.latent_size
