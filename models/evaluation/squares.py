"""Squares that a detector learns from: cut out around some pixel, turned, mirrored, brighter or darker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.evaluation.segmenter import Pair, tensor_of
from models.masks import Mask


@dataclass(frozen=True)
class Square:
    """What is cut out of an image, and how.

    Attributes:
        corner: row and column of the image where it begins.
        side: pixels.
        turns: quarters of a turn.
        mirrored: whether it is mirrored then.
        gain, offset: of its light.
    """

    corner: tuple[int, int]
    side: int
    turns: int
    mirrored: bool
    gain: float
    offset: float

    @classmethod
    def drawn(cls, mask: Mask, side: int, rng: np.random.Generator, at: tuple[int, int] | None = None) -> Square:
        """A square around a pixel: ``at``, else one of the defect, else any.

        Where it would reach beyond the image it lies flush with the border, so that borders are seen often: a
        detector that sees them beside defects alone takes them for some.

        Args:
            mask: (H, W), of the image's defect; empty for a good one.
        """
        if at is None:
            within = np.argwhere(mask)
            row, column = within[int(rng.integers(len(within)))] if len(within) else rng.integers(mask.shape)
            at = int(row), int(column)
        top, left = (
            int(np.clip(p - rng.integers(side), 0, max(0, n - side))) for p, n in zip(at, mask.shape, strict=True)
        )
        turns, mirrored = int(rng.integers(4)), bool(rng.random() < 0.5)
        return cls(
            (top, left), side, turns, mirrored, float(rng.uniform(0.8, 1.25)), float(rng.uniform(-0.06, 0.06))
        )

    def cut(self, pair: Pair, types: Sequence[str]) -> tuple[Tensor, Tensor]:
        """The square of an image; a smaller image is filled up at its right and below.

        Args:
            types: that the detector tells apart.

        Returns:
            (1 or 3, side, side) in [0, 1], and what it shows: (side, side) int64, 0 or one more than the number of
            the type.
        """
        rows, columns = (slice(start, start + self.side) for start in self.corner)
        x = tensor_of(pair.image[rows, columns])
        m = torch.from_numpy(pair.mask[rows, columns].astype(np.int64))
        right, below = self.side - x.shape[2], self.side - x.shape[1]
        x = functional.pad(x[None], (0, right, 0, below), mode="replicate")[0]
        m = functional.pad(m, (0, right, 0, below))
        x, m = torch.rot90(x, self.turns, (1, 2)), torch.rot90(m, self.turns, (0, 1))
        if self.mirrored:
            x, m = x.flip(2), m.flip(1)
        x = (x * self.gain + self.offset).clamp(0, 1)
        return x, m * (types.index(pair.type) + 1 if pair.type else 0)

    def back(self, found: Tensor, shape: tuple[int, int]) -> Tensor:
        """A map of the cut square as the image lies, without what was filled up.

        Args:
            found: (side, side).
            shape: of the image.
        """
        found = torch.rot90(found.flip(1) if self.mirrored else found, -self.turns, (0, 1))
        return found[: shape[0] - self.corner[0], : shape[1] - self.corner[1]]
