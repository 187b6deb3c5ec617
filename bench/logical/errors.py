"""How far an item is from the truth in the region that is wrong: in colour, and in features."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch.nn import functional

from bench.logical.colours import colour_difference
from bench.logical.world import Image
from bench.rendered import square_around
from models.features import features
from models.masks import Mask

_GRAIN = 0.75  # pixels of blur at 128 to a side: noise is no difference of colour
_SEEN = 128  # pixels a side of what the features see
_LEVELS = 4  # the coarsest map has few cells, and each sees the whole picture


@dataclass(frozen=True)
class Errors:
    """Of one picture against its truth.

    Attributes:
        colour: mean ΔE00 over the region.
        changed: mean ΔE00 over those of its pixels that the anomaly changes.
        features: mean distance between feature vectors of unit length over the region's cells, 0 to 2.
    """

    colour: float
    changed: float
    features: float

    def of(self, name: str) -> float:
        """One of them by name."""
        return {"colour": self.colour, "changed": self.changed, "features": self.features}[name]


KINDS = ("colour", "changed", "features")


def errors(item: Image, truth: Image, normal: Image, mask: Mask) -> Errors:
    """Errors of an item (H, W, 3) that was drawn on a normal image, in a mask (H, W)."""
    blur = _GRAIN * mask.shape[0] / 128
    smooth, true = (cv2.GaussianBlur(one.astype(np.float32) / 255, (0, 0), blur) for one in (item, truth))
    difference = colour_difference(smooth, true)
    changes = mask & (np.abs(truth.astype(np.int16) - normal).max(axis=2) > 8)
    return Errors(
        colour=float(difference[mask].mean()),
        changed=float(difference[changes if changes.any() else mask].mean()),
        features=feature_error(item, truth, mask),
    )


@torch.inference_mode()
def feature_error(item: Image, truth: Image, mask: Mask) -> float:
    """Mean over four maps of the distance between both pictures' vectors, cell by cell in the mask."""
    crop = square_around(mask)
    seen = [cv2.resize(one[crop], (_SEEN, _SEEN), interpolation=cv2.INTER_LINEAR) for one in (item, truth)]
    x = torch.from_numpy(np.stack(seen)).permute(0, 3, 1, 2).float() / 255
    shown = cv2.resize(mask[crop].astype(np.float32), (_SEEN, _SEEN), interpolation=cv2.INTER_AREA)
    m = torch.from_numpy(shown)[None, None]
    found = []
    for one in features().maps(x, _LEVELS):
        unit = functional.normalize(one, dim=1)
        away = (unit[0] - unit[1]).norm(dim=0)
        weight = functional.adaptive_avg_pool2d(m, (away.shape[0], away.shape[1]))[0, 0]
        found.append(float((away * weight).sum() / weight.sum()))
    return float(np.mean(found))


def means(several: list[Errors]) -> Errors:
    """Their means."""
    return Errors(*(float(np.mean([one.of(kind) for one in several])) for kind in KINDS))
