"""Folders in the diffusers format: where a backbone's lies, and whether the method can use what is in it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

BUNDLED = Path(__file__).parent / "backbones"

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_PREDICTIONS = ("epsilon", "v_prediction")
_VAES = ("AutoencoderKL", "AutoencoderTiny")
_DISTILLED = ("LCMScheduler", "TCDScheduler")
WEIGHTS = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
}
_VARIANTS = (None, "fp16")
"""Of weights, as their files are named; the first that is there is read."""


class BackboneError(Exception):
    """A backbone cannot be used; the message says what is missing or unsupported."""


def find(path_or_name: str | Path) -> tuple[Path, str]:
    """The folder of a backbone and its name; of one from the hub, which is named with a "/", without weights.

    A folder that a link leads to is called by the link's name, as whoever named it calls it.
    """
    path = Path(path_or_name)
    if path.is_dir():
        return path.resolve(), path.absolute().name
    if (BUNDLED / path_or_name).is_dir():
        return BUNDLED / path_or_name, str(path_or_name)
    if not _HUB_NAME.fullmatch(str(path_or_name)):
        bundled = sorted(p.name for p in BUNDLED.glob("*") if p.is_dir())
        raise BackboneError(
            f"there is no backbone {str(path_or_name)!r}: give a diffusers folder, a hub name (owner/name), "
            f"or a bundled name ({', '.join(bundled) or 'none is bundled'})"
        )
    return _download(str(path_or_name), ["*.json", "tokenizer/*"]), str(path_or_name)


def fetch_weights(folder: Path, name: str) -> None:
    """Fetch one variant of each part's weights, if it has any."""
    for variant in _VARIANTS:
        lacking = [part for part in WEIGHTS if not _variants(folder, part)]
        if lacking:
            _download(name, [f"{part}/{_weights_name(part, variant)}" for part in lacking])


def _download(name: str, patterns: list[str]) -> Path:
    """The snapshot's folder with the files that fit, out of the hub's cache as far as they are there."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:
        raise BackboneError(
            f"backbone {name!r} could not be fetched from the hub and is not in its cache: {error}. Where the hub "
            "is out of reach, fetch the folder elsewhere, copy it here and name it by its path"
        ) from error


def _weights_name(part: str, variant: str | None) -> str:
    return f"{WEIGHTS[part]}{'.' + variant if variant else ''}.safetensors"


def variant_of(folder: Path, name: str, part: str) -> str | None:
    """Which variant of a part's weights is read."""
    found = _variants(folder, part)
    if not found:
        raise BackboneError(
            f"{name} lacks {part}/{_weights_name(part, None)} (or its fp16 variant); weights are read from "
            "safetensors files alone, one a part"
        )
    return found[0]


def _variants(folder: Path, part: str) -> list[str | None]:
    return [variant for variant in _VARIANTS if (folder / part / _weights_name(part, variant)).is_file()]


def check_parts(index: dict[str, Any], name: str) -> None:
    """The parts must be of the classes that Stable Diffusion 1 and 2 have."""
    kinds = {part: component(index, name, part) for part in ("vae", "unet", "text_encoder", "tokenizer")}
    if kinds["vae"] not in _VAES:
        raise BackboneError(f"{name}: VAE {kinds['vae']} is not supported: {', '.join(_VAES)}")
    if kinds["unet"] != "UNet2DConditionModel":
        raise BackboneError(f"{name}: U-Net {kinds['unet']} is not a UNet2DConditionModel")
    if kinds["text_encoder"] != "CLIPTextModel" or not kinds["tokenizer"].startswith("CLIPTokenizer"):
        raise BackboneError(
            f"{name}: text is read by {kinds['tokenizer']} and {kinds['text_encoder']}; only CLIPTokenizer and "
            "CLIPTextModel are supported"
        )


def component(index: dict[str, Any], name: str, part: str) -> str:
    """The class that a folder's ``model_index.json`` names for a part."""
    entry = index.get(part)
    if not (isinstance(entry, list) and len(entry) == 2):
        raise BackboneError(
            f"{name}: its model_index.json names no {part}; Stable Diffusion 1 and 2 have the shape that is needed"
        )
    return str(entry[1])


def check_schedule(config: dict[str, Any], name: str) -> None:
    """The folder's scheduler must be one of noise by betas, whichever sampler it is meant for."""
    kind = config.get("_class_name")
    if kind in _DISTILLED:
        raise BackboneError(
            f"{name}: its {kind} is that of a distilled model, which cannot be inverted; take the model that it "
            "was distilled from"
        )
    if "beta_start" not in config:
        raise BackboneError(f"{name}: its {kind} has no noise schedule of betas, as DDIM inversion needs")


def read_json(folder: Path, name: str, file: str) -> dict[str, Any]:
    """A file of the folder of the backbone ``name``."""
    try:
        content: dict[str, Any] = json.loads((folder / file).read_text("utf-8"))
    except FileNotFoundError:
        raise BackboneError(f"{name} lacks {file}: it is no diffusers pipeline folder") from None
    except json.JSONDecodeError as error:
        raise BackboneError(f"{name}: its {file} is not JSON: {error}") from error
    return content


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", "utf-8")


def check_fit(
    name: str, unet: Mapping[str, Any], vae: Mapping[str, Any], text: Mapping[str, Any], scheduler: Any
) -> None:
    """The parts must belong together, and the U-Net must predict ε or v from latents, t and tokens alone.

    Args:
        unet, vae, text: configs, as files or as models have them.
    """
    predicts = scheduler.config.get("prediction_type", "epsilon")
    if predicts not in _PREDICTIONS:
        raise BackboneError(f"{name}: prediction type {predicts!r} is not supported: {', '.join(_PREDICTIONS)}")
    if float(scheduler.alphas_cumprod.min()) <= 0:
        raise BackboneError(f"{name}: its schedule ends at zero SNR, which DDIM cannot invert")
    taken, given, coded = unet.get("in_channels", 4), unet.get("out_channels", 4), vae.get("latent_channels", 4)
    if taken != given or taken != coded:
        raise BackboneError(
            f"{name}: the U-Net takes {taken} channels and gives {given}, the VAE has {coded}; inpainting and "
            "other extended U-Nets are not supported"
        )
    if unet.get("time_cond_proj_dim"):
        raise BackboneError(
            f"{name}: the U-Net is distilled with its guidance (as LCMs are) and cannot be inverted; take the "
            "model that it was distilled from"
        )
    if unet.get("addition_embed_type") or unet.get("class_embed_type") or unet.get("encoder_hid_dim"):
        raise BackboneError(
            f"{name}: the U-Net needs further conditions (as SDXL does); only text by one encoder is supported"
        )
    if unet.get("cross_attention_dim", 1280) != text.get("hidden_size", 512):
        raise BackboneError(
            f"{name}: the U-Net takes tokens of width {unet.get('cross_attention_dim', 1280)}, "
            f"the text encoder gives {text.get('hidden_size', 512)}"
        )
    if not isinstance(unet.get("sample_size"), int):
        raise BackboneError(
            f"{name}: unet/config.json must name its sample_size, the latent cells of a window's side"
        )


def digest_of_folder(folder: Path, variants: dict[str, str | None]) -> str:
    """`sha256:…` over the names and contents of all files that shape what the backbone computes."""
    digest = hashlib.sha256()
    for path in sorted(_files(folder, variants)):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return "sha256:" + digest.hexdigest()


def _files(folder: Path, variants: dict[str, str | None]) -> Iterator[Path]:
    yield folder / "scheduler" / "scheduler_config.json"
    yield from (folder / "tokenizer").glob("*.json")
    yield from (folder / "tokenizer").glob("merges.txt")
    for part, variant in variants.items():
        yield folder / part / "config.json"
        yield folder / part / _weights_name(part, variant)
