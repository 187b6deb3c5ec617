"""Seeded noise, made on the CPU, so that it is the same on every device."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def noise_key(seed: int, index: int, region: str, attempt: int) -> int:
    """63 bits from a hash of (seed, index, region, attempt): an item's noise depends on nothing else."""
    text = f"flawsmith-noise-1|{seed}|{index}|{region}|{attempt}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@dataclass(frozen=True)
class Spectrum:
    """The power of ε by spatial frequency f, in cycles per latent cell: S(f) ∝ white + (1 − white) R(f).

    R(f) ∝ 1/(corner² + f²), as in natural images. White noise averages out over a region, so that even at a deep t
    z_t tells its mean, and what is denoised from it changes detail alone; red noise hides all scales alike
    (decision 0015).
    ε is Gaussian, of unit variance in every cell and independent of z_0, which is all that DDIM asks of it.

    Attributes:
        white: the white share of the variance, in (0, 1]; 1 is the white noise of Stable Diffusion.
        corner: the frequency below which R is flat, in (0, 0.5].

    Raises:
        ValueError: an attribute is out of its range.
    """

    white: float = 1.0
    corner: float = 1 / 32

    def __post_init__(self) -> None:
        if not 0 < self.white <= 1:
            raise ValueError(f"white share {self.white} of the noise is not in (0, 1]")
        if not 0 < self.corner <= 0.5:
            raise ValueError(f"corner {self.corner} of the noise is not a frequency in (0, 0.5]")

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """ε of shape (…, h, w): float32 on the CPU; fields of other leading indices are independent."""
        if self.white == 1:
            return torch.randn(shape, generator=generator, dtype=torch.float32)
        # A torus larger than the plane, cut to it: opposite borders of the plane are no neighbours.
        *leading, h, w = shape
        margin = round(1 / self.corner)
        torus = (h + margin, w + margin)
        n = torch.randn((*leading, *torus), generator=generator, dtype=torch.float32)
        eps = np.fft.irfft2(np.fft.rfft2(n.numpy()) * np.sqrt(self.power(torus)), s=torus)
        return torch.from_numpy(eps[..., :h, :w].astype(np.float32))

    def power(self, torus: tuple[int, int]) -> NDArray[np.float64]:
        """S at the frequencies of a real FFT over (h, w) cells: (h, w // 2 + 1), of mean 1 over all h·w."""
        h, w = torus
        f_squared = np.fft.fftfreq(h)[:, None] ** 2 + np.fft.fftfreq(w)[None, :] ** 2
        red = 1 / (self.corner**2 + f_squared)
        whole: NDArray[np.float64] = self.white + (1 - self.white) * red / red.mean()
        return whole[:, : w // 2 + 1]


def seeded_noise(key: int, shape: tuple[int, ...], spectrum: Spectrum) -> Tensor:
    """ε of shape (…, h, w) from its key."""
    return spectrum.draw(shape, torch.Generator("cpu").manual_seed(key))
