"""What a detector said about test images, kept so that images can be drawn anew at once: histograms of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.evaluation.images import Array
from models.evaluation.pixels import PixelOutcomes
from models.masks import Mask

BINS = 2048
"""Thresholds between which pixels are not told apart, at equal shares of what is scored."""


@dataclass(frozen=True, eq=False)
class Scored:
    """What a detector said about one test image.

    Attributes:
        pixels: (H, W) float, higher where a defect is more likely.
        mask: (H, W), the true one; empty for a normal image, and for no other.
        image: of the whole image, higher if it is more likely defective.
        type: the true defect type; None for a normal image.
        named: the type that the detector gives it, whatever its score.
        group: images of one part or board, which are drawn together.
    """

    pixels: NDArray[np.float32]
    mask: Mask
    image: float
    type: str | None
    named: str | None
    group: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Outcomes(PixelOutcomes):
    """What a detector said about a test set of N images, their pixels and regions; areas are in pixels.

    Attributes:
        overlaps: (N, BINS), the share of each defective region that each bin holds, summed over regions.
        regions: (N,), how many there are.
        named: N types that it gave, whatever the score.
    """

    overlaps: Array
    regions: Array
    named: tuple[str | None, ...]

    @classmethod
    def of(cls, scored: Sequence[Scored]) -> Outcomes:
        """Count.

        Raises:
            ValueError: there is no defective image, or no normal one; or one has a type and an empty mask, or no
                type and a mask.
        """
        if any((one.type is not None) != one.mask.any() for one in scored):
            raise ValueError("an image has a type and a mask that is not empty, or neither")
        if not any(one.mask.any() for one in scored) or all(one.mask.any() for one in scored):
            raise ValueError("a test set needs defective images and normal ones")
        edges = _edges(scored)
        rows = [_counted(one, edges) for one in scored]
        hits, alarms, overlaps = (np.stack(part) for part in zip(*(row[:3] for row in rows), strict=True))
        return cls(
            hits=hits,
            alarms=alarms,
            overlaps=overlaps,
            regions=np.array([row[3] for row in rows], np.float64),
            image=np.array([one.image for one in scored], np.float64),
            types=tuple(one.type for one in scored),
            named=tuple(one.named for one in scored),
            areas=np.array([one.mask.sum() for one in scored], np.float64),
            groups=tuple(one.group for one in scored),
        )


def _edges(scored: Sequence[Scored], most: int = 4_000_000) -> Array:
    """(BINS − 1,) thresholds at equal shares of all pixels, half of them at equal shares of the defective ones."""
    step = max(1, sum(one.pixels.size for one in scored) // most)
    everywhere = np.concatenate([one.pixels.ravel()[::step] for one in scored])
    inside = np.concatenate([one.pixels[one.mask] for one in scored])
    shares = np.linspace(0, 1, BINS // 2, endpoint=False)
    edges = np.concatenate([np.quantile(everywhere, shares[1:]), np.quantile(inside, shares)])
    return np.sort(edges).astype(np.float64)


def _counted(one: Scored, edges: Array) -> tuple[Array, Array, Array, int]:
    bins = np.searchsorted(edges, one.pixels, side="right")

    def histogram(where: NDArray[np.bool_]) -> Array:
        return np.bincount(bins[where], minlength=BINS).astype(np.float64)

    overlaps = np.zeros(BINS)
    labels, regions = ndimage.label(one.mask, np.ones((3, 3)))
    for number in range(1, regions + 1):
        held = histogram(labels == number)
        overlaps += held / held.sum()
    return histogram(one.mask), histogram(~one.mask), overlaps, regions
