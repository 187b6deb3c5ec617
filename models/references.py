"""What a type's real examples look like, and how like them an item is: `realism`, `novelty` (design §2, step 7).

Realism looks at features of ImageNet within the defect; it needs no pixels of the examples. Novelty looks at
pixels: a copy shows the same pattern, turned or mirrored, wherever it was put.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from models.features import features
from models.frames import box_of
from models.masks import Mask
from models.samples import SPECK, Exemplar, defects
from models.windows import Place, reflected

Vectors = NDArray[np.float32]

_SEEN = 96  # pixels a side of what the features see
_AROUND = 0.5  # of a defect's longer side, seen around it
_LEAST = 32  # pixels a side that are seen at least
_PATCH = 24  # pixels a side of a pattern
_COPY = 0.97  # correlation from which two patterns are one
_TURNS = tuple(7.5 * i for i in range(1, 12))  # degrees by which examples are turned, besides right angles
_JUDGED = 8  # defects of a label


@dataclass(frozen=True, eq=False)
class References:
    """The real examples of a type.

    An item's label may have several defects, as a sample's may; examples are one each. So each defect of a label
    is judged by itself, the largest `_JUDGED` of them: realism is their mean by area, novelty that of the likest.

    Attributes:
        features: (n, F), of each.
        patterns: (n, turns, P·P), of each as it is turned, of unit length; None where the examples' pixels are not
            at hand.
    """

    features: Vectors
    patterns: Vectors | None = None

    @classmethod
    def of(cls, exemplars: Sequence[Exemplar], described: Tensor | None = None) -> References:
        """Of exemplars; their features, where an adapter has them, need not be computed."""
        if described is None:
            described = described_exemplars(exemplars)
        patterns = np.stack([_turned(_unit(one), one.mask) for one in exemplars]) if exemplars else None
        return cls(np.asarray(described.numpy(), np.float32), patterns)

    @cached_property
    def spread(self) -> float:
        """How far a real example usually lies from its neighbours, the `_neighbour`-th nearest other one."""
        if len(self.features) < 2:
            return 0.0
        distances = np.sort(_distances(self.features, self.features), axis=1)[:, 1:]
        return float(np.median(distances[:, self._neighbour - 1]))

    @property
    def _neighbour(self) -> int:
        """About √n: the nearest one may be another shot of the same part, and tells little."""
        return max(1, math.isqrt(len(self.features) - 1))

    @cached_property
    def likeness(self) -> float:
        """How alike two real examples' patterns may be without one being a copy: nine in ten are less alike."""
        if self.patterns is None or len(self.patterns) < 2:
            return 0.0
        alike = np.stack([_alike(one, self.patterns) for one in self.patterns[:, 0]])
        np.fill_diagonal(alike, -1)
        return float(np.clip(np.quantile(alike.max(axis=1), 0.9), 0.0, _COPY - 0.05))

    def realism(self, image: NDArray[np.float32], mask: Mask) -> float | None:
        """1 where its neighbours among real examples are as near as theirs usually are; (s/d)² beyond.

        Args:
            image: (H, W, 1 or 3) in unit range. mask: (H, W), the refined one.

        Returns:
            None with fewer than two examples, or without a defect.
        """
        if self.spread == 0 or not mask.any():
            return None
        judged = _largest(mask)
        found = np.stack([described(image[place], own) for place, own in judged])
        distances = np.sort(_distances(found, self.features), axis=1)[:, self._neighbour - 1]
        each = np.minimum(1.0, (self.spread / np.maximum(distances, 1e-9)) ** 2)
        return float(np.average(each, weights=[own.sum() for _, own in judged]))

    def novelty(self, image: NDArray[np.float32], mask: Mask) -> float | None:
        """1 where the item's pattern is no more like a real example's than two of those are; 0 for a copy.

        Returns:
            None where no pixels of real examples are at hand, or without a defect.
        """
        if self.patterns is None or not mask.any():
            return None
        alike = max(
            float(_alike(pattern(image[place], own), self.patterns).max()) for place, own in _largest(mask)
        )
        return float(np.clip((_COPY - alike) / (_COPY - self.likeness), 0.0, 1.0))


def described_exemplars(exemplars: Sequence[Exemplar]) -> Tensor:
    """(n, F) features of exemplars."""
    return torch.from_numpy(np.stack([described(_unit(one), one.mask) for one in exemplars]))


@torch.inference_mode()
def described(image: NDArray[np.float32], mask: Mask) -> Vectors:
    """(F,) means and deviations of features within a defect; of unit length, level by level.

    Args:
        image: (H, W, 1 or 3) in unit range. mask: (H, W), not empty.
    """
    picture, inside = _square(image, mask, _SEEN)
    parts = []
    for plane in features().maps(picture):
        weight = functional.adaptive_max_pool2d(inside, (plane.shape[2], plane.shape[3]))
        weight = weight / weight.sum()
        mean = (plane * weight).sum(dim=(2, 3))
        variance = ((plane - mean[:, :, None, None]).square() * weight).sum(dim=(2, 3))
        parts.append(functional.normalize(torch.cat([mean, variance.sqrt()], dim=1), dim=1))
    return np.asarray(torch.cat(parts, dim=1)[0].numpy(), np.float32)


def pattern(image: NDArray[np.float32], mask: Mask) -> Vectors:
    """(P·P,) luminance in the square around a defect, without its mean, of unit length."""
    picture, _ = _square(image, mask, _PATCH, around=0.1)
    flat = picture.mean(dim=1).flatten()
    flat = flat - flat.mean()
    return np.asarray((flat / flat.norm().clamp(min=1e-6)).numpy(), np.float32)


def _turned(image: NDArray[np.float32], mask: Mask) -> Vectors:
    """(turns, P·P) patterns of a defect turned by less than a right angle, first as it is."""
    found = [pattern(image, mask)]
    for angle in _TURNS:
        inside = ndimage.rotate(mask.astype(np.float32), angle, order=1) > 0.5
        # A speck may fall between the pixels.
        if inside.any():
            turned = ndimage.rotate(image, angle, order=1, mode="reflect")
            found.append(pattern(np.asarray(turned, np.float32), inside))
        else:
            found.append(found[0])
    return np.stack(found)


def _alike(one: Vectors, others: Vectors) -> NDArray[np.float32]:
    """(n,) the greatest correlation of a pattern, in its eight positions, with each of others (n, turns, P·P)."""
    square = one.reshape(_PATCH, _PATCH)
    positions = [np.rot90(side, turn).ravel() for side in (square, square[:, ::-1]) for turn in range(4)]
    return np.asarray((others @ np.stack(positions).T).max(axis=(1, 2)), np.float32)


def _largest(mask: Mask) -> list[tuple[Place, Mask]]:
    """The defects of a label that are judged, cut out as examples are."""
    return sorted(defects(mask, SPECK), key=lambda one: -int(one[1].sum()))[:_JUDGED]


def _distances(ours: Vectors, theirs: Vectors) -> NDArray[np.float64]:
    difference = ours[:, None].astype(np.float64) - theirs[None].astype(np.float64)
    return np.asarray(np.sqrt(np.square(difference).sum(axis=2)), np.float64)


def _square(image: NDArray[np.float32], mask: Mask, side: int, around: float = _AROUND) -> tuple[Tensor, Tensor]:
    """The square around a mask, mirrored beyond the picture: (1, 3, side, side) and the mask there, (1, 1, …)."""
    top, left, height, width = box_of(mask)
    half = max(_LEAST // 2, int(np.ceil((0.5 + around) * max(height, width))))
    middle = (top + height // 2, left + width // 2)
    index = [reflected(at - half, 2 * half, size) for at, size in zip(middle, mask.shape, strict=True)]
    cut = np.ix_(*index)
    picture = torch.from_numpy(np.ascontiguousarray(image[cut].transpose(2, 0, 1)))[None].clamp(0, 1)
    inside = torch.from_numpy(mask[cut].astype(np.float32))[None, None]
    size = (side, side)
    return (
        functional.interpolate(picture, size, mode="bilinear", antialias=True).expand(-1, 3, -1, -1),
        (functional.adaptive_max_pool2d(inside, size) > 0).float(),
    )


def _unit(exemplar: Exemplar) -> NDArray[np.float32]:
    return np.asarray(exemplar.image / np.float32(255), np.float32)
