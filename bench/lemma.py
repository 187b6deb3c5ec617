"""``python -m bench lemma``: is the background the normal image's, and which part of the method makes it so?

Four measures, with trajectory reinjection off and without compositing, on held rendered scenes (design §2):
(i) the residual of Lemma 3.1 by t: RMS over 1−m of z_0 less what ε_θ(z_t^m, t, C2) tells of it; m the tight mask;
(ii) the error outside m of a free-running inversion of the normal image under C2 and denoising under C1 (guidance
     1, the seed's share of the noise in m only), as RMS in latents and in decoded pixels against D(z_0);
(iii) the decoder's leak: D of the true z_0 outside m with (ii)'s latents inside, against D(z_0): pixel RMS outside
     m dilated by 0, 4, 8 and 16 px;
(iv) the VAE's round trip outside m, PSNR of the scenes' pooled error: the same for all, as the VAE does not learn.

Pixels are in unit range, m is the tight mask on the latent grid. Four variants learn for equally many steps, from
the same start, on the same scenes with the same seeds, and are judged as they learned, with averaged weights:
full          the disentanglement loss with masked attention
no term       the plain diffusion loss in place of both terms: z_t of a defective scene under C1 over the whole
              image (as textual inversion and DreamBooth learn), and of normal images under C2; attention stays
              masked
open cross    every cell attends to the defect's tokens
open self     every cell attends to every cell
They start from the given backbone, which may have learned with the full method, with fresh tokens for the types; a
short fine-tuning then understates what a part is worth. ``--from-scratch`` starts U-Net and text encoder anew.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from tqdm import tqdm

from bench import shared
from bench.roundtrip import psnr
from models.backbone import Backbone
from models.ddim import Grid, moved, start
from models.losses import area_mean, diffused_background, lemma_residual
from models.masks import Mask, on_latent_grid
from models.noise import seeded_noise
from models.region import Region
from models.rendering import DEFECT_TYPES
from models.training.diffusion import DiffusionStage, new_backbone
from models.training.pool import Pool
from models.training.recipe import Ablation, Recipe
from models.training.scenes import TrainingScene, draw_scenes
from models.training.vae import to_pixels

TEACH_STREAM, HELD_STREAM = 9007, 9008
TIMES = (100, 300, 500, 700, 900)
MARGINS = (0, 4, 8, 16)
VARIANTS = {
    "full": Ablation(),
    "no term": Ablation(disentangled=False),
    "open cross": Ablation(masked_cross=False),
    "open self": Ablation(masked_self=False),
}
SEVERITY, SEED_SHARE, STEPS = 0.8, 0.8, 20

Predictor = Callable[[Tensor, Tensor], Tensor]
"""(B, C, L, L) latents and (B,) timesteps → ε_θ."""


@dataclass(frozen=True, eq=False)
class Held:
    """Held scenes: pixels (B, 3, P, P) of the normals, their z_0 and those of the defects, m (B, 1, L, L)."""

    scenes: Sequence[TrainingScene]
    pixels: Tensor
    normal: Tensor
    image: Tensor
    m: Tensor

    @classmethod
    def of(cls, scenes: Sequence[TrainingScene], backbone: Backbone) -> Held:
        normals = [scene.image if scene.normal is None else scene.normal for scene in scenes]
        pixels = to_pixels(np.stack(normals), backbone.device)
        m = np.stack([on_latent_grid(scene.mask, backbone.factor)[None] for scene in scenes])
        with torch.inference_mode():
            normal = backbone.encode(pixels)
            image = backbone.encode(to_pixels(np.stack([scene.image for scene in scenes]), backbone.device))
        return cls(scenes, pixels, normal, image, torch.from_numpy(m).to(backbone.device))


def main() -> None:
    parser = shared.parser("lemma", __doc__)
    parser.add_argument("--steps", type=int, default=300, help="of learning, a variant")
    parser.add_argument("--teach", type=int, default=900, help="scenes to learn from")
    parser.add_argument("--held", type=int, default=36, help="scenes to measure on")
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--batch", type=int, default=10, help="rows of the first term; the others in proportion")
    parser.add_argument("--from-scratch", action="store_true")
    parser.add_argument("--variant", action="append", choices=VARIANTS, dest="variants")
    arguments = parser.parse_args()
    base = Backbone.load(arguments.backbone)
    others = max(1, round(0.3 * arguments.batch))
    recipe = replace(
        fitting(base),
        seed=arguments.seed,
        rate=arguments.rate,
        batch_defects=arguments.batch,
        batch_backgrounds=others,
        batch_normals=others,
    )
    size = base.window_px
    scenes = tqdm(draw_scenes(TEACH_STREAM, arguments.teach, size), "scenes", arguments.teach, leave=False)
    pool = Pool.encode(scenes, base)
    held = Held.of(list(draw_scenes(HELD_STREAM, arguments.held, size)), base)
    rows = []
    for name in arguments.variants or VARIANTS:
        begun = new_backbone(recipe, base.vae, base.device) if arguments.from_scratch else copy.deepcopy(base)
        stage = DiffusionStage(recipe, begun, pool, pool, VARIANTS[name])
        for step in tqdm(range(arguments.steps), desc=name, leave=False):
            stage.step(step, step / arguments.steps)
        learned, tokens = stage.averaged()
        rows.append({"variant": name, **measures(learned, tokens, held, VARIANTS[name], arguments.seed)})
    columns = list(rows[0])[1:]
    shared.show([{"measure": key} | {str(row["variant"]): row[key] for row in rows} for key in columns])
    shared.write(arguments.json, arguments, lemma=rows)


def fitting(backbone: Backbone) -> Recipe:
    """The recipe, with the sizes of this backbone."""
    text = backbone.text_encoder.config
    return replace(
        Recipe(),
        window_px=backbone.window_px,
        latent_channels=backbone.latent_channels,
        vae_encoder_blocks=tuple(backbone.vae.config.get("num_encoder_blocks", (0, 2, 3))),
        unet_channels=tuple(backbone.unet.config.block_out_channels),
        heads=int(backbone.unet.config.attention_head_dim),
        norm_groups=int(backbone.unet.config.norm_num_groups),
        text_width=int(text.hidden_size),
        text_layers=int(text.num_hidden_layers),
        text_heads=int(text.num_attention_heads),
    )


@torch.inference_mode()
def measures(backbone: Backbone, tokens: Tensor, held: Held, ablation: Ablation, seed: int) -> dict[str, float]:
    """All four measures of a variant. tokens: (types, n, D)."""
    parts = [scene.part for scene in held.scenes]
    types = [DEFECT_TYPES.index(scene.defect_type) for scene in held.scenes]
    c2 = backbone.embed(parts)
    c1 = torch.cat([c2, tokens[types].to(c2)], dim=1)
    valid = torch.ones(len(c1), tokens.shape[1], dtype=torch.bool, device=backbone.device)
    region = Region(
        held.m,
        backbone.background_tokens,
        valid,
        masked_self=ablation.masked_self,
        masked_cross=ablation.masked_cross,
        background_keys=ablation.background_keys,
    )

    def background(z: Tensor, t: Tensor) -> Tensor:
        return backbone.predict_noise(z, t.to(z.device), c2)

    def defect(z: Tensor, t: Tensor) -> Tensor:
        return backbone.predict_noise(z, t.to(z.device), c1, region)

    alphas = backbone.alphas_cumprod
    noise = seeded_noise(seed, tuple(held.normal.shape)).to(held.normal)
    found = {
        f"(i) residual at t={t}": float(residual(background, held.image, held.m, noise, t, alphas).mean())
        for t in TIMES
        if t < len(alphas)
    }
    drawn = free_running(background, defect, held.normal, held.m, noise, Grid.over(alphas, STEPS))
    plain = backbone.decode(held.normal)
    masks = [on_pixels(one, backbone.factor) for one in held.m.cpu()]
    found["(ii) latent RMS"] = rms(drawn - held.normal, 1 - held.m)
    found["(ii) pixel RMS"] = rms(backbone.decode(drawn) - plain, beyond(masks, 0).to(plain))
    kept = backbone.decode(torch.where(held.m > 0, drawn, held.normal))
    for margin in MARGINS:
        found[f"(iii) leak beyond {margin} px"] = rms(kept - plain, beyond(masks, margin).to(plain))
    found["(iv) round trip dB"] = psnr(rms(plain - held.pixels, beyond(masks, 0).to(plain)) ** 2)
    return found


def residual(predict: Predictor, z_0: Tensor, m: Tensor, eps: Tensor, t: int, alphas: Tensor) -> Tensor:
    """Lemma 3.1's residual of each sample at t: (B,)."""
    alpha_bar = alphas[t].float().expand(len(z_0)).to(z_0.device)
    z_tm = diffused_background(z_0, m, eps, alpha_bar)
    return lemma_residual(z_0, m, z_tm, predict(z_tm, torch.full((len(z_0),), t)), alpha_bar)


def free_running(
    background: Predictor, defect: Predictor, z_0: Tensor, m: Tensor, seed_noise: Tensor, grid: Grid
) -> Tensor:
    """ẑ_0 after inversion under C2 and denoising under C1, where nothing is ever put back outside m."""
    depth = grid.depth(SEVERITY)
    z = z_0
    for level in range(1, depth + 1):
        noise = background(z, grid.timesteps[level].expand(len(z)))
        z = moved(z, noise, float(grid.alpha_bar[level - 1]), float(grid.alpha_bar[level]))
    z = torch.where(m > 0, start(z_0, z, seed_noise, float(grid.alpha_bar[depth]), SEED_SHARE), z)
    for level in range(depth, 0, -1):
        noise = defect(z, grid.timesteps[level].expand(len(z)))
        z = moved(z, noise, float(grid.alpha_bar[level]), float(grid.alpha_bar[level - 1]))
    return z


def rms(error: Tensor, area: Tensor) -> float:
    """Root of the mean over samples of the mean square over the area (B, 1, …); samples without any left out."""
    some = area.sum(dim=(1, 2, 3)) > 0
    if not bool(some.any()):
        return float("nan")
    return float(area_mean(error.float().square(), area.float())[some].mean().sqrt())


def on_pixels(m: Tensor, factor: int) -> Mask:
    """(1, L, L) cells → (P, P) bool."""
    cells = m[0].numpy() > 0
    return np.asarray(np.kron(cells, np.ones((factor, factor), dtype=np.bool_)) > 0)


def beyond(masks: Sequence[Mask], margin: int) -> Tensor:
    """1 farther than ``margin`` px from the mask, else 0: (B, 1, P, P)."""
    far = [ndimage.distance_transform_edt(~mask) > margin for mask in masks]
    return torch.from_numpy(np.stack(far)[:, None].astype(np.float32))


if __name__ == "__main__":
    main()
