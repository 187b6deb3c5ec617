"""A tiny backbone with random weights, built in memory: real classes, no meaning."""

from __future__ import annotations

from typing import Any, Literal

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DDIMScheduler, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from models.adapters import Adapter
from models.backbone import Backbone

TOKENS = 8
WIDTH = 16


def tiny_tokenizer() -> CLIPTokenizer:
    letters = "abcdefghijklmnopqrstuvwxyz"
    symbols = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={symbol: i for i, symbol in enumerate(symbols)}, merges=[], model_max_length=TOKENS)


def tiny_backbone(
    seed: int = 0,
    window_px: int = 64,
    vae: Literal["tiny", "kl"] = "tiny",
    name: str = "tiny",
    compiled: bool = False,
) -> Backbone:
    """f4 windows of `window_px`; attention at L/2 and L/4."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tokenizer = tiny_tokenizer()
        unet = UNet2DConditionModel(
            sample_size=window_px // 4,
            in_channels=4,
            out_channels=4,
            block_out_channels=(8, 16, 16),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            attention_head_dim=2,
            cross_attention_dim=WIDTH,
            norm_num_groups=4,
        )
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=WIDTH,
                intermediate_size=2 * WIDTH,
                num_hidden_layers=1,
                num_attention_heads=2,
                max_position_embeddings=TOKENS,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
        autoencoder = (
            AutoencoderTiny(
                encoder_block_out_channels=(8, 8, 8),
                decoder_block_out_channels=(8, 8, 8),
                num_encoder_blocks=(1, 1, 1),
                num_decoder_blocks=(1, 1, 1),
                latent_channels=4,
            )
            if vae == "tiny"
            else AutoencoderKL(
                block_out_channels=(8, 8, 8),
                down_block_types=("DownEncoderBlock2D",) * 3,
                up_block_types=("UpDecoderBlock2D",) * 3,
                layers_per_block=1,
                latent_channels=4,
                norm_num_groups=4,
            )
        )
    scheduler = DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
    )
    return Backbone(
        unet=unet,
        vae=autoencoder,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        scheduler=scheduler,
        name=name,
        compiled=compiled,
    )


def tiny_adapter(backbone: Backbone) -> Adapter:
    """A type of four tokens at random."""
    tokens = torch.randn(4, backbone.token_width, generator=torch.Generator().manual_seed(1))
    return Adapter("scratch", 1, backbone.name, backbone.digest, tokens)


def tiny_low_rank(unet: Any) -> dict[str, Tensor]:
    """Low-rank weights that change a U-Net's attention and convolutions."""
    generator = torch.Generator().manual_seed(3)
    weights = {}
    for name, module in unet.named_modules():
        if name.endswith(("to_q", "conv1")):
            shape = module.weight.shape
            weights[f"{name}.lora_A.weight"] = 0.1 * torch.randn(2, *shape[1:], generator=generator)
            weights[f"{name}.lora_B.weight"] = 0.1 * torch.randn(
                shape[0], 2, *(1,) * (len(shape) - 2), generator=generator
            )
    return weights
