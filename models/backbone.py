"""The backbone: VAE, U-Net, text encoder, tokenizer and DDIM config, in the diffusers folder format."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DDIMScheduler, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from models.attention import Region, install_masked_attention
from models.ddim import noise_of_velocity

BUNDLED = Path(__file__).parent / "backbones"

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_PREDICTIONS = ("epsilon", "v_prediction")
_VAES = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}
_WEIGHTS = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
}


class BackboneError(Exception):
    """A backbone cannot be used; the message says what is missing or unsupported."""


@dataclass
class Backbone:
    """One diffusion model and all that belongs to it.

    Nothing here turns gradients off: generation does so around its calls, training needs them.
    """

    unet: Any  # UNet2DConditionModel
    vae: Any  # AutoencoderKL or AutoencoderTiny
    text_encoder: Any  # CLIPTextModel
    tokenizer: Any  # CLIPTokenizer
    scheduler: Any  # DDIMScheduler: its config is the noise schedule
    name: str
    digest: str = ""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    calibration: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        _check_fit(self)
        self.device = torch.device(self.device)
        for module in self.modules():
            _to(module, self.device, self.dtype).eval()
        install_masked_attention(self.unet)
        self.alphas_cumprod: Tensor = self.scheduler.alphas_cumprod.detach().cpu().double()
        self._alpha_bar = self.alphas_cumprod.to(self.device, torch.float32)
        if not self.digest:
            self.digest = self._digest_of_memory()

    @classmethod
    def load(
        cls,
        path_or_name: str | Path,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Backbone:
        """Load a diffusers folder, a bundled backbone by name, or one from the hub ("owner/name")."""
        folder, name = _find(path_or_name)
        index = _read_json(folder, "model_index.json")
        _read_json(folder, "scheduler/scheduler_config.json")
        vae_class = _VAES.get(_component(index, "vae"))
        if vae_class is None:
            raise BackboneError(
                f"{folder.name}: VAE {_component(index, 'vae')} is not supported: {', '.join(_VAES)}"
            )
        if _component(index, "unet") != "UNet2DConditionModel":
            raise BackboneError(f"{folder.name}: U-Net {_component(index, 'unet')} is not a UNet2DConditionModel")
        variants = {part: _variant(folder, part) for part in _WEIGHTS}
        classes = {"unet": UNet2DConditionModel, "vae": vae_class, "text_encoder": CLIPTextModel}
        calibration = folder / "calibration.json"
        with _quietly():
            parts = {part: _load_part(folder, part, classes[part], variants[part]) for part in _WEIGHTS}
            tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        return cls(
            **parts,
            tokenizer=tokenizer,
            scheduler=DDIMScheduler.from_pretrained(folder / "scheduler"),
            name=name,
            digest=digest_of_folder(folder, variants),
            device=torch.device(device),
            dtype=dtype,
            calibration=json.loads(calibration.read_text("utf-8")) if calibration.is_file() else None,
        )

    def save(self, folder: str | Path, dtype: torch.dtype = torch.float16) -> None:
        """Write a diffusers folder (StableDiffusionPipeline layout) with weights in `dtype`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for part in _WEIGHTS:
            module: Any = _to(copy.deepcopy(getattr(self, part)), torch.device("cpu"), dtype)
            module.to(memory_format=torch.contiguous_format)
            with _quietly():
                module.save_pretrained(folder / part, safe_serialization=True)
            config = _read_json(folder, f"{part}/config.json")
            config.pop("_name_or_path", None)  # where it was loaded from, which may not shape a digest
            _write_json(folder / part / "config.json", config)
        tokenizer = copy.deepcopy(self.tokenizer)
        tokenizer.backend_tokenizer.no_truncation()  # remembered from its last use, which may not shape a digest
        tokenizer.backend_tokenizer.no_padding()
        tokenizer.save_pretrained(folder / "tokenizer")
        self.scheduler.save_pretrained(folder / "scheduler")
        index = {
            "_class_name": "StableDiffusionPipeline",
            "feature_extractor": [None, None],
            "image_encoder": [None, None],
            "requires_safety_checker": False,
            "safety_checker": [None, None],
            "scheduler": ["diffusers", "DDIMScheduler"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", type(self.vae).__name__],
        }
        _write_json(folder / "model_index.json", index)
        if self.calibration is not None:
            _write_json(folder / "calibration.json", self.calibration)

    def modules(self) -> tuple[nn.Module, nn.Module, nn.Module]:
        """The three networks."""
        return self.unet, self.vae, self.text_encoder

    @property
    def latent_size(self) -> int:
        """Latent cells of a window's side, L."""
        return int(self.unet.config.sample_size)

    @property
    def latent_channels(self) -> int:
        """Channels of a latent, C."""
        return int(self.unet.config.in_channels)

    @property
    def factor(self) -> int:
        """Pixels per latent cell, along a side."""
        return _factor(self.vae)

    @property
    def window_px(self) -> int:
        """Pixels of a window's side, P = L · factor."""
        return self.latent_size * self.factor

    @property
    def token_width(self) -> int:
        """Width D of a token embedding."""
        return int(self.unet.config.cross_attention_dim)

    @property
    def background_tokens(self) -> int:
        """How many tokens C2 has, always."""
        return int(self.tokenizer.model_max_length)

    def encode(self, x: Tensor) -> Tensor:
        """Pixels (B, 3, P, P) in [0, 1] → latents (B, C, L, L) of about unit variance; no randomness."""
        encoded = self.vae.encode((x * 2 - 1).to(self.device, self.dtype))
        z: Tensor = encoded.latents if hasattr(encoded, "latents") else encoded.latent_dist.mode()
        config = self.vae.config
        scaled: Tensor = (z - (config.get("shift_factor") or 0.0)) * config["scaling_factor"]
        return scaled

    def decode(self, z: Tensor) -> Tensor:
        """Latents (B, C, L, L) → pixels (B, 3, P, P), clamped to [0, 1]."""
        config = self.vae.config
        raw = z.to(self.device, self.dtype) / config["scaling_factor"] + (config.get("shift_factor") or 0.0)
        x: Tensor = self.vae.decode(raw).sample
        return ((x + 1) / 2).clamp(0, 1)

    def embed(self, texts: Sequence[str]) -> Tensor:
        """C2: prompts → (B, background_tokens, D); longer texts are cut."""
        ids = self.tokenizer(
            list(texts),
            padding="max_length",
            truncation=True,
            max_length=self.background_tokens,
            return_tensors="pt",
        ).input_ids
        embeddings: Tensor = self.text_encoder(ids.to(self.device)).last_hidden_state
        return embeddings

    def predict_noise(self, z: Tensor, t: Tensor, tokens: Tensor, region: Region | None = None) -> Tensor:
        """ε_θ(z_t, t, C): z (B, C, L, L), t (B,) long, tokens (B, N, D) → (B, C, L, L).

        Of a U-Net that predicts v it is the noise that v means.
        """
        predicted: Tensor = self.unet(
            z,
            t,
            encoder_hidden_states=tokens,
            cross_attention_kwargs=None if region is None else {"region": region},
        ).sample
        if self.predicts == "epsilon":
            return predicted
        return noise_of_velocity(z, predicted, self._alpha_bar[t][:, None, None, None]).to(z.dtype)

    @property
    def predicts(self) -> str:
        """What the U-Net was trained to predict: "epsilon" or "v_prediction", as diffusers names them."""
        return str(self.scheduler.config.get("prediction_type", "epsilon"))

    def _digest_of_memory(self) -> str:
        digest = hashlib.sha256()
        for module in self.modules():
            for key, tensor in sorted(module.state_dict().items()):
                digest.update(key.encode())
                digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
        digest.update(self.alphas_cumprod.numpy().tobytes())
        if self.predicts != "epsilon":
            digest.update(self.predicts.encode())
        return "sha256:" + digest.hexdigest()


def digest_of_folder(folder: Path, variants: dict[str, str | None]) -> str:
    """`sha256:…` over the names and contents of all files that shape what the backbone computes."""
    digest = hashlib.sha256()
    for path in sorted(_files(folder, variants)):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return "sha256:" + digest.hexdigest()


def _to(module: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """`nn.Module.to` itself: the one of diffusers warns of parts to keep in float32, of which there are none."""
    return nn.Module.to(module, device=device, dtype=dtype)


def _files(folder: Path, variants: dict[str, str | None]) -> Iterator[Path]:
    yield folder / "scheduler" / "scheduler_config.json"
    yield from (folder / "tokenizer").glob("*.json")
    yield from (folder / "tokenizer").glob("merges.txt")
    for part, variant in variants.items():
        yield folder / part / "config.json"
        yield folder / part / _weights_name(part, variant)


def _load_part(folder: Path, part: str, part_class: Any, variant: str | None) -> Any:
    _read_json(folder, f"{part}/config.json")
    options: dict[str, Any] = {"variant": variant, "use_safetensors": True}
    if part_class is not CLIPTextModel:
        options["low_cpu_mem_usage"] = False  # which would need the package accelerate
    try:
        return part_class.from_pretrained(folder / part, **options)
    except (OSError, ValueError, RuntimeError) as error:
        raise BackboneError(f"{folder.name}/{part} does not load: {error}") from error


@contextmanager
def _quietly() -> Iterator[None]:
    """Loading and saving show no progress bars, and no remarks on configs that diffusers itself wrote."""
    level, bars = diffusers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    diffusers_logging.set_verbosity_error()
    bar_switches: Any = transformers_logging
    bar_switches.disable_progress_bar()
    try:
        yield
    finally:
        diffusers_logging.set_verbosity(level)
        if bars:
            bar_switches.enable_progress_bar()


def _find(path_or_name: str | Path) -> tuple[Path, str]:
    """The folder of a backbone and its name."""
    path = Path(path_or_name)
    if path.is_dir():
        return path.resolve(), path.resolve().name
    if (BUNDLED / path_or_name).is_dir():
        return BUNDLED / path_or_name, str(path_or_name)
    if not _HUB_NAME.fullmatch(str(path_or_name)):
        bundled = sorted(p.name for p in BUNDLED.glob("*") if p.is_dir())
        raise BackboneError(
            f"there is no backbone {str(path_or_name)!r}: give a diffusers folder, a hub name (owner/name), "
            f"or a bundled name ({', '.join(bundled) or 'none is bundled'})"
        )
    return _download(str(path_or_name)), str(path_or_name)


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "tokenizer/*"]
    patterns += [f"{part}/{_weights_name(part, v)}" for part in _WEIGHTS for v in (None, "fp16")]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:
        raise BackboneError(f"backbone {name!r} could not be fetched from the hub: {error}") from error


def _weights_name(part: str, variant: str | None) -> str:
    return f"{_WEIGHTS[part]}{'.' + variant if variant else ''}.safetensors"


def _variant(folder: Path, part: str) -> str | None:
    for variant in (None, "fp16"):
        if (folder / part / _weights_name(part, variant)).is_file():
            return variant
    raise BackboneError(f"{folder.name} lacks {part}/{_weights_name(part, None)} (or its fp16 variant)")


def _component(index: dict[str, Any], part: str) -> str:
    entry = index.get(part)
    if not (isinstance(entry, list) and len(entry) == 2):
        raise BackboneError(f"model_index.json names no {part}")
    return str(entry[1])


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads((folder / name).read_text("utf-8"))
    except FileNotFoundError:
        raise BackboneError(f"{folder.name} lacks {name}: it is no diffusers pipeline folder") from None
    except json.JSONDecodeError as error:
        raise BackboneError(f"{folder.name}/{name} is not JSON: {error}") from error
    return content


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", "utf-8")


def _factor(vae: Any) -> int:
    channels = vae.config.get("encoder_block_out_channels") or vae.config["block_out_channels"]
    return int(2 ** (len(channels) - 1))


def _check_fit(backbone: Backbone) -> None:
    """The parts must belong together, and the U-Net must predict ε or v from latents, t and tokens alone."""
    unet, vae = backbone.unet.config, backbone.vae.config
    if backbone.predicts not in _PREDICTIONS:
        raise BackboneError(
            f"{backbone.name}: prediction type {backbone.predicts!r} is not supported: {', '.join(_PREDICTIONS)}"
        )
    if float(backbone.scheduler.alphas_cumprod.min()) <= 0:
        raise BackboneError(f"{backbone.name}: its schedule ends at zero SNR, which DDIM cannot invert")
    if unet["in_channels"] != unet["out_channels"] or unet["in_channels"] != vae["latent_channels"]:
        raise BackboneError(
            f"{backbone.name}: the U-Net takes {unet['in_channels']} channels and gives {unet['out_channels']}, "
            f"the VAE has {vae['latent_channels']}; inpainting and other extended U-Nets are not supported"
        )
    if unet.get("addition_embed_type") or unet.get("class_embed_type") or unet.get("encoder_hid_dim"):
        raise BackboneError(f"{backbone.name}: the U-Net needs further conditions; only text is supported")
    if unet["cross_attention_dim"] != backbone.text_encoder.config.hidden_size:
        raise BackboneError(
            f"{backbone.name}: the U-Net takes tokens of width {unet['cross_attention_dim']}, "
            f"the text encoder gives {backbone.text_encoder.config.hidden_size}"
        )
