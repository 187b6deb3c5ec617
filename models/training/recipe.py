"""The recipe: every number that shapes a trained backbone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """Sizes, rates and shares; the defaults are those of the bundled backbone."""

    name: str = "flawsmith-small-1"
    seed: int = 1
    type_version: int = 3  # of its defect types; version 1 are those of flawsmith-small-0

    window_px: int = 128

    # Tokens and text
    vocabulary: int = 1200
    max_tokens: int = 16
    text_width: int = 128
    text_layers: int = 2
    text_heads: int = 4

    # VAE, f4
    vae_channels: int = 48
    vae_encoder_blocks: tuple[int, ...] = (0, 2, 3)
    vae_decoder_blocks: tuple[int, ...] = (3, 2, 1)
    latent_channels: int = 8
    vae_scenes: int = 3000
    vae_photo_crops: int = 1300
    photo_share: float = 0.35  # of a batch, where there are photos
    vae_crop_px: int = 64
    vae_batch: int = 10
    vae_rate: float = 1.2e-3
    latent_noise: float = 0.05  # added between encoder and decoder, which makes the decoder forgiving
    latent_norm: float = 0.01  # weight of the pull of each latent channel to mean 0 and deviation 1
    edge_weight: float = 1.0
    chroma_weight: float = 2.0
    perceptual_weight: float = 0.15

    # U-Net
    unet_channels: tuple[int, ...] = (64, 96, 192)
    heads: int = 4
    norm_groups: int = 16
    scenes: int = 14400
    photo_crops: int = 1200
    close_up: float = 0.6  # share of the budget on quarters of windows, twice as many: four times cheaper each
    batch_defects: int = 10  # rows of the first term: z_t under C1
    batch_backgrounds: int = 3  # rows of the second term: z_t^m under C2, of the same scenes
    batch_normals: int = 3  # rows of normal images under C2; every third with a random m
    rate: float = 5e-4
    hold: float = 0.5  # share of the budget at the full rate, so that a training can be given more of it later
    token_rate: float = 2e-3
    ema: float = 0.999
    gamma: float = 5.0
    least_start: float = 0.4  # of T: the noise of the first term's rows is that of a drawing begun there or above
    least_sketched: float = 0.1  # the same for drawings that began on a sketch
    sketched: float = 0.75  # share of the rows within reach of a start on a sketch that began on one
    lam: float = 1.0
    tokens_per_type: int = 4


@dataclass(frozen=True)
class Ablation:
    """What of the method a training goes without, to measure what each part is worth; by default nothing.

    Beside the recipe and not in it: what is bundled is never ablated.

    masked_self, masked_cross: masked attention among the cells, and to the defect's tokens.
    background_keys: without them cells inside m attend to none outside, so that the defect is drawn half blind.
    background: without it nothing of what lies outside m is seen where backgrounds are clear (`terms.Rows`).
    disentangled: without it the loss is the plain one on z_t over the whole image: scenes with their defect under
        C1, their normal images under C2 in place of the second term's z_t^m, and no random m for normals.
    """

    masked_self: bool = True
    masked_cross: bool = True
    background_keys: bool = True
    background: bool = True
    disentangled: bool = True


#: The same path with everything small: for tests.
TINY = Recipe(
    name="tiny",
    window_px=32,
    vocabulary=600,
    max_tokens=8,
    text_width=16,
    text_layers=1,
    text_heads=2,
    vae_channels=8,
    vae_encoder_blocks=(0, 1, 1),
    vae_decoder_blocks=(1, 1, 1),
    vae_scenes=6,
    vae_photo_crops=4,
    vae_crop_px=16,
    vae_batch=4,
    unet_channels=(8, 16, 16),
    heads=2,
    norm_groups=4,
    scenes=9,
    photo_crops=4,
    batch_defects=2,
    batch_backgrounds=1,
    batch_normals=1,
    tokens_per_type=2,
)
