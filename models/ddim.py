"""DDIM as functions: the grid of noise levels, inversion and denoising steps.

Level 0 is the clean latent (ᾱ = 1); level i of a grid of ``steps`` has timestep ``i·T/steps − 1``, so that
level ``steps`` is the last of T. Song et al., *Denoising Diffusion Implicit Models* (arXiv 2010.02502), Eq. 12.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

EXEMPLAR_REACH = 0.6
"""Level, as a share of T, where a drawing of severity 1 begins on an exemplar: above, too little of it is left."""
WHOLE_AT = 0.3
"""Severity at which an exemplar is laid over the normal image as it is."""
_SLOPES = (0.4, 2.5)  # of a drawing against what it began on, that are made up for


@dataclass(frozen=True, eq=False)
class Grid:
    """Noise levels 0 … ``steps`` over all of T.

    Attributes:
        timesteps: (steps + 1,) long; entry 0 is never shown to a model.
        alpha_bar: (steps + 1,) float64; ᾱ by level, 1 at level 0.
    """

    timesteps: Tensor
    alpha_bar: Tensor

    @classmethod
    def over(cls, alphas_cumprod: Tensor, steps: int) -> Grid:
        """Cut all of T into ``steps`` levels.

        Raises:
            ValueError: more steps than timesteps, or none.
        """
        T = len(alphas_cumprod)
        if not 1 <= steps <= T:
            raise ValueError(f"steps must be between 1 and {T}; got {steps}")
        levels = torch.arange(steps + 1, dtype=torch.float64)
        timesteps = (levels * T / steps).round().long() - 1
        alpha_bar = torch.cat([torch.ones(1, dtype=torch.float64), alphas_cumprod.double()[timesteps[1:]]])
        return cls(timesteps.clamp(min=0), alpha_bar)

    @property
    def steps(self) -> int:
        return len(self.timesteps) - 1

    def depth(self, severity: float, exemplar: bool = False) -> int:
        """The level T′ that an inversion of this severity (0, 1] goes to: ``max(1, round(severity·steps))``.

        On an exemplar a drawing begins at that share of EXEMPLAR_REACH.
        """
        share = severity * EXEMPLAR_REACH if exemplar else severity
        return max(1, min(self.steps, int(share * self.steps + 0.5)))


def predicted_clean(z_t: Tensor, noise: Tensor, alpha_bar: float | Tensor) -> Tensor:
    """ẑ_0 = (z_t − √(1−ᾱ) ε) / √ᾱ; a tensor of levels must broadcast."""
    clean: Tensor = (z_t - (1 - alpha_bar) ** 0.5 * noise) / alpha_bar**0.5
    return clean


def noise_of_velocity(z_t: Tensor, velocity: Tensor, alpha_bar: float | Tensor) -> Tensor:
    """ε = √(1−ᾱ) z_t + √ᾱ v, with v = √ᾱ ε − √(1−ᾱ) z_0; a tensor of levels must broadcast.

    Salimans & Ho, *Progressive Distillation for Fast Sampling of Diffusion Models* (arXiv 2202.00512), appendix D.
    """
    noise: Tensor = (1 - alpha_bar) ** 0.5 * z_t + alpha_bar**0.5 * velocity
    return noise


def diffused(z_0: Tensor, noise: Tensor, alpha_bar: float | Tensor) -> Tensor:
    """z_t = √ᾱ z_0 + √(1−ᾱ) ε; a tensor of levels must broadcast."""
    noisy: Tensor = alpha_bar**0.5 * z_0 + (1 - alpha_bar) ** 0.5 * noise
    return noisy


def moved(z_t: Tensor, noise: Tensor, alpha_bar_from: float, alpha_bar_to: float) -> Tensor:
    """One deterministic DDIM step (η = 0) between two levels, up (inversion) or down (denoising)."""
    return diffused(predicted_clean(z_t, noise, alpha_bar_from), noise, alpha_bar_to)


def start(
    z_0: Tensor, z_T: Tensor, seed_noise: Tensor, alpha_bar: float, seed_share: float, begun: Tensor | None = None
) -> Tensor:
    """Where denoising of the inside begins (design §2, step 3).

    ``√ᾱ z_b + √(1−ᾱ) (√(1−ρ²) ε_inv + ρ ε_seed)`` with ``ε_inv = (z_T' − √ᾱ z_0)/√(1−ᾱ)``: the inversion's own
    noise mixed with the seed's, at the variance of either, on what the drawing begins on.

    Args:
        z_0: clean latent, any shape.
        z_T: the same latent inverted to the level of ``alpha_bar`` (< 1).
        seed_noise: standard normal noise of the same shape.
        seed_share: ρ in [0, 1].
        begun: z_b, what an exemplar makes of z_0 (`laid`); None is z_0 itself.
    """
    inverted = (z_T - math.sqrt(alpha_bar) * z_0) / math.sqrt(1 - alpha_bar)
    noise = math.sqrt(1 - seed_share**2) * inverted + seed_share * seed_noise
    return diffused(z_0 if begun is None else begun, noise, alpha_bar)


def laid(z_0: Tensor, exemplar: Tensor, severity: float | Tensor) -> Tensor:
    """An exemplar laid over the normal image: z_0 + √(severity/WHOLE_AT) (z_e − z_0).

    It fades below that severity. Above, it is exaggerated (up to 1.8 times): a deeper start alone draws no
    stronger defect than the exemplar was.

    Args:
        z_0, exemplar: latents of one shape.
        severity: in [0, 1]; a tensor of them must broadcast.
    """
    return z_0 + (severity / WHOLE_AT) ** 0.5 * (exemplar - z_0)


def strengthened(z_0: Tensor, drawn: Tensor, severity: float, default: float) -> Tensor:
    """What was drawn at another severity than the type's default: z_0 + √(severity/default) (ẑ_0 − z_0).

    A deeper start alone draws no stronger defect: denoising makes it as strong as those that it has learned from.

    Args:
        z_0, drawn: latents of one shape.
        severity, default: in (0, 1].
    """
    return drawn if severity == default else z_0 + math.sqrt(severity / default) * (drawn - z_0)


def kept_strength(z_0: Tensor, drawn: Tensor, begun: Tensor, m: Tensor) -> Tensor:
    """What was drawn, as strong as what it began on: z_0 + (ẑ_0 − z_0) / a, where ẑ_0 − z_0 ≈ a (z_b − z_0) in m.

    A few steps of denoising fade large defects, and guidance makes all of a type alike dark; of the real ones' own
    contrasts a detector learns more. `a` is the slope of least squares, within [0.4, 2.5]; a drawing that goes
    against what it began on stays as it is.

    Args:
        z_0, drawn, begun: (C, h, w) latents of the photo, of the drawing, and of the photo with the real defect.
        m: (1, h, w) 0/1, the cells that are drawn.

    Returns:
        (C, h, w), of the drawing's type.
    """
    laid, change = (m * (begun - z_0)).float(), (m * (drawn - z_0)).float()
    slope = (laid * change).sum() / laid.square().sum().clamp(min=1e-9)
    divisor = torch.where(slope > 0, slope.clamp(*_SLOPES), torch.ones_like(slope))
    return (z_0 + (drawn - z_0) / divisor).to(drawn.dtype)


def carried(noise: Tensor, z_0: Tensor, normal: Tensor, m: Tensor, alpha_bar: float | Tensor) -> Tensor:
    """The noise of a drawing that began at the level ᾱ: ε + √(ᾱ/(1−ᾱ)) m⊙(z_n − z_0).

    `start` leaves √ᾱ z_n of the normal image in the mask, or of a sketch on it, where a defect z_0 is to come:
    what of z_n is not z_0 is noise to whoever denoises, and DDIM carries it along to all lower levels.
    """
    residue: Tensor = (alpha_bar / (1 - alpha_bar)) ** 0.5 * m * (normal - z_0)
    return noise + residue


def guided(noise_c2: Tensor, noise_c1: Tensor, guidance: float) -> Tensor:
    """Classifier-free guidance from background to defect: ε_C2 + g (ε_C1 − ε_C2)."""
    return noise_c2 + guidance * (noise_c1 - noise_c2)
