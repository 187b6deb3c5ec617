"""``python -m bench recipe``: how much of the bundled backbone's quality does a training of ten minutes reach?

The training of `models.training` with its minutes split between VAE and U-Net (2 : 3) and fewer rendered scenes,
as rendering comes on top of the minutes; the whole wall time is told. Both backbones are then measured alike on
held rendered scenes: the VAE's round trip, and both terms of the loss with the same masks, noise and timesteps, on
each backbone's own latents. Those are of about unit variance, but not the same: losses of two VAEs compare
roughly.

A share is decibels over decibels, or the bundled loss over the short training's: 1 is as good as bundled.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from bench import shared
from bench.data import SPLITS, data_root
from bench.rendered import adapters_of
from bench.roundtrip import psnr
from models.adapters import Adapter
from models.backbone import Backbone
from models.losses import background_term, defect_term, diffused, diffused_background
from models.masks import on_latent_grid
from models.noise import seeded_noise
from models.region import Region
from models.rendering import DEFECT_TYPES
from models.training.loop import Budget
from models.training.photos import read_teach
from models.training.recipe import TINY, Recipe
from models.training.run import train
from models.training.scenes import TrainingScene, draw_scene
from models.training.vae import to_pixels

STREAM = 9009
VAE_SHARE = 0.4


def main() -> None:
    parser = shared.parser("recipe", __doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--vae-scenes", type=int, default=600)
    parser.add_argument("--scenes", type=int, default=1200, help="for the U-Net")
    parser.add_argument("--held", type=int, default=90, help="scenes to measure on")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, help="keep the training here; an interrupted one goes on")
    parser.add_argument(
        "--photos", action="store_true", help="also learn from the permissive sets' teaching photos"
    )
    parser.add_argument("--tiny", action="store_true", help="the tests' sizes, to try this out")
    arguments = parser.parse_args()
    bundled = Backbone.load(arguments.backbone)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        out = arguments.out or Path(temporary)
        short = _trained(out, arguments)
        minutes = (time.monotonic() - began) / 60
        folder = out / short.name
        theirs = adapters_of(arguments.backbone)
        ours = [Adapter.load(file) for file in sorted((folder / "defect_types").glob("*.safetensors"))]
    common = sorted({adapter.name for adapter in ours} & {adapter.name for adapter in theirs})
    rows = compared(
        measured(bundled, theirs, common, arguments.held, arguments.seed),
        measured(short, ours, common, arguments.held, arguments.seed),
    )
    print(f"trained for {arguments.minutes:g} minutes, {minutes:.1f} with rendering; types: {', '.join(common)}\n")
    shared.show(rows)
    shared.write(arguments.json, arguments, recipe=rows, minutes=minutes, types=common)


def compared(bundled: dict[str, float], short: dict[str, float]) -> list[dict[str, Any]]:
    """Both side by side, with the short one's share."""
    return [
        {
            "measure": key,
            "bundled": bundled[key],
            "short": short[key],
            "share": short[key] / bundled[key] if key.endswith("dB") else bundled[key] / short[key],
        }
        for key in bundled
    ]


@torch.inference_mode()
def measured(
    backbone: Backbone, adapters: Sequence[Adapter], types: Sequence[str], count: int, seed: int
) -> dict[str, float]:
    """Round trip and both terms, means over `count` held scenes of these types."""
    tokens = {adapter.name: adapter.tokens for adapter in adapters}
    errors, first, second = [], [], []
    for number in tqdm(range(count), desc=f"held scenes, {backbone.name}", leave=False):
        turn, index = types[number % len(types)], number // len(types)
        scene = draw_scene(STREAM, index * len(DEFECT_TYPES) + DEFECT_TYPES.index(turn), backbone.window_px)
        x = to_pixels(scene.image[None], backbone.device)
        z_0 = backbone.encode(x)
        errors.append(float((backbone.decode(z_0) - x).square().mean()))
        rng = np.random.default_rng([STREAM, number, seed])
        terms = held_terms(backbone, tokens[turn], scene, z_0, (number + 0.5) / count, rng)
        first.append(terms[0])
        second.append(terms[1])
    return {
        "round trip dB": float(np.mean([psnr(error) for error in errors])),
        "defect term": float(np.mean(first)),
        "background term": float(np.mean(second)),
    }


def held_terms(
    backbone: Backbone,
    defect: Tensor,
    scene: TrainingScene,
    z_0: Tensor,
    time_share: float,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Both terms, unweighted, of a scene at one t; tokens (n, D). m is the tight mask."""
    m = torch.from_numpy(on_latent_grid(scene.mask, backbone.factor))[None, None].to(z_0)
    t = torch.tensor([int(time_share * len(backbone.alphas_cumprod))])
    alpha_bar = backbone.alphas_cumprod[t].float().to(z_0.device)
    eps = seeded_noise(int(rng.integers(2**62)), tuple(z_0.shape)).to(z_0)
    t = t.to(z_0.device)
    c2 = backbone.embed([scene.part])
    c1 = torch.cat([c2, defect[None].to(c2)], dim=1)
    valid = torch.ones(1, len(defect), dtype=torch.bool, device=z_0.device)
    region = Region(m, backbone.background_tokens, valid)
    inside = backbone.predict_noise(diffused(z_0, eps, alpha_bar), t, c1, region)
    outside = backbone.predict_noise(diffused_background(z_0, m, eps, alpha_bar), t, c2)
    return float(defect_term(eps, inside, m)), float(background_term(eps, outside, m))


def _trained(out: Path, arguments: argparse.Namespace) -> Backbone:
    recipe = TINY if arguments.tiny else replace(Recipe(), name="ten-minutes", seed=arguments.seed)
    if not arguments.tiny:
        recipe = replace(recipe, vae_scenes=arguments.vae_scenes, scenes=arguments.scenes)
    return train(
        out,
        recipe,
        Budget(minutes=VAE_SHARE * arguments.minutes),
        Budget(minutes=(1 - VAE_SHARE) * arguments.minutes),
        torch.device("cpu"),
        processes=arguments.processes,
        resume=arguments.out is not None,
        sheet_every=10**9,
        photos=read_teach(SPLITS, data_root()) if arguments.photos else (),
    )


if __name__ == "__main__":
    main()
