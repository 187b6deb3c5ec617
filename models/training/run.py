"""A training from nothing to an exported backbone, in one folder; a rerun goes on where the last one stopped."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from models.backbone import Backbone
from models.training.diffusion import DiffusionStage, new_backbone
from models.training.export import export
from models.training.loop import Budget, learn
from models.training.pool import Pool
from models.training.recipe import Recipe
from models.training.scenes import draw_scenes
from models.training.vae import VaeStage

# Streams of scenes, by what they are for; `draw_scene` seeds with the stream's number.
_VAE_STREAM, _POOL_STREAM, _HELD_STREAM = 1, 2, 3
_HELD = 12


class RunError(Exception):
    """A training cannot be started or continued; the message says why."""


def train(
    out: Path,
    recipe: Recipe,
    vae_budget: Budget,
    unet_budget: Budget,
    device: torch.device,
    processes: int = 1,
    resume: bool = False,
    save_every_s: float = 150,
    sheet_every: int = 300,
) -> Backbone:
    """Train both stages and export to `out`/`recipe.name`.

    Raises:
        RunError: `out` holds another training, or this one and `resume` is False.
    """
    _claim(out, recipe, resume)

    rendered = out / "images.npy"
    if not rendered.is_file():
        scenes = draw_scenes(_stream(recipe, _VAE_STREAM), recipe.vae_scenes, recipe.window_px, processes)
        np.save(rendered, np.stack([scene.image for scene in scenes]))
    vae_stage = VaeStage(recipe, np.load(rendered), device)
    log = {"VAE": learn(vae_stage, out, vae_budget, save_every_s, sheet_every)}
    log["VAE"]["held psnr"] = vae_stage.held_psnr()
    backbone = new_backbone(recipe, vae_stage.finish(), device)

    def pool(stream: int, count: int, workers: int) -> Pool:
        scenes = draw_scenes(_stream(recipe, stream), count, recipe.window_px, workers)
        return Pool.encode(islice(scenes, count), backbone)

    stored = out / "pool.pt"
    if not stored.is_file():
        pool(_POOL_STREAM, recipe.scenes, processes).save(stored)
    stage = DiffusionStage(recipe, backbone, Pool.load(stored), pool(_HELD_STREAM, _HELD, 1))
    log["U-Net"] = learn(stage, out, unet_budget, save_every_s, sheet_every)

    averaged, tokens = stage.averaged()
    compute = "a GPU" if device.type == "cuda" else f"{torch.get_num_threads()} CPU cores"
    return export(out / recipe.name, recipe, averaged, tokens, log, compute)


def _stream(recipe: Recipe, stream: int) -> int:
    return 10 * recipe.seed + stream


def _claim(out: Path, recipe: Recipe, resume: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    path = out / "recipe.json"
    ours = json.loads(json.dumps(asdict(recipe)))
    if path.is_file():
        if not resume:
            raise RunError(f"{out} holds a training already; give --resume to go on with it, or another folder")
        if json.loads(path.read_text("utf-8")) != ours:
            raise RunError(f"{out} holds a training by another recipe (see its recipe.json)")
    path.write_text(json.dumps(ours, indent=1) + "\n", "utf-8")
