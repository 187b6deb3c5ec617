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

from models.attention import Region
from models.backbone import Backbone, BackboneError
from models.ddim import EXEMPLAR_REACH, carried, laid
from models.losses import background_term, defect_term, diffused, diffused_background, velocity_weight
from models.rendering import DEFECT_TYPES
from models.training.pool import Pool
from models.training.preview import preview
from models.training.recipe import Ablation, Recipe
from models.training.sheets import write_sheet
from models.training.text import new_text_encoder, new_tokenizer
from models.training.vae import autocast, warm_cosine

_ANY_PART = "part"


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

    One forward pass serves both terms: rows of the first carry their mask and defect tokens; rows of the
    second carry a full mask and no valid defect token, which is attention without a mask under C2 alone.
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
        self.ablation = ablation or Ablation()
        self.backbone = backbone
        self.pool = pool
        self.held = held
        self.types = [*DEFECT_TYPES, *sorted(set(pool.types) - {*DEFECT_TYPES, ""})]
        self._defective = np.flatnonzero([bool(name) for name in pool.types])
        self._known = np.flatnonzero(pool.known.numpy())
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
        recipe, device = self.recipe, self.backbone.device
        rng = np.random.default_rng([recipe.seed, 2, step])
        noise = torch.Generator().manual_seed(int(rng.integers(2**62)))
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * warm_cosine(step, progress, recipe.hold)

        close_up = progress < recipe.close_up
        n, k, rest = (
            rows * (2 if close_up else 1)
            for rows in (recipe.batch_defects, recipe.batch_backgrounds, recipe.batch_normals)
        )
        scenes = torch.from_numpy(rng.choice(self._defective, n, replace=len(self._defective) < n))
        normals = torch.from_numpy(rng.choice(self._known, rest))
        m = torch.stack([self._mask(int(i), rng) for i in scenes])
        m_normals = torch.stack(
            [
                self._mask(int(rng.choice(self._defective)), rng) if i % 3 == 2 else torch.zeros_like(m[0])
                for i in range(len(normals))
            ]
        )
        disentangled = self.ablation.disentangled
        backgrounds = (self.pool.image if disentangled else self.pool.normal)[scenes[:k]]
        z_0 = torch.cat([self.pool.image[scenes], backgrounds, self.pool.normal[normals]]).float()
        t = torch.from_numpy(self._timesteps(rng, n + k + rest))
        sketched = (t[:n] < self._reach) & torch.from_numpy(rng.random(n) < recipe.sketched)
        starts = self._starts(rng, t[:n], sketched)
        z_n = self._begun(scenes, starts, sketched)
        m = torch.cat([m, m[:k], m_normals])
        if close_up:
            corners = [_corner(one, rng) for one in (*m[:n], *m[n + k :])]
            corners[n:n] = corners[:k]
            z_0, z_n, m = _quarters(z_0, corners), _quarters(z_n, corners[:n]), _quarters(m, corners)
        m = m.to(device)
        parts = [self._prompt(int(i), rng) for i in torch.cat([scenes, scenes[:k], normals])]
        alpha_bar = self.backbone.alphas_cumprod[t].float().to(device)
        eps = torch.randn(z_0.shape, generator=noise).to(device)
        z_0, z_n, t = z_0.to(device), z_n.to(device), t.to(device)
        eps[:n] = carried(eps[:n], z_0[:n], z_n, m[:n], self._alpha_bar(starts).to(device))

        learned, taken = (m[:n], m[n:]) if disentangled else (torch.ones_like(m[:n]), torch.zeros_like(m[n:]))

        z_t = torch.cat(
            [
                diffused(z_0[:n], eps[:n], alpha_bar[:n]),
                diffused_background(z_0[n:], taken, eps[n:], alpha_bar[n:]),
            ]
        )
        with autocast(device):
            types = torch.tensor([self.types.index(self.pool.types[i]) for i in scenes.tolist()])
            tokens = self._conditions(parts, types.to(device))
            region = self._region(m, n)
            predicted = self.backbone.predict_noise(z_t, t, tokens, region).float()
        weight = velocity_weight(alpha_bar, recipe.gamma)
        first = (weight[:n] * defect_term(eps[:n], predicted[:n], learned)).mean()
        second = (weight[n:] * background_term(eps[n:], predicted[n:], taken)).mean()
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

    def _mask(self, i: int, rng: np.random.Generator) -> Tensor:
        """m of scene i: (1, L, L) float32."""
        requests = self.pool.requests[i]
        return requests[int(rng.integers(len(requests)))][None].float()

    def _prompt(self, i: int, rng: np.random.Generator) -> str:
        """C2's text: mostly the part's name; sometimes none, because requests may name none."""
        kind = rng.random()
        if kind < 0.2:
            return _ANY_PART
        return self.pool.parts[i] if kind < 0.85 else f"a photo of a {self.pool.parts[i]}"

    def _timesteps(self, rng: np.random.Generator, count: int) -> Any:
        """t, one from each of `count` equal slices of T: evenly spread within a batch."""
        T = len(self.backbone.alphas_cumprod)
        slices = (rng.permutation(count) + rng.random(count)) / count
        return np.minimum((slices * T).astype(np.int64), T - 1)

    @property
    def _reach(self) -> int:
        """The timestep below which drawings on a sketch begin."""
        return int(EXEMPLAR_REACH * len(self.backbone.alphas_cumprod))

    def _starts(self, rng: np.random.Generator, t: Tensor, sketched: Tensor) -> Tensor:
        """The level (B,) at which the drawing began whose noise each row carries: at t or above."""
        T = len(self.backbone.alphas_cumprod)
        top = np.where(sketched.numpy(), self._reach, T)
        least = np.where(sketched.numpy(), self.recipe.least_sketched, self.recipe.least_start)
        lowest = np.maximum(t.numpy(), (least * T).astype(np.int64))
        # Squared: the first steps after a start see the most of it, and settle the most.
        return torch.from_numpy((lowest + rng.random(len(t)) ** 2 * (top - lowest)).astype(np.int64))

    def _begun(self, scenes: Tensor, starts: Tensor, sketched: Tensor) -> Tensor:
        """What the drawings began on (B, C, L, L): the normal image, or a sketch laid over it as a start does."""
        normal, sketch = self.pool.normal[scenes].float(), self.pool.sketch[scenes].float()
        severity = sketched * starts / self._reach
        return laid(normal, sketch, severity.float()[:, None, None, None])

    def _alpha_bar(self, t: Tensor) -> Tensor:
        """ᾱ of levels (B,): (B, 1, 1, 1)."""
        return self.backbone.alphas_cumprod[t].float()[:, None, None, None]

    def _conditions(self, parts: list[str], types: Tensor) -> Tensor:
        """C1 of the first rows, C2 (padded to C1's length) of the others: (B, N, D)."""
        c2 = self.backbone.embed(parts)
        padding = c2.new_zeros(len(parts) - len(types), *self.tokens.shape[1:])
        return torch.cat([c2, torch.cat([self.tokens[types].to(c2), padding])], dim=1)

    def _region(self, m: Tensor, defects: int) -> Region:
        mask = torch.cat([m[:defects], torch.ones_like(m[defects:])])
        valid = torch.zeros(len(m), self.recipe.tokens_per_type, dtype=torch.bool, device=m.device)
        valid[:defects] = True
        return Region(
            mask,
            self.backbone.background_tokens,
            valid,
            masked_self=self.ablation.masked_self,
            masked_cross=self.ablation.masked_cross,
        )


def _corner(m: Tensor, rng: np.random.Generator) -> tuple[int, int]:
    """Where a quarter of a window begins that holds a cell of its mask (1, L, L), or anything if there is none."""
    half = m.shape[-1] // 2
    cells = m[0].nonzero()
    if not len(cells):
        row, column = rng.integers(0, half + 1, 2).tolist()
        return row, column
    row, column = (
        int(rng.integers(max(cell - half + 1, 0), min(cell, half) + 1))
        for cell in cells[rng.integers(len(cells))].tolist()
    )
    return row, column


def _quarters(x: Tensor, corners: list[tuple[int, int]]) -> Tensor:
    """(B, C, L, L) → (B, C, L/2, L/2)."""
    half = x.shape[-1] // 2
    return torch.stack(
        [one[:, row : row + half, column : column + half] for one, (row, column) in zip(x, corners, strict=True)]
    )
