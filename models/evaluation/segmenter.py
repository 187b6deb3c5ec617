"""A small detector: what a line would train, small enough to be trained anew for every set of pairs.

Fixed ImageNet features (`models.features`) under a decoder that learns where which defect is. A network from
scratch would have to learn to see from a few dozen pairs, and tells no two sets of them apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.features import STRIDES, features
from models.levels import Levels, Pixels, colour, in_eight_bits
from models.masks import Mask
from models.samples import Sample

SPOT = 5
"""Pixels a side over which a sign of a defect is averaged: one pixel alone is noise."""
_LEVELS = 4  # of the features' maps: up to stride 16
_WIDTHS = (16, 24, 40, 112)
_DEVIATIONS = (7.0, 7.0, 6.0, 4.5)
"""Of each map over photos of parts. What is decoded of a coarse map, of about 1, is added to the next finer one,
which would drown it as it is."""
_MULTIPLE = STRIDES[_LEVELS - 1]
_WHOLE = 1_600_000  # pixels of a photo that is looked at as a whole, which takes .4 GB
_TILE, _MARGIN = 1216, 128  # sides of tiles of a larger one, and how much of these is looked at and not told of


@dataclass(frozen=True, eq=False)
class Pair:
    """An image to learn from.

    Attributes:
        image: (H, W) or (H, W, 1 to 4) of 8 bits, as `for_detectors` gives it.
        mask: (H, W), where the defect is; nothing in a normal image.
        type: of the defect; "" for a normal image.
    """

    image: Pixels
    mask: Mask
    type: str


def for_detectors(image: Pixels, levels: Levels | None = None) -> Pixels:
    """A photo as detectors see it: one of 16 bits in the range that its camera's levels span.

    Cameras use 10 or 12 bits of 16, of which detectors would see a sixteenth or less.

    Args:
        levels: of the whole photo, where this is a part of it or was drawn on: it must not look otherwise.
    """
    return image if image.dtype == np.uint8 else in_eight_bits(image, levels)


def real_pairs(samples: Sequence[Sample], type_: str) -> list[Pair]:
    """Real photos to learn from; `type_` is "" for normal ones."""
    return [Pair(for_detectors(sample.image), sample.mask, type_) for sample in samples]


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
        """The fixed features of images, fine to coarse, with deviations of about 1: all that the decoder gets."""
        with torch.no_grad():
            maps = features(images.device.type).maps(images, _LEVELS)
            return tuple(one / deviation for one, deviation in zip(maps, _DEVIATIONS, strict=True))

    def decoded(self, maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Logits (B, 1 + types, *size) of what `seen` gave of images of this size."""
        x = self.smooth[-1](self.lateral[-1](maps[-1]))
        for i in range(_LEVELS - 2, -1, -1):
            x = functional.interpolate(x, size=maps[i].shape[-2:], mode="bilinear", align_corners=False)
            x = self.smooth[i](x + self.lateral[i](maps[i]))
        return functional.interpolate(self.head(x), size=size, mode="bilinear", align_corners=False)

    @torch.inference_mode()
    def judged(self, image: Pixels) -> NDArray[np.float32]:
        """Probabilities (1 + types, H, W) over a photo of any size, or a part as `for_detectors` gives it.

        A large photo is looked at in tiles, so that a look takes no more memory than one at `_WHOLE` pixels. The
        decoder's norms are over all that it sees, so that log odds differ from those of the whole: on photos of
        ball screws put together to 4 megapixels by .07 to .23 (median), .8 at most, and correlate by .97 to .99.
        """
        seen = for_detectors(image)
        height, width = seen.shape[:2]
        if height * width <= _WHOLE:
            return self._judged(seen)
        found = np.empty((1 + len(self.types), height, width), np.float32)
        for rows, kept_rows in _tiles(height):
            for columns, kept_columns in _tiles(width):
                tile = self._judged(seen[rows, columns])
                inner = tuple(
                    slice(kept.start - all_.start, kept.stop - all_.start)
                    for all_, kept in ((rows, kept_rows), (columns, kept_columns))
                )
                found[:, kept_rows, kept_columns] = tile[:, *inner]
        return found

    def _judged(self, image: Pixels) -> NDArray[np.float32]:
        x = tensor_of(image)[None].to(self.head.weight.device)
        height, width = x.shape[-2:]
        right, below = -width % _MULTIPLE, -height % _MULTIPLE
        x = functional.pad(x, (0, right, 0, below), mode="replicate")
        found = self(x)[0, :, :height, :width].softmax(dim=0)
        return np.asarray(found.float().cpu().numpy(), np.float32)


def _tiles(side: int) -> list[tuple[slice, slice]]:
    """Spans of tiles along a side, and what of each is told; cells of features lie in all as in the whole."""
    count = max(1, math.ceil((side - 2 * _MARGIN) / (_TILE - 2 * _MARGIN)))
    step = -(-side // (count * _MULTIPLE)) * _MULTIPLE
    kept = [slice(start, min(start + step, side)) for start in range(0, side, step)]
    return [(slice(max(0, one.start - _MARGIN), min(side, one.stop + _MARGIN)), one) for one in kept]


def segmentation_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy; Dice losses of what is defective against the rest, for few pixels are; and the types' own.

    Cross-entropy and the Dice loss over all images are matters of large defects. So that small ones count, too,
    half of the Dice loss is a mean over images with a defect, and so is the cross-entropy of types in defects.

    Args:
        logits: (B, 1 + types, H, W). truth: (B, H, W) int64, 0 or one more than the number of the type.
    """
    found = 1 - logits.softmax(dim=1)[:, 0].flatten(1)
    true = (truth > 0).float().flatten(1)
    area = true.sum(dim=1)
    share = (area > 0) / (area > 0).sum().clamp(min=1)
    dice = (_dice(found, true, (0, 1)) + (_dice(found, true, (1,)) * share).sum()) / 2
    named = functional.cross_entropy(logits[:, 1:], (truth - 1).clamp(min=0), reduction="none").flatten(1)
    names = ((named * true).sum(dim=1) / area.clamp(min=1) * share).sum()
    return functional.cross_entropy(logits, truth) + dice + names


def _dice(found: Tensor, true: Tensor, dim: tuple[int, ...]) -> Tensor:
    return 1 - (2 * (found * true).sum(dim) + 1) / (found.sum(dim) + true.sum(dim) + 1)


def tensor_of(image: Pixels) -> Tensor:
    """(1 or 3, H, W) in [0, 1]."""
    unit = colour(image).astype(np.float32) / np.iinfo(image.dtype).max
    return torch.from_numpy(np.ascontiguousarray(unit.transpose(2, 0, 1)))
