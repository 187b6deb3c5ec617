"""The backbone: VAE, U-Net, text encoder, tokenizer and DDIM config, in the diffusers folder format."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from models.attention import install_masked_attention
from models.compilation import compile_unet
from models.ddim import noise_of_velocity
from models.folders import (
    WEIGHTS,
    BackboneError,
    check_fit,
    check_parts,
    check_schedule,
    component,
    digest_of_folder,
    fetch_weights,
    find,
    read_json,
    variant_of,
    write_json,
)
from models.graphs import CudaRecorder, Graphs
from models.kernels.channels_last import use_channels_last
from models.kernels.onednn import use_onednn
from models.region import Region


@dataclass
class Backbone:
    """One diffusion model and all that belongs to it.

    Calls here follow gradients: generation turns that off around them, training needs it.

    Attributes:
        compiled: whether the U-Net is compiled, which the first calls of each shape pay for.
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
    compiled: bool = False

    def __post_init__(self) -> None:
        text = self.text_encoder.config.to_dict()
        check_fit(self.name, self.unet.config, self.vae.config, text, self.scheduler)
        self.device = torch.device(self.device)
        for module in self.modules():
            _to(module, self.device, self.dtype).eval()
        install_masked_attention(self.unet)
        if self.device.type == "cuda":
            use_channels_last(self.unet, fused=not self.compiled)
            use_channels_last(self.vae, fused=True)
        if self.device.type == "cpu":
            if not self.compiled:  # a compiler has kernels of its own
                use_onednn(self.unet)
            use_onednn(self.vae)
        if self.compiled:
            compile_unet(self.unet)
        self.alphas_cumprod: Tensor = self.scheduler.alphas_cumprod.detach().cpu().double()
        self._alpha_bar = self.alphas_cumprod.to(self.device, torch.float32)
        self._graphs: Graphs | None = None
        self._recorded: Any = None
        if not self.digest:
            self.digest = self._digest_of_memory()

    @staticmethod
    def digest_of(path_or_name: str | Path) -> str:
        """The digest that a backbone has once it is loaded, from its files alone.

        Raises:
            BackboneError: there is none.
        """
        folder, name = find(path_or_name)
        if "/" in name:
            fetch_weights(folder, name)
        return digest_of_folder(folder, {part: variant_of(folder, name, part) for part in WEIGHTS})

    @classmethod
    def load(
        cls,
        path_or_name: str | Path,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        compiled: bool = False,
    ) -> Backbone:
        """Load a diffusers folder, a bundled backbone by name, or one from the hub ("owner/name").

        What it is made of is looked at before any weights are fetched or read. Its weights do not learn.

        Raises:
            BackboneError: there is none, or none that this method can use.
        """
        folder, name = find(path_or_name)
        index = read_json(folder, name, "model_index.json")
        check_parts(index, name)
        check_schedule(read_json(folder, name, "scheduler/scheduler_config.json"), name)
        unet, vae, text = (read_json(folder, name, f"{part}/config.json") for part in WEIGHTS)
        with _quietly():
            scheduler = DDIMScheduler.from_pretrained(folder / "scheduler")
        check_fit(name, unet, vae, text, scheduler)
        if "/" in name:
            fetch_weights(folder, name)
        variants = {part: variant_of(folder, name, part) for part in WEIGHTS}
        classes = {
            "unet": UNet2DConditionModel,
            "vae": getattr(diffusers, component(index, name, "vae")),
            "text_encoder": CLIPTextModel,
        }
        calibration = folder / "calibration.json"
        # To digest gigabytes takes as long as to load them, and both read the same pages of the system's cache.
        with _quietly(), ThreadPoolExecutor(1) as beside:
            digest = beside.submit(digest_of_folder, folder, variants)
            parts = {
                part: _load_part(folder, name, part, classes[part], variants[part], dtype) for part in WEIGHTS
            }
            tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        for module in parts.values():
            module.requires_grad_(False)
        return cls(
            **parts,
            tokenizer=tokenizer,
            scheduler=scheduler,
            name=name,
            digest=digest.result(),
            device=torch.device(device),
            dtype=dtype,
            calibration=json.loads(calibration.read_text("utf-8")) if calibration.is_file() else None,
            compiled=compiled,
        )

    def save(self, folder: str | Path, dtype: torch.dtype = torch.float16) -> None:
        """Write a diffusers folder (StableDiffusionPipeline layout) with weights in `dtype`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for part in WEIGHTS:
            module: Any = _to(copy.deepcopy(getattr(self, part)), torch.device("cpu"), dtype)
            module.to(memory_format=torch.contiguous_format)
            with _quietly():
                module.save_pretrained(folder / part, safe_serialization=True)
            config = read_json(folder, self.name, f"{part}/config.json")
            config.pop("_name_or_path", None)  # where it was loaded from, which may not shape a digest
            write_json(folder / part / "config.json", config)
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
        write_json(folder / "model_index.json", index)
        if self.calibration is not None:
            write_json(folder / "calibration.json", self.calibration)

    def modules(self) -> tuple[nn.Module, nn.Module, nn.Module]:
        """The three networks."""
        return self.unet, self.vae, self.text_encoder

    @property
    def nbytes(self) -> int:
        """Memory that the weights take."""
        return sum(weight.nbytes for module in self.modules() for weight in module.parameters())

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

        Of a U-Net that predicts v it is the noise that v means. On a GPU, where nothing is to be learned, it is
        recorded by its first call with inputs of these shapes, and replayed by all others, unless it is compiled.
        """
        if self.device.type != "cuda" or self.compiled or not torch.is_inference_mode_enabled():
            return self._predicted(z, t, tokens, region)
        if self._graphs is None or self._recorded is not self.unet:
            self._graphs, self._recorded = Graphs(self._predicted, CudaRecorder()), self.unet
        return self._graphs(z, t, tokens, region)

    def forget_graphs(self) -> None:
        """Let go of what was recorded, and of the memory that it works in."""
        self._graphs = None

    def _predicted(self, z: Tensor, t: Tensor, tokens: Tensor, region: Region | None) -> Tensor:
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


def _to(module: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """`nn.Module.to` itself: the one of diffusers warns of parts to keep in float32, of which there are none."""
    return nn.Module.to(module, device=device, dtype=dtype)


def _load_part(
    folder: Path, name: str, part: str, part_class: Any, variant: str | None, dtype: torch.dtype
) -> Any:
    """A network with the file's tensors as its weights, mapped and not copied unless they have another dtype.

    Nothing is drawn at random first: for that, diffusers needs the package accelerate.
    """
    try:
        return part_class.from_pretrained(folder / part, variant=variant, use_safetensors=True, dtype=dtype)
    except (OSError, ValueError, RuntimeError) as error:
        raise BackboneError(f"{name}: its {part} does not load: {error}") from error


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


def _factor(vae: Any) -> int:
    channels = vae.config.get("encoder_block_out_channels") or vae.config["block_out_channels"]
    return int(2 ** (len(channels) - 1))
