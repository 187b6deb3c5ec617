"""A training from nothing to an exported backbone, in one folder; a rerun goes on where the last one stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from models.adapters import Adapter
from models.backbone import Backbone
from models.rendering import DEFECT_TYPES
from models.training.diffusion import DiffusionStage, continued, new_backbone
from models.training.export import export
from models.training.loop import Budget, learn
from models.training.photos import Crop, Photo, crops, native_crops
from models.training.pool import Pool
from models.training.recipe import Recipe
from models.training.scenes import TrainingScene, draw_natives, draw_scenes
from models.training.vae import VaeStage

# Streams of scenes, by what they are for; `draw_scene` seeds with the stream's number.
_VAE_STREAM, _POOL_STREAM, _HELD_STREAM = 1, 2, 3
_HELD = 18


class RunError(Exception):
    """A training cannot be started or continued; the message says why."""


@dataclass(frozen=True)
class _Origin:
    """What a training began with, beside its recipe.

    begin: digest of the backbone that it goes on from; None if it begins from nothing.
    photos: sha256 of each, in order.
    """

    begin: str | None
    photos: list[str]

    @classmethod
    def of(cls, begin: Path | None, photos: Sequence[Photo]) -> _Origin:
        return cls(None if begin is None else Backbone.load(begin).digest, [photo.sha256 for photo in photos])

    def differs(self, asked: _Origin) -> str | None:
        """How what is asked for is another training, and which option makes it this one; None if it is."""
        if self.begin != asked.begin:
            if self.begin is None:
                return "one that began from nothing; leave --begin out"
            return f"one that goes on from the backbone {self.begin}; give that one by --begin"
        if self.photos != asked.photos:
            if not self.photos:
                return "one on rendered scenes alone; leave --splits and --data out"
            return (
                f"one on {len(self.photos)} photos; give the same ones, in the same order, by --splits and --data"
            )
        return None


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
    photos: Sequence[Photo] = (),
    begin: Path | None = None,
) -> Backbone:
    """Train both stages and export to `out`/`recipe.name`; `photos` are real images beside the rendered scenes.

    With `begin`, the folder of an exported backbone, its VAE is kept and its U-Net, text encoder and types learn
    further.

    Raises:
        RunError: `out` holds another training, or this one and `resume` is False.
        BackboneError: `begin` is no backbone, or does not fit the recipe.
    """
    _claim(out, recipe, _Origin.of(begin, photos), resume)
    if begin is None:
        stage_log, vae = _vae(out, recipe, vae_budget, device, processes, save_every_s, sheet_every, photos)
        log, backbone, begun = {"VAE": stage_log}, new_backbone(recipe, vae, device), None
    else:
        log, backbone, begun = {}, continued(recipe, Backbone.load(begin), device), _tokens(begin)

    stored = out / "pool.pt"
    if not stored.is_file():
        drawn = draw_scenes(_stream(recipe, _POOL_STREAM), recipe.scenes, recipe.window_px, processes)
        scenes = chain(drawn, map(TrainingScene.of_photo, _pool_crops(recipe, photos, backbone.latent_size)))
        Pool.encode(tqdm(scenes, desc="pool", unit="scene", disable=None), backbone).save(stored)
    held = Pool.encode(draw_scenes(_stream(recipe, _HELD_STREAM), _HELD, recipe.window_px), backbone)
    stage = DiffusionStage(recipe, backbone, Pool.load(stored), held, tokens=begun)
    log["U-Net" if begin is None else f"U-Net, begun from {begin.name}"] = learn(
        stage, out, unet_budget, save_every_s, sheet_every
    )

    averaged, tokens = stage.averaged()
    compute = "a GPU" if device.type == "cuda" else f"{torch.get_num_threads()} CPU cores"
    return export(out / recipe.name, recipe, averaged, tokens, log, compute, photos)


def _vae(
    out: Path,
    recipe: Recipe,
    budget: Budget,
    device: torch.device,
    processes: int,
    save_every_s: float,
    sheet_every: int,
    photos: Sequence[Photo],
) -> tuple[dict[str, float], Any]:
    """The first stage: what its loop returned, and the VAE."""
    rendered = out / "images.npy"
    if not rendered.is_file():
        images = draw_natives(_stream(recipe, _VAE_STREAM), recipe.vae_scenes, recipe.window_px, processes)
        _save(rendered, np.stack(list(images)))
    stage = VaeStage(recipe, np.load(rendered), device, _photo_crops(out, recipe, photos))
    log = learn(stage, out, budget, save_every_s, sheet_every)
    log["held psnr"] = stage.held_psnr()
    return log, stage.finish()


def _tokens(begin: Path) -> Tensor:
    """Of the rendered types, as an exported backbone has them: (types, n, D)."""
    files = [begin / "defect_types" / f"{name}.safetensors" for name in DEFECT_TYPES]
    return torch.stack([Adapter.load(file).tokens for file in files])


def _photo_crops(out: Path, recipe: Recipe, photos: Sequence[Photo]) -> NDArray[np.uint8] | None:
    """Crops of photos for the VAE (N, P, P, 3), cut once."""
    if not photos:
        return None
    stored = out / "photos.npy"
    if not stored.is_file():
        planned = recipe.vae_photo_crops // 3
        cut = chain(
            crops(photos, recipe.seed, planned, recipe.window_px),
            native_crops(photos, recipe.seed, recipe.vae_photo_crops - planned, recipe.window_px),
        )
        _save(stored, np.stack([crop.image for crop in cut]))
    cut_before: NDArray[np.uint8] = np.load(stored)
    return cut_before


def _pool_crops(recipe: Recipe, photos: Sequence[Photo], latent_size: int) -> Iterator[Crop]:
    return (
        crops(photos, recipe.seed + 1, recipe.photo_crops, recipe.window_px, latent_size) if photos else iter(())
    )


def _stream(recipe: Recipe, stream: int) -> int:
    return 10 * recipe.seed + stream


def _claim(out: Path, recipe: Recipe, origin: _Origin, resume: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    path, began = out / "recipe.json", out / "origin.json"
    ours = json.loads(json.dumps(asdict(recipe)))
    if path.is_file():
        if not resume:
            raise RunError(f"{out} holds a training already; give --resume to go on with it, or another folder")
        if json.loads(path.read_text("utf-8")) != ours:
            raise RunError(f"{out} holds a training by another recipe (see its recipe.json)")
        if began.is_file():  # of a training from before these were kept nobody can say
            another = _Origin(**json.loads(began.read_text("utf-8"))).differs(origin)
            if another:
                raise RunError(f"{out} holds another training, {another}, or name another folder")
    began.write_text(json.dumps(asdict(origin), indent=1) + "\n", "utf-8")
    path.write_text(json.dumps(ours, indent=1) + "\n", "utf-8")


def _save(path: Path, images: NDArray[np.uint8]) -> None:
    """Whole or not at all, for what is there is not made again."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.save(file, images)
    partial.replace(path)
