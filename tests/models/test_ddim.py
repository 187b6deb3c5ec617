from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler

from models.ddim import (
    EXEMPLAR_REACH,
    WHOLE_AT,
    Grid,
    carried,
    diffused,
    guided,
    kept_strength,
    laid,
    moved,
    noise_of_velocity,
    predicted_clean,
    start,
    strengthened,
)

SCHEDULER = DDIMScheduler(
    beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", set_alpha_to_one=True, clip_sample=False,
    timestep_spacing="trailing",
)  # fmt: skip


def test_denoising_steps_are_those_of_the_diffusers_ddim_scheduler() -> None:
    grid = Grid.over(SCHEDULER.alphas_cumprod, 10)
    SCHEDULER.set_timesteps(10)
    assert SCHEDULER.timesteps.tolist() == grid.timesteps[1:].flip(0).tolist()
    generator = torch.Generator().manual_seed(0)
    z, noise = torch.randn(2, 1, 4, 8, 8, generator=generator, dtype=torch.float64)
    for level in range(10, 0, -1):
        ours = moved(z, noise, float(grid.alpha_bar[level]), float(grid.alpha_bar[level - 1]))
        theirs = SCHEDULER.step(noise, int(grid.timesteps[level]), z, eta=0).prev_sample
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_a_step_up_and_the_same_step_down_cancel() -> None:
    z, noise = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(moved(moved(z, noise, 0.9, 0.4), noise, 0.4, 0.9), z)


def test_depth_follows_severity_and_is_at_least_one_level() -> None:
    grid = Grid.over(SCHEDULER.alphas_cumprod, 30)
    assert [grid.depth(severity) for severity in (1e-9, 0.5, 0.7, 1.0)] == [1, 15, 21, 30]
    assert grid.depth(1.0, exemplar=True) == round(30 * EXEMPLAR_REACH)
    assert [grid.depth(severity, exemplar=True) for severity in (1e-9, 0.5)] == [1, 9]


def test_a_grid_longer_than_the_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="between 1 and 1000"):
        Grid.over(SCHEDULER.alphas_cumprod, 1001)


def test_without_the_seeds_share_the_start_is_the_inversion_itself() -> None:
    z_0, z_T, noise = torch.randn(3, 4, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(start(z_0, z_T, noise, 0.3, seed_share=0.0), z_T)
    torch.testing.assert_close(start(z_0, z_T, noise, 0.3, seed_share=1.0), diffused(z_0, noise, 0.3))


def test_an_exemplar_is_laid_over_the_normal_image_the_stronger_the_severer() -> None:
    z_0, z_T, noise, exemplar = torch.randn(4, 4, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(laid(z_0, exemplar, 0.0), z_0)
    torch.testing.assert_close(laid(z_0, exemplar, WHOLE_AT), exemplar)
    begun, exaggerated = (laid(z_0, exemplar, share * WHOLE_AT) for share in (0.25, 2.25))
    torch.testing.assert_close(begun - z_0, 0.5 * (exemplar - z_0))
    torch.testing.assert_close(exaggerated - z_0, 1.5 * (exemplar - z_0))
    severities = WHOLE_AT * torch.tensor([0.0, 0.25, 1.0, 2.25], dtype=torch.float64)[:, None, None]
    mixed = laid(z_0, exemplar, severities)
    torch.testing.assert_close(mixed, torch.stack([z_0[0], begun[1], exemplar[2], exaggerated[3]]))
    with_it, without = (start(z_0, z_T, noise, 0.3, 0.8, one) for one in (begun, None))
    torch.testing.assert_close(with_it - without, 0.3**0.5 * (begun - z_0))


def test_guidance_one_is_the_defect_prediction_and_zero_the_background_one() -> None:
    c2, c1 = torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(guided(c2, c1, 1.0), c1)
    torch.testing.assert_close(guided(c2, c1, 0.0), c2)


def test_the_clean_latent_is_found_back_from_the_true_noise() -> None:
    z_0, noise = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(predicted_clean(diffused(z_0, noise, 0.2), noise, 0.2), z_0)


def test_the_noise_of_a_velocity_is_the_noise_it_was_made_from() -> None:
    z_0, eps, alpha_bar = torch.randn(2, 4, 4), torch.randn(2, 4, 4), 0.3
    velocity = alpha_bar**0.5 * eps - (1 - alpha_bar) ** 0.5 * z_0
    torch.testing.assert_close(noise_of_velocity(diffused(z_0, eps, alpha_bar), velocity, alpha_bar), eps)


def test_a_perfect_denoiser_meets_the_carried_noise_at_every_level_below_its_start() -> None:
    """Its prediction of the defect turns what a start left of the normal image into noise upon the defect."""
    grid = Grid.over(DDIMScheduler(beta_schedule="scaled_linear").alphas_cumprod, 10)
    normal, defect, eps = torch.randn(3, 1, 2, 4, 4).unbind()
    m = torch.ones(1, 1, 4, 4)
    begun, below = (float(grid.alpha_bar[level]) for level in (8, 3))
    z = start(normal, diffused(normal, torch.zeros_like(eps), begun), eps, begun, 1.0)
    noise = carried(eps, defect, normal, m, begun)
    torch.testing.assert_close(z, diffused(defect, noise, begun))
    torch.testing.assert_close(moved(z, noise, begun, below), diffused(defect, noise, below))
    torch.testing.assert_close(carried(eps, defect, normal, 0 * m, begun), eps)


@pytest.mark.parametrize(("slope", "left"), [(0.6, 1), (1.0, 1), (2.0, 1), (0.2, 0.5), (5.0, 2)])
def test_a_drawing_is_as_strong_as_what_it_began_on_unless_far_from_it(slope: float, left: float) -> None:
    z_0, defect, other = torch.randn(3, 4, 8, 8, dtype=torch.float64)
    m = torch.zeros(1, 8, 8, dtype=torch.float64)
    m[:, 2:6, 2:6] = 1
    begun = z_0 + m * defect
    drawn = kept_strength(z_0, z_0 + slope * m * defect, begun, m)
    torch.testing.assert_close(drawn, z_0 + left * m * defect, rtol=1e-5, atol=1e-5)
    against = z_0 - m * defect
    assert torch.equal(kept_strength(z_0, against, begun, m), against)
    elsewhere = kept_strength(z_0, z_0 + 2 * m * defect + (1 - m) * other, begun, m)
    torch.testing.assert_close(elsewhere * m, begun * m, rtol=1e-5, atol=1e-5)


def test_what_is_drawn_grows_with_the_severity_and_stays_as_it_is_at_the_default() -> None:
    z_0, drawn = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    assert torch.equal(strengthened(z_0, drawn, 0.3, 0.3), drawn)
    torch.testing.assert_close(strengthened(z_0, drawn, 0.8, 0.2), z_0 + 2 * (drawn - z_0))
    torch.testing.assert_close(strengthened(z_0, drawn, 0.2, 0.8), z_0 + (drawn - z_0) / 2)
