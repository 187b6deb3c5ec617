"""Stage 1: the VAE, an f4 AutoencoderTiny that learns from crops of rendered scenes and of photos."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny
from numpy.typing import NDArray
from torch import Tensor

from models.features import features
from models.training.precision import autocast
from models.training.recipe import Recipe
from models.training.sheets import write_sheet


def new_vae(recipe: Recipe) -> Any:
    """An untrained AutoencoderTiny."""
    encoder, decoder = recipe.vae_encoder_blocks, recipe.vae_decoder_blocks
    return AutoencoderTiny(
        encoder_block_out_channels=(recipe.vae_channels,) * len(encoder),
        decoder_block_out_channels=(recipe.vae_channels,) * len(decoder),
        num_encoder_blocks=encoder,
        num_decoder_blocks=decoder,
        latent_channels=recipe.latent_channels,
    )


def reconstruction_loss(x: Tensor, y: Tensor, edge_weight: float, chroma_weight: float = 0.0) -> Tensor:
    """L1 + MSE on pixels in [−1, 1], and L1 on their differences along rows and columns, for sharp edges.

    ``chroma_weight`` adds L1 on what is left without the channels' mean: luminance is most of a photo's error, and
    without it colour is learned last.
    """
    error = x - y
    chroma = (error - error.mean(dim=1, keepdim=True)).abs().mean()
    edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    return error.abs().mean() + error.square().mean() + edge_weight * edges + chroma_weight * chroma


def latent_norm(z: Tensor) -> Tensor:
    """How far each channel of a batch of latents is from mean 0 and variance 1."""
    return z.mean(dim=(0, 2, 3)).square().mean() + (z.var(dim=(0, 2, 3)) - 1).square().mean()


class VaeStage:
    """Learns to code `images` and `photos`, both (N, P, P, 3) uint8.

    The first few images are kept out of it and shown on the sheets.
    """

    name = "vae"
    _HELD = 12

    def __init__(
        self,
        recipe: Recipe,
        images: NDArray[np.uint8],
        device: torch.device,
        photos: NDArray[np.uint8] | None = None,
    ) -> None:
        self.recipe = recipe
        self.device = device
        held = min(self._HELD, len(images) // 2)
        self.held, self.images = images[:held], images[held:]
        self.photos = photos if photos is not None and len(photos) else None
        self.features = features(str(device))
        torch.manual_seed(recipe.seed)
        self.vae = new_vae(recipe).to(device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(
            self.vae.parameters(), lr=recipe.vae_rate, betas=(0.9, 0.99), weight_decay=1e-4, fused=True
        )

    def step(self, step: int, progress: float) -> dict[str, float]:
        """One batch of random crops, turned and mirrored."""
        recipe = self.recipe
        rng = np.random.default_rng([recipe.seed, 1, step])
        noise = torch.Generator().manual_seed(int(rng.integers(2**62)))
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.vae_rate * warm_cosine(step, progress)
        x = to_pixels(np.stack([self._crop(rng) for _ in range(recipe.vae_batch)]), self.device) * 2 - 1
        with autocast(self.device):
            z = self.vae.encode(x).latents
            noisy = z + recipe.latent_noise * torch.randn(z.shape, generator=noise).to(z)
            y = self.vae.decode(noisy).sample
        loss = reconstruction_loss(x, y.float(), recipe.edge_weight, recipe.chroma_weight)
        if recipe.perceptual_weight:
            distance = self.features.distance((x + 1) / 2, (y.float() + 1) / 2).mean()
            loss = loss + recipe.perceptual_weight * distance
        norm = latent_norm(z.float())
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss + recipe.latent_norm * norm)
        torch.nn.utils.clip_grad_norm_(self.vae.parameters(), 1.0)
        self.optimizer.step()
        mse = (x - y.detach().float()).square().mean().item() / 4
        return {"loss": loss.item(), "norm": norm.item(), "psnr": -10 * math.log10(max(mse, 1e-10))}

    def state(self) -> dict[str, Any]:
        """Weights and optimiser."""
        return {"vae": self.vae.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        self.vae.load_state_dict(state["vae"])
        self.optimizer.load_state_dict(state["optimizer"])

    def sheet(self, path: Path) -> None:
        """Held images above their reconstructions."""
        write_sheet(path, [[image, again] for image, again in zip(self.held, self._again(), strict=True)])

    def held_psnr(self) -> float:
        """PSNR of the held images in dB, over all of them."""
        error = (self.held.astype(np.float64) - self._again()) / 255
        return float(-10 * math.log10(max(float(np.square(error).mean()), 1e-10)))

    def finish(self) -> Any:
        """The VAE with scaling_factor := 1/std of its latents, and shift_factor their mean."""
        with torch.no_grad():
            x = to_pixels(self.images[:64], self.device) * 2 - 1
            z = torch.cat([self.vae.encode(part).latents for part in torch.split(x, 8)])
        self.vae.register_to_config(
            scaling_factor=round(1 / z.std().item(), 4), shift_factor=round(z.mean().item(), 4)
        )
        return self.vae.eval()

    def _crop(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        shown = self.photos is not None and rng.random() < self.recipe.photo_share
        images = self.photos if shown and self.photos is not None else self.images
        image: NDArray[np.uint8] = images[rng.integers(len(images))]
        crop = self.recipe.vae_crop_px
        row, column = rng.integers(0, image.shape[0] - crop + 1, 2)
        turned = np.rot90(image[row : row + crop, column : column + crop], int(rng.integers(4)))
        return turned[:, ::-1] if rng.random() < 0.5 else turned

    def _again(self) -> NDArray[np.uint8]:
        with torch.no_grad():
            x = to_pixels(self.held, self.device) * 2 - 1
            return to_bytes((self.vae.decode(self.vae.encode(x).latents).sample + 1) / 2)


def to_pixels(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """(N, P, P, 3) uint8 → (N, 3, P, P) float32 in [0, 1], channels last in memory."""
    x = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    return x.to(device).float().div(255).contiguous(memory_format=torch.channels_last)


def to_bytes(x: Tensor) -> NDArray[np.uint8]:
    """(N, 3, P, P) in [0, 1] → (N, P, P, 3) uint8."""
    scaled: NDArray[np.uint8] = (x.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return scaled


def warm_cosine(step: int, progress: float, hold: float = 0.0, warm: int = 50) -> float:
    """Learning rate share: a linear warm-up of `warm` steps, all of it until `hold`, then a cosine down to 2 %."""
    fallen = max(progress - hold, 0.0) / (1 - hold)
    return min((step + 1) / warm, 1.0) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * fallen)))
