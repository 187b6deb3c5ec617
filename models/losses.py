"""The disentanglement loss, named as in the paper (arXiv 2411.16767):

L(θ) = E ‖ m ⊙ (ε − ε_θ(z_t, t, C1)) ‖²  +  λ E ‖ (1−m) ⊙ (ε − ε_θ(z_t^m, t, C2)) ‖²

Each term is a mean over its own area, so that a small defect counts as much as a large one. Latents are
(B, C, L, L), masks m (B, 1, L, L) in {0, 1}, ᾱ_t (B,).
"""

from __future__ import annotations

import torch
from torch import Tensor

from models import ddim


def diffused(z_0: Tensor, eps: Tensor, alpha_bar: Tensor) -> Tensor:
    """z_t = √ᾱ_t z_0 + √(1−ᾱ_t) ε, with a level of its own for each sample."""
    return ddim.diffused(z_0, eps, _per_sample(alpha_bar, z_0))


def diffused_background(z_0: Tensor, m: Tensor, eps: Tensor, alpha_bar: Tensor) -> Tensor:
    """z_t^m = √ᾱ_t (1−m)⊙z_0 + √(1−ᾱ_t) ε: the masked content is taken out, the noise is not."""
    return diffused((1 - m) * z_0, eps, alpha_bar)


def area_mean(squared: Tensor, area: Tensor) -> Tensor:
    """Mean of `squared` (B, C, L, L) over `area` (B, 1, L, L), for each sample: (B,); 0 where there is none."""
    total = (squared * area).sum(dim=(1, 2, 3))
    cells = area.sum(dim=(1, 2, 3)) * squared.shape[1]
    return total / cells.clamp(min=1)


def defect_term(eps: Tensor, eps_C1: Tensor, m: Tensor) -> Tensor:
    """‖m ⊙ (ε − ε_θ(z_t, t, C1))‖² as a mean over m: (B,); 0 for a normal image, which has m = 0."""
    return area_mean((eps - eps_C1).square(), m)


def background_term(eps: Tensor, eps_C2: Tensor, m: Tensor) -> Tensor:
    """‖(1−m) ⊙ (ε − ε_θ(z_t^m, t, C2))‖² as a mean over 1−m: (B,); the plain loss for a normal image."""
    return area_mean((eps - eps_C2).square(), 1 - m)


def velocity_weight(alpha_bar: Tensor, gamma: float = 5.0) -> Tensor:
    """min(SNR + 1, γ) / SNR with SNR = ᾱ/(1−ᾱ): (B,), the weight by t of a squared error of ε.

    It makes that the squared error of v (Salimans & Ho, arXiv 2202.00512), capped near clean latents as by
    min-SNR (Hang et al., arXiv 2303.09556). An error of ẑ_0 then counts between 1 and γ at every t; with min-SNR
    for ε it counts min(SNR, γ), nearly nothing where noise drowns all, and there a defect's shape is settled
    (decision 0016).
    """
    snr = alpha_bar / (1 - alpha_bar)
    return (snr + 1).clamp(max=gamma) / snr


def disentanglement_loss(
    eps: Tensor,
    eps_C1: Tensor,
    eps_C2: Tensor,
    m: Tensor,
    lam: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """L(θ) of a batch: the mean over its samples of both terms, optionally weighted by t (`weight`, (B,)).

    `eps_C1` is the prediction for z_t with masked attention, `eps_C2` the one for z_t^m without.
    """
    terms = defect_term(eps, eps_C1, m) + lam * background_term(eps, eps_C2, m)
    return (terms if weight is None else terms * weight.to(terms)).mean()


def lemma_residual(z_0: Tensor, m: Tensor, z_tm: Tensor, eps_C2: Tensor, alpha_bar: Tensor) -> Tensor:
    """Root mean square error of Lemma 3.1 over 1−m, for each sample: (B,).

    With L = 0, (1−m)⊙z_0 = (1−m)⊙ ᾱ_t^{-1/2} [z_t^m − √(1−ᾱ_t) ε_θ(z_t^m, t, C2)].
    """
    predicted = ddim.predicted_clean(z_tm, eps_C2, _per_sample(alpha_bar, z_0))
    return torch.sqrt(area_mean((z_0 - predicted).square(), 1 - m))


def _per_sample(alpha_bar: Tensor, like: Tensor) -> Tensor:
    return alpha_bar.to(like)[:, None, None, None]
