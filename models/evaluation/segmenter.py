"""A small detector: what a line would train, small enough to be trained anew for every set of pairs.

Fixed ImageNet features (`models.features`) under a decoder that learns where which defect is. A network from
scratch would have to learn to see from a few dozen pairs, and tells no two sets of them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.features import STRIDES, features
from models.levels import Pixels, colour
from models.masks import Mask

_LEVELS = 4  # of the features' maps: up to stride 16
_WIDTHS = (16, 24, 40, 112)
_MULTIPLE = STRIDES[_LEVELS - 1]


@dataclass(frozen=True, eq=False)
class Pair:
    """An image to learn from.

    Attributes:
        image: (H, W) or (H, W, 3), 8 or 16 bits.
        mask: (H, W), where the defect is; nothing in a normal image.
        type: of the defect; "" for a normal image.
    """

    image: Pixels
    mask: Mask
    type: str


@dataclass(frozen=True)
class Schooling:
    """How a segmenter is trained; the same for all that are compared.

    Attributes:
        steps: of the optimiser.
        crop: pixels a side of what is learned from at once.
        batch: crops a step; half of them are of normal images.
        rate: of AdamW, at its height.
        width: channels of the decoder.
        seed: of first weights, crops and their changes.
    """

    steps: int = 300
    crop: int = 192
    batch: int = 12
    rate: float = 2e-3
    width: int = 48
    seed: int = 0


class Segmenter(nn.Module):
    """Says of each pixel which defect it shows.

    Args:
        types: defect types that it tells apart.
        width: channels of the decoder.
    """

    def __init__(self, types: Sequence[str], width: int) -> None:
        super().__init__()
        self.types = tuple(types)
        self.lateral = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in _WIDTHS)
        self.smooth = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(8, width), nn.SiLU())
            for _ in _WIDTHS
        )
        self.head = nn.Conv2d(width, 1 + len(types), 1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, 1 + types, H, W) of images (B, 3, H, W) in [0, 1], sides multiples of 16; first is "none"."""
        return self.decoded(self.seen(images), (images.shape[-2], images.shape[-1]))

    @staticmethod
    def seen(images: Tensor) -> tuple[Tensor, ...]:
        """The fixed features of images, fine to coarse: all that the decoder gets of them."""
        with torch.no_grad():
            return features(images.device.type).maps(images, _LEVELS)

    def decoded(self, maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Logits (B, 1 + types, *size) of what `seen` gave of images of this size."""
        x = self.smooth[-1](self.lateral[-1](maps[-1]))
        for i in range(_LEVELS - 2, -1, -1):
            x = functional.interpolate(x, size=maps[i].shape[-2:], mode="bilinear", align_corners=False)
            x = self.smooth[i](x + self.lateral[i](maps[i]))
        return functional.interpolate(self.head(x), size=size, mode="bilinear", align_corners=False)

    @torch.inference_mode()
    def judged(self, image: Pixels) -> NDArray[np.float32]:
        """Probabilities (1 + types, H, W) over an image of any size."""
        x = _tensor(image)[None].to(self.head.weight.device)
        height, width = x.shape[-2:]
        right, below = -width % _MULTIPLE, -height % _MULTIPLE
        x = functional.pad(x, (0, right, 0, below), mode="replicate")
        found = self(x)[0, :, :height, :width].softmax(dim=0)
        return np.asarray(found.float().cpu().numpy(), np.float32)


def trained(
    pairs: Sequence[Pair],
    schooling: Schooling,
    types: Sequence[str],
    *,
    beside: Sequence[Pair] = (),
    device: str = "cpu",
    on_step: Callable[[int], None] | None = None,
) -> Segmenter:
    """A segmenter that learned from pairs and normal images.

    Half of each batch is normal images. Where there are pairs `beside`, the other half is shared equally, so that
    a few real pairs are not drowned by many synthetic ones.

    Raises:
        ValueError: no pairs, or no normal images.
    """
    normal = [pair for pair in pairs if not pair.type]
    defective = [pair for pair in pairs if pair.type]
    if not normal or not defective:
        raise ValueError("a segmenter learns from defective images and normal ones; one kind is missing")
    rng = np.random.default_rng([schooling.seed, 1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(schooling.seed)
        segmenter = Segmenter(types, schooling.width).to(device)
    optimizer = torch.optim.AdamW(segmenter.parameters(), lr=schooling.rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, schooling.rate, total_steps=schooling.steps)
    half = schooling.batch // 2
    kinds = [(normal, schooling.batch - half)]
    kinds += [(defective, half - half // 2), (list(beside), half // 2)] if beside else [(defective, half)]
    for step in range(schooling.steps):
        rows = [
            _crop(kind[int(rng.integers(len(kind)))], schooling.crop, segmenter.types, rng)
            for kind, count in kinds
            for _ in range(count)
        ]
        images, truth = (torch.stack(part).to(device) for part in zip(*rows, strict=True))
        loss = segmentation_loss(segmenter(images), truth)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        if on_step is not None:
            on_step(step + 1)
    return segmenter.eval()


def segmentation_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy, and the Dice loss of what is defective against the rest: few pixels are.

    Args:
        logits: (B, 1 + types, H, W). truth: (B, H, W) int64, 0 or one more than the number of the type.
    """
    defective = 1 - logits.softmax(dim=1)[:, 0]
    true = (truth > 0).float()
    dice = 1 - (2 * (defective * true).sum() + 1) / (defective.sum() + true.sum() + 1)
    return functional.cross_entropy(logits, truth) + dice


def _crop(pair: Pair, side: int, types: Sequence[str], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A square of an image around some pixel of its defect, turned, mirrored, brighter or darker."""
    image, mask = pair.image, pair.mask
    height, width = mask.shape
    within = np.argwhere(mask)
    if len(within):
        at = within[int(rng.integers(len(within)))]
    else:
        at = np.array([rng.integers(height), rng.integers(width)])
    corner = [
        int(rng.integers(max(0, min(p - side + 1, n - side)), max(0, min(p, n - side)) + 1))
        for p, n in zip(at.tolist(), (height, width), strict=True)
    ]
    rows, columns = (slice(c, c + side) for c in corner)
    x, m = _tensor(image[rows, columns]), torch.from_numpy(mask[rows, columns].astype(np.int64))
    x = functional.pad(x[None], (0, side - x.shape[2], 0, side - x.shape[1]), mode="replicate")[0]
    m = functional.pad(m, (0, side - m.shape[1], 0, side - m.shape[0]))
    turns = int(rng.integers(4))
    x, m = torch.rot90(x, turns, (1, 2)), torch.rot90(m, turns, (0, 1))
    if rng.random() < 0.5:
        x, m = x.flip(2), m.flip(1)
    gain, offset = rng.uniform(0.8, 1.25), rng.uniform(-0.06, 0.06)
    x = (x * gain + offset).clamp(0, 1)
    return x, m * (types.index(pair.type) + 1 if pair.type else 0)


def _tensor(image: Pixels) -> Tensor:
    """(3, H, W) in [0, 1]."""
    unit = colour(image).astype(np.float32) / np.iinfo(image.dtype).max
    return torch.from_numpy(np.ascontiguousarray(unit.transpose(2, 0, 1)))
