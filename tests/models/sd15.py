"""A tiny Stable Diffusion 1.5 in the folder that the real one has."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from bench.sd15.folder import TINY, write_folder


def tiny_sd15(folder: Path, variant: str | None = "fp16") -> Path:
    """Write it, with what the real one has beside what is needed: a safety checker, and habits of its time."""
    write_folder(folder, TINY, variant)
    index = json.loads((folder / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    index["feature_extractor"] = ["transformers", "CLIPImageProcessor"]
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "safety_checker").mkdir()
    (folder / "safety_checker" / "config.json").write_text("{}")
    (folder / "safety_checker" / "model.safetensors").write_bytes(b"a gigabyte that nobody reads")
    (folder / "v1-inference.yaml").write_text("model: {}\n")
    vae = folder / "vae" / "config.json"
    config = json.loads(vae.read_text())
    for name in ("scaling_factor", "force_upcast", "shift_factor"):  # younger than the weights
        config.pop(name, None)
    vae.write_text(json.dumps(config))
    (text,) = (folder / "text_encoder").glob("*.safetensors")
    tensors = load_file(text)
    tensors["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    save_file(tensors, text, {"format": "pt"})
    return folder
