"""The reference: what one writes with plain diffusers, in float32, eager, one item after the other.

Each item inverts its windows by ``DDIMInverseScheduler`` anew and denoises by ``DDIMScheduler`` with two passes a
step: the defect's under C1, and the background's under C2, which brings the photo back where no defect is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler, UNet2DConditionModel
from torch import Tensor

from bench.speed.workloads import Frame
from models.adapters import Adapter
from models.backbone import Backbone
from models.cuts import cut, cut_mask
from models.ddim import start
from models.levels import Levels, colour, saturation
from models.lora import Weights, worn
from models.masks import Mask, on_latent_grid
from models.noise import seeded_noise
from models.resampling import as_model_input
from models.windows import Window, plan
from service.images.canonical import CanonicalImage
from service.images.decoding import read_canonical


class Reference:
    """Draws items with the U-Net as diffusers makes it; VAE and text encoder are the backbone's own.

    Args:
        backbone: loaded in float32.
        steps: of the grid over all of T.
        severity: share of the grid that is inverted.
        guidance: other than 1 takes a third pass a step, under C2 where the defect is drawn.
        weights: low-rank weights of the type, worn for good.
        seed_share: ρ, of the seed's noise where the defect is drawn.
    """

    def __init__(
        self,
        backbone: Backbone,
        steps: int,
        severity: float,
        guidance: float,
        seed_share: float = 1.0,
        weights: Weights | None = None,
    ) -> None:
        self._backbone = backbone
        self._unet: Any = UNet2DConditionModel.from_config(backbone.unet.config)
        with worn(backbone.unet, weights or {}):
            self._unet.load_state_dict(backbone.unet.state_dict())
        self._unet.to(backbone.device).eval()
        self._down: Any = DDIMScheduler.from_config(backbone.scheduler.config, clip_sample=False)
        self._up: Any = DDIMInverseScheduler.from_config(backbone.scheduler.config, clip_sample=False)
        for scheduler in (self._down, self._up):
            scheduler.set_timesteps(steps, device=backbone.device)
        self._depth = max(1, round(severity * steps))
        self._guidance = guidance
        self._seed_share = seed_share

    @property
    def nbytes(self) -> int:
        """Memory of its weights, as if it had no others than these on the device."""
        return self._backbone.nbytes

    @torch.inference_mode()
    def item(self, frame: Frame, mask: Mask, adapter: Adapter, seed: int) -> CanonicalImage:
        """The frame, decoded, with a defect drawn into the mask."""
        image = read_canonical(frame.png)
        pixels = image.pixels.copy()
        for plot in plan(mask, self._backbone.window_px, self._backbone.latent_size):
            for window in plot.windows:
                self._draw(colour(pixels), window, mask, adapter, seed)
        return replace(image, pixels=pixels)

    def _draw(self, pixels: Any, window: Window, mask: Mask, adapter: Adapter, seed: int) -> None:
        """Draw one window of what is asked for into (H, W, 1 or 3) pixels."""
        seen = np.asarray(cut(window, pixels))
        levels = Levels.of(seen)
        x = as_model_input(levels.to_unit(seen), self._backbone.window_px)[None].to(self._backbone.device)
        within = on_latent_grid(cut_mask(window, mask, self._backbone.window_px), self._backbone.factor)
        drawn = self._denoised(x, torch.from_numpy(within).to(x)[None, None], adapter, seed)
        picture = cv2.resize(
            drawn[0].permute(1, 2, 0).cpu().numpy(), (window.side, window.side), interpolation=cv2.INTER_CUBIC
        )
        if pixels.shape[2] == 1:
            picture = picture.mean(axis=2, keepdims=True)
        rows, columns = (
            slice(max(corner, 0), min(corner + window.side, size))
            for corner, size in zip((window.y, window.x), mask.shape, strict=True)
        )
        part = picture[rows.start - window.y :, columns.start - window.x :]
        asked = mask[rows, columns]
        part = part[: asked.shape[0], : asked.shape[1]]
        pixels[rows, columns][asked] = levels.from_unit(part[asked], pixels.dtype, saturation(pixels))

    def _denoised(self, x: Tensor, within: Tensor, adapter: Adapter, seed: int) -> Tensor:
        """(1, 3, P, P) in [0, 1] → the same with the defect, (1, 1, L, L) telling where."""
        background = self._backbone.embed([adapter.card.part])
        defect = torch.cat([background, adapter.tokens.to(background)[None]], dim=1)
        z_0 = z = self._backbone.encode(x)
        for t in self._up.timesteps[: self._depth]:
            z = self._up.step(self.predict_noise(z, t, background), t, z).prev_sample
        timesteps = self._down.timesteps[-self._depth :]
        alpha_bar = float(self._down.alphas_cumprod[timesteps[0]])
        noise = seeded_noise(seed, tuple(z.shape[1:]))[None].to(z)
        begun = start(z_0, z, noise, alpha_bar, self._seed_share)
        outside, z = z, torch.where(within > 0, begun, z)
        for t in timesteps:
            predicted = self.predict_noise(z, t, defect)
            if self._guidance != 1:
                under_background = self.predict_noise(z, t, background)
                predicted = under_background + self._guidance * (predicted - under_background)
            z = self._down.step(predicted, t, z).prev_sample
            outside = self._down.step(self.predict_noise(outside, t, background), t, outside).prev_sample
            z = torch.where(within > 0, z, outside)
        return self._backbone.decode(z)

    def predict_noise(self, z: Tensor, t: Tensor, tokens: Tensor) -> Tensor:
        """What the U-Net predicts, as the schedulers read it."""
        predicted: Tensor = self._unet(z, t, encoder_hidden_states=tokens).sample
        return predicted
