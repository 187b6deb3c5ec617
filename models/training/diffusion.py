"""Stage 2: U-Net, text encoder and the defect tokens learn together, with the disentanglement loss."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn

from models.backbone import Backbone
from models.folders import BackboneError
from models.rendering import DEFECT_TYPES
from models.training.pool import Pool
from models.training.preview import preview
from models.training.recipe import Ablation, Recipe
from models.training.sheets import write_sheet
from models.training.terms import Rows, Terms
from models.training.text import new_text_encoder, new_tokenizer
from models.training.vae import warm_cosine


def new_backbone(recipe: Recipe, vae: Any, device: torch.device) -> Backbone:
    """A backbone around a trained VAE, the rest untrained."""
    tokenizer = new_tokenizer(recipe)
    text_encoder = new_text_encoder(recipe, tokenizer)
    factor = 2 ** (len(recipe.vae_encoder_blocks) - 1)
    unet = UNet2DConditionModel(
        sample_size=recipe.window_px // factor,
        in_channels=recipe.latent_channels,
        out_channels=recipe.latent_channels,
        block_out_channels=recipe.unet_channels,
        down_block_types=("CrossAttnDownBlock2D",) * len(recipe.unet_channels),
        up_block_types=("CrossAttnUpBlock2D",) * len(recipe.unet_channels),
        # The finest level attends to tokens alone: that tells it the mask cell by cell, and costs little.
        only_cross_attention=[level == 0 for level in range(len(recipe.unet_channels))],
        layers_per_block=1,
        attention_head_dim=recipe.heads,
        cross_attention_dim=recipe.text_width,
        norm_num_groups=recipe.norm_groups,
    )
    scheduler = DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        prediction_type="v_prediction",
    )
    return Backbone(
        unet=unet,
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        scheduler=scheduler,
        name=recipe.name,
        device=device,
    )


def continued(recipe: Recipe, begun: Backbone, device: torch.device) -> Backbone:
    """A backbone by this recipe with the weights of `begun`; attention that `begun` lacks adds nothing yet.

    Raises:
        BackboneError: weights of one name have another shape.
    """
    backbone = new_backbone(recipe, begun.vae, device)
    try:
        backbone.text_encoder.load_state_dict(begun.text_encoder.state_dict())
        lacking = backbone.unet.load_state_dict(begun.unet.state_dict(), strict=False)
    except RuntimeError as error:
        raise BackboneError(f"{begun.name} does not fit this recipe: {error}") from error
    if lacking.unexpected_keys:
        raise BackboneError(f"{begun.name} does not fit this recipe: it has {', '.join(lacking.unexpected_keys)}")
    weights = dict(backbone.unet.named_parameters())
    with torch.no_grad():
        for key in lacking.missing_keys:
            if ".proj_out." in key:
                weights[key].zero_()
    return backbone


class DiffusionStage:
    """Learns from a pool of scenes; `held` is another pool of rendered ones, for the sheets.

    Tokens of the rendered types begin as `tokens` (types, n, D), or random.

    Types of photos get tokens beside the rendered ones', which come first; nobody else uses them.
    """

    name = "unet"

    def __init__(
        self,
        recipe: Recipe,
        backbone: Backbone,
        pool: Pool,
        held: Pool,
        ablation: Ablation | None = None,
        tokens: Tensor | None = None,
    ) -> None:
        self.recipe = recipe
        self.backbone = backbone
        self.held = held
        self.types = [*DEFECT_TYPES, *sorted(set(pool.types) - {*DEFECT_TYPES, ""})]
        rows = Rows(
            defects=recipe.batch_defects,
            backgrounds=recipe.batch_backgrounds,
            normals=recipe.batch_normals,
            gamma=recipe.gamma,
            least_start=recipe.least_start,
            least_sketched=recipe.least_sketched,
            sketched=recipe.sketched,
        )
        self.terms = Terms(rows, backbone, pool, self.types, ablation or Ablation())
        first = torch.Generator().manual_seed(recipe.seed)
        width = backbone.token_width
        drawn = torch.randn(len(self.types), recipe.tokens_per_type, width, generator=first)
        if tokens is not None:
            drawn[: len(tokens)] = tokens
        self.tokens = nn.Parameter(drawn.to(backbone.device))
        backbone.unet.to(memory_format=torch.channels_last).train()
        backbone.text_encoder.train()
        self.optimizer = torch.optim.AdamW(
            [
                {"params": list(backbone.unet.parameters()), "rate": recipe.rate, "weight_decay": 1e-3},
                {"params": list(backbone.text_encoder.parameters()), "rate": recipe.rate, "weight_decay": 1e-3},
                {"params": [self.tokens], "rate": recipe.token_rate, "weight_decay": 0.0},
            ],
            lr=recipe.rate,
            betas=(0.9, 0.99),
            fused=True,
        )
        self.average = {key: value.detach().clone() for key, value in self._learned()}

    def step(self, step: int, progress: float) -> dict[str, float]:
        """One batch: both terms, each a mean over its own rows."""
        recipe = self.recipe
        rng = np.random.default_rng([recipe.seed, 2, step])
        noise = torch.Generator().manual_seed(int(rng.integers(2**62)))
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * warm_cosine(step, progress, recipe.hold)

        close_up = progress < recipe.close_up
        first, second = self.terms(self.tokens, rng, noise, close_up)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(first + recipe.lam * second)
        torch.nn.utils.clip_grad_norm_([p for g in self.optimizer.param_groups for p in g["params"]], 1.0)
        self.optimizer.step()
        self._follow(step)
        return {"defect": first.item(), "background": second.item()}

    def state(self) -> dict[str, Any]:
        """Weights, their average, tokens and optimiser."""
        return {
            "learned": {key: value.detach() for key, value in self._learned()},
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
        with torch.no_grad():
            for key, value in self._learned():
                value.copy_(state["learned"][key])
        self.average = {key: value.to(self.backbone.device) for key, value in state["average"].items()}
        self.optimizer.load_state_dict(state["optimizer"])

    def sheet(self, path: Path) -> None:
        """Held normals: normal, mask, C1's defect, C2's control, and the rendered defect, of the average."""
        backbone, tokens = self.averaged()
        write_sheet(path, preview(backbone, tokens, self.held))

    def averaged(self) -> tuple[Backbone, Tensor]:
        """The backbone and the rendered types' tokens (types, n, D) with averaged weights."""
        unet, text_encoder = copy.deepcopy(self.backbone.unet), copy.deepcopy(self.backbone.text_encoder)
        with torch.no_grad():
            for prefix, module in (("unet.", unet), ("text_encoder.", text_encoder)):
                for key, value in module.named_parameters():
                    value.copy_(self.average[prefix + key])
        backbone = Backbone(
            unet=unet,
            vae=self.backbone.vae,
            text_encoder=text_encoder,
            tokenizer=self.backbone.tokenizer,
            scheduler=self.backbone.scheduler,
            name=self.backbone.name,
            device=self.backbone.device,
        )
        return backbone, self.average["tokens"][: len(DEFECT_TYPES)].clone()

    def _learned(self) -> Iterator[tuple[str, Tensor]]:
        for prefix, module in (("unet.", self.backbone.unet), ("text_encoder.", self.backbone.text_encoder)):
            for key, value in module.named_parameters():
                yield prefix + key, value
        yield "tokens", self.tokens

    def _follow(self, step: int) -> None:
        """The average forgets slowly, after a warm-up."""
        share = 1 - min(self.recipe.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            for key, value in self._learned():
                self.average[key].lerp_(value, share)
