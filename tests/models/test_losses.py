import pytest
import torch

from models.losses import (
    area_mean,
    background_term,
    defect_term,
    diffused,
    diffused_background,
    disentanglement_loss,
    lemma_residual,
    velocity_weight,
)

B, C, L = 3, 4, 8


@pytest.fixture
def m() -> torch.Tensor:
    """A small defect, a large one, and a normal image."""
    mask = torch.zeros(B, 1, L, L)
    mask[0, :, 2, 3] = 1
    mask[1, :, 2:7, 1:6] = 1
    return mask


def noise(seed: int) -> torch.Tensor:
    return torch.randn(B, C, L, L, generator=torch.Generator().manual_seed(seed))


def test_area_mean_is_over_the_area(m: torch.Tensor) -> None:
    squared = noise(0).square()
    expected = [squared[0, :, 2, 3].mean(), squared[1, :, 2:7, 1:6].mean(), torch.tensor(0.0)]
    torch.testing.assert_close(area_mean(squared, m), torch.stack(expected))


def test_a_small_defect_counts_as_much_as_a_large_one(m: torch.Tensor) -> None:
    error = torch.full((B, C, L, L), 0.5)
    assert defect_term(error, torch.zeros_like(error), m).tolist() == [0.25, 0.25, 0]
    assert background_term(error, torch.zeros_like(error), m).tolist() == [0.25, 0.25, 0.25]


def test_the_loss_is_both_terms(m: torch.Tensor) -> None:
    eps, c1, c2 = noise(0), noise(1), noise(2)
    weight = torch.tensor([1.0, 0.5, 0.25])
    expected = ((defect_term(eps, c1, m) + 0.3 * background_term(eps, c2, m)) * weight).mean()
    torch.testing.assert_close(disentanglement_loss(eps, c1, c2, m, lam=0.3, weight=weight), expected)


def test_a_normal_image_is_the_plain_loss_under_C2(m: torch.Tensor) -> None:
    eps, c1, c2 = noise(0), noise(1), noise(2)
    loss = disentanglement_loss(eps[2:], c1[2:], c2[2:], m[2:])
    torch.testing.assert_close(loss, (eps[2:] - c2[2:]).square().mean())


def test_gradients_flow_inside_m_for_C1_and_outside_for_C2(m: torch.Tensor) -> None:
    c1, c2 = noise(1).requires_grad_(), noise(2).requires_grad_()
    torch.autograd.backward(disentanglement_loss(noise(0), c1, c2, m))
    assert c1.grad is not None
    assert c2.grad is not None
    inside = m.expand(B, C, L, L) > 0
    assert (c1.grad[~inside] == 0).all()
    assert (c1.grad[inside] != 0).all()
    assert (c2.grad[inside] == 0).all()
    assert (c2.grad[~inside] != 0).all()


def test_the_masked_content_is_taken_out_and_the_noise_is_not(m: torch.Tensor) -> None:
    z_0, eps, alpha_bar = noise(0), noise(1), torch.tensor([0.9, 0.5, 0.1])
    z_tm, z_t = diffused_background(z_0, m, eps, alpha_bar), diffused(z_0, eps, alpha_bar)
    inside = m.expand(B, C, L, L) > 0
    scaled = (1 - alpha_bar).sqrt()[:, None, None, None] * eps
    torch.testing.assert_close(z_tm[inside], scaled[inside])
    torch.testing.assert_close(z_tm[~inside], z_t[~inside])


def test_the_lemma_holds_for_the_true_noise(m: torch.Tensor) -> None:
    z_0, eps, alpha_bar = noise(0), noise(1), torch.tensor([0.9, 0.5, 0.1])
    z_tm = diffused_background(z_0, m, eps, alpha_bar)
    assert lemma_residual(z_0, m, z_tm, eps, alpha_bar).max() < 1e-5
    assert lemma_residual(z_0, m, z_tm, eps + 0.1, alpha_bar).min() > 0.01


def test_under_the_velocity_weight_errors_of_the_clean_latent_count_between_one_and_the_cap() -> None:
    snr = torch.tensor([0.005, 0.1, 1.0, 4.0, 50.0])
    alpha_bar = snr / (1 + snr)
    z_0, eps, error = noise(0)[:1], noise(1)[:1], 0.1
    z_t = diffused(z_0.expand(5, -1, -1, -1), eps.expand(5, -1, -1, -1), alpha_bar)
    wrong = z_t - (alpha_bar.sqrt()[:, None, None, None] * (z_0 + error))
    wrong = wrong / (1 - alpha_bar).sqrt()[:, None, None, None]
    squared = area_mean((eps - wrong).square(), torch.ones(5, 1, L, L))
    counted = velocity_weight(alpha_bar, gamma=5.0) * squared / error**2
    torch.testing.assert_close(counted, (snr + 1).clamp(max=5), rtol=1e-3, atol=1e-3)
