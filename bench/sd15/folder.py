"""A folder as that of Stable Diffusion 1.5, written by its own pipeline, with random weights."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

TOKENS = 77


@dataclass(frozen=True)
class Shape:
    """Sizes of a Stable Diffusion 1.

    Attributes:
        cells: of a window's side; a cell is 8 pixels.
        unet, vae: channels of each level.
        layers: of each level.
        heads: of the U-Net's attention. groups: of normalisation.
        width: of a token. text_layers, text_heads, vocabulary: of the text encoder.
    """

    cells: int
    unet: tuple[int, int, int, int]
    vae: tuple[int, int, int, int]
    layers: int
    heads: int
    groups: int
    width: int
    text_layers: int
    text_heads: int
    vocabulary: int


FULL = Shape(64, (320, 640, 1280, 1280), (128, 256, 512, 512), 2, 8, 32, 768, 12, 12, 49_408)
"""Stable Diffusion 1.5: a U-Net of 860 million parameters."""
TINY = Shape(16, (8, 16, 16, 16), (8, 8, 8, 8), 1, 2, 4, 16, 1, 2, 256)
"""The same in small, windows of 128 pixels, for tests."""


def write_folder(
    folder: Path, shape: Shape, variant: str | None = "fp16", seed: int = 0, device: str = "cpu"
) -> Path:
    """Write the folder unless it is there.

    Args:
        variant: of the weights' files; "fp16" is half of the size.
        device: that draws the weights.
    """
    if not folder.is_dir():
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        with torch.device(device):
            pipeline = _pipeline(shape, seed)
        for module in (pipeline.unet, pipeline.vae, pipeline.text_encoder) if variant == "fp16" else ():
            nn.Module.to(module, torch.float16)
        pipeline.save_pretrained(partial, safe_serialization=True, variant=variant)
        partial.rename(folder)
    return folder


def _pipeline(shape: Shape, seed: int) -> Any:
    tokenizer = _tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return StableDiffusionPipeline(
            vae=AutoencoderKL(
                block_out_channels=shape.vae,
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                layers_per_block=shape.layers,
                latent_channels=4,
                norm_num_groups=shape.groups,
                sample_size=8 * shape.cells,
            ),
            text_encoder=_text_encoder(shape, tokenizer),
            tokenizer=tokenizer,
            unet=UNet2DConditionModel(
                sample_size=shape.cells,
                block_out_channels=shape.unet,
                down_block_types=(*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
                up_block_types=("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
                layers_per_block=shape.layers,
                attention_head_dim=shape.heads,
                cross_attention_dim=shape.width,
                norm_num_groups=shape.groups,
            ),
            scheduler=PNDMScheduler(
                beta_start=0.00085,
                beta_end=0.012,
                beta_schedule="scaled_linear",
                skip_prk_steps=True,
                set_alpha_to_one=False,
                steps_offset=1,
            ),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )


def _text_encoder(shape: Shape, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=shape.vocabulary,
            hidden_size=shape.width,
            intermediate_size=4 * shape.width,
            num_hidden_layers=shape.text_layers,
            num_attention_heads=shape.text_heads,
            max_position_embeddings=TOKENS,
            hidden_act="quick_gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def _tokenizer() -> CLIPTokenizer:
    """Letters alone: of what words mean nothing is known here anyway."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    symbols = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={symbol: i for i, symbol in enumerate(symbols)}, merges=[], model_max_length=TOKENS)
