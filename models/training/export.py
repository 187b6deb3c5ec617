"""Export: a trained backbone, its defect types and its model card, as a bundled folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from models.adapters import Adapter, Card
from models.backbone import Backbone
from models.rendering import DEFECT_TYPES, SURFACES
from models.training.photos import Photo
from models.training.recipe import Recipe

DESCRIPTIONS = {
    "scratch": "A scored line: bright where it bares the material, dark in its own shadow.",
    "stain": "A patch of dirt, oil or paint on the surface, with an irregular edge.",
    "hole": "A dark hole or pit in the material, with a rim.",
    "dent": "A smooth depression of the skin: one side bright, the other dark, the material's colour unchanged.",
    "crack": "A dark, jagged line of uneven width that forks.",
    "chip": "Material broken away at a border or flaked out of the surface, in angular facets.",
    "contamination": "Foreign matter on top: fibres, dust, crumbs, swarf or drops, each with its shadow.",
    "discolouration": "A soft-bordered shift of hue or lightness that keeps the texture: heat tint or bleaching.",
    "missing": "A part or a clean-edged patch of the skin that is not there.",
}

_CARD = """# {name}

A small latent-diffusion backbone for drawing defects, trained from nothing by `python -m models.training`.

| part | what | parameters |
|---|---|---|
| VAE | AutoencoderTiny, f{factor}, {channels} latent channels | {vae:,} |
| U-Net | {unet_channels} channels, {latent}×{latent} latents of {window} px windows, {prediction} | {unet:,} |
| text encoder | CLIP, {text_layers} layers of width {text_width}, {max_tokens} tokens | {text:,} |

T = 1000, scaled linear β from 0.00085 to 0.012. Stored as float16, {mebibytes:.1f} MiB.

## Data
Rendered scenes (`models/rendering`: {surfaces} surfaces, defect types {types}), seed {seed}: {vae_scenes} for
the VAE, {scenes} for the U-Net, each with and without its defect and with it sketched, in windows planned as
generation plans them.
{photos}

## Training
The disentanglement loss (`models/losses.py`) with masked attention, λ = {lam}, weighted as errors of v with
γ = {gamma}; the noise of rendered defects carries what a start leaves of the normal image, or of a sketch on it
(`models/ddim.py`).
AdamW, {rate} held for {hold:.0%} of the budget, then a cosine to 2 %; weights averaged with decay {ema}. U-Net,
text encoder and the types' tokens learn together.

| stage | steps | minutes | at the end |
|---|---|---|---|
{stages}

Computed on {compute}.

## Limits
- Its defects are drawn ones: each type looks the ways the renderer draws it, on materials known by their texture.
- Windows of {window} px; what is finer than the VAE reproduces stays the photo's own, by composition.
- It knows {count} defect types; others are taught to it.
- English part names; other words are spelled out in bytes and mean nothing to it.

<details><summary>Recipe</summary>

```json
{recipe}
```
</details>
"""


def export(
    folder: Path,
    recipe: Recipe,
    backbone: Backbone,
    tokens: Tensor,
    log: Mapping[str, Mapping[str, float]],
    compute: str,
    photos: Sequence[Photo] = (),
) -> Backbone:
    """Write `folder` anew and return the backbone as it loads from there.

    `tokens` is (types, n, D); `log` holds what each stage's loop returned; `photos` are all that it learned from.
    """
    if folder.exists():
        shutil.rmtree(folder)
    backbone.save(folder)
    stored = Backbone.load(folder)
    types = folder / "defect_types"
    types.mkdir()
    for name, embeddings in zip(DEFECT_TYPES, tokens, strict=True):
        Adapter(
            name=name,
            version=recipe.type_version,
            backbone=recipe.name,
            backbone_digest=stored.digest,
            tokens=embeddings.detach().cpu(),
            card=Card(description=DESCRIPTIONS[name], sketch=name),
        ).save(types / f"{name}.safetensors")
    learned = [
        {"sha256": photo.sha256, "set": photo.source, "type": photo.type, "licence": photo.licence}
        for photo in photos
    ]
    (folder / "data.json").write_text(json.dumps(learned, indent=1) + "\n", "utf-8")
    (folder / "MODEL_CARD.md").write_text(_card(folder, recipe, backbone, log, compute, photos), "utf-8")
    return stored


def _photos(photos: Sequence[Photo]) -> str:
    """What the card says of photos: sets, numbers, licences, attribution."""
    if not photos:
        return "No photograph was used."
    sets = {photo.source: photo for photo in photos}
    lines = [
        f"- `{name}` ({one.licence}): {sum(photo.source == name for photo in photos)} photos. {one.attribution}"
        for name, one in sorted(sets.items())
    ]
    return "\n".join(
        [
            "",
            "Photographs, the teaching third of each set whose licence allows it, by sha256 in `data.json`:",
            *lines,
        ]
    )


def _card(
    folder: Path,
    recipe: Recipe,
    backbone: Backbone,
    log: Mapping[str, Mapping[str, float]],
    compute: str,
    photos: Sequence[Photo],
) -> str:
    def parameters(module: Any) -> int:
        return sum(p.numel() for p in module.parameters())

    stages = "\n".join(
        f"| {stage} | {figures['steps']} | {figures['seconds'] / 60:.0f} | "
        + ", ".join(f"{key} {figures[key]:.3f}" for key in figures if key not in ("steps", "seconds"))
        + " |"
        for stage, figures in log.items()
    )
    return _CARD.format(
        name=recipe.name,
        factor=backbone.factor,
        channels=backbone.latent_channels,
        vae=parameters(backbone.vae),
        unet=parameters(backbone.unet),
        text=parameters(backbone.text_encoder),
        unet_channels="/".join(str(c) for c in recipe.unet_channels),
        latent=backbone.latent_size,
        window=backbone.window_px,
        text_layers=recipe.text_layers,
        text_width=recipe.text_width,
        max_tokens=recipe.max_tokens,
        mebibytes=sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 2**20,
        surfaces=len(SURFACES),
        types=", ".join(DEFECT_TYPES),
        count=len(DEFECT_TYPES),
        photos=_photos(photos),
        vae_scenes=recipe.vae_scenes,
        scenes=recipe.scenes,
        seed=recipe.seed,
        lam=recipe.lam,
        gamma=recipe.gamma,
        rate=recipe.rate,
        hold=recipe.hold,
        ema=recipe.ema,
        prediction="ε-prediction" if backbone.predicts == "epsilon" else "v-prediction",
        stages=stages,
        compute=compute,
        recipe=json.dumps(asdict(recipe), indent=1),
    )
