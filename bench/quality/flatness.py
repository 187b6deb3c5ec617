"""How flat a detector's loss on test images is around what it learned, as numbers: flat minima generalise better.

Weights are moved along random directions that are normalised filter by filter (Li et al., Visualizing the Loss
Landscape of Neural Nets, NeurIPS 2018, arXiv 1712.09913, §4), so that detectors whose weights differ in scale can
be compared. What is told is the mean rise of the loss, both ways along each direction: at radius r that is
½ r² dᵀHd and higher terms, whatever the gradient on images that taught nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor, nn

from models.evaluation.segmenter import Segmenter, segmentation_loss
from models.levels import colour
from models.samples import Sample

RADII = (0.1, 0.25, 0.5)
"""Of each filter's own norm."""
DIRECTIONS = 4
_SIDE = 192  # pixels of the windows that the loss is of: as the detector learns

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of test images around their defects.

    Attributes:
        maps: their fixed features (`Segmenter.seen`), which no detector changes.
        truth: (B, 192, 192) int64, 0 or one more than the number of the type.
    """

    maps: tuple[Tensor, ...]
    truth: Tensor

    @classmethod
    def of(cls, samples: Sequence[tuple[Sample, int]], device: str = "cpu") -> Windows:
        """Windows of samples, each with 0 or one more than the number of its type."""
        windows = (_window(sample, number) for sample, number in samples)
        images, truths = (torch.stack(part).to(device) for part in zip(*windows, strict=True))
        return cls(Segmenter.seen(images), truths)

    @torch.inference_mode()
    def loss(self, segmenter: Segmenter) -> float:
        """What a segmenter is trained by, on these windows."""
        logits = segmenter.decoded(self.maps, (_SIDE, _SIDE))
        return float(segmentation_loss(logits, self.truth))


@torch.no_grad()
def rises(
    model: nn.Module,
    loss: Callable[[], float],
    radii: Sequence[float] = RADII,
    directions: int = DIRECTIONS,
    seed: int = 0,
) -> Values:
    """(radii,) mean rise of the loss where the weights are moved; they are put back.

    Args:
        model: whose weights of two dimensions and more are moved; biases and norms stay (Li et al., §4).
        loss: of the model as it is.
        seed: of the directions; models of one shape get the same draws.
    """
    weights = [weight for weight in model.parameters() if weight.ndim > 1]
    known = [weight.detach().clone() for weight in weights]
    generator = torch.Generator().manual_seed(seed)
    least = loss()
    found = np.zeros((directions, len(radii)))
    try:
        for row in found:
            along = [filterwise(weight, generator) for weight in known]
            for i, radius in enumerate(radii):
                row[i] = np.mean([_moved(weights, known, along, way * radius, loss) for way in (1, -1)]) - least
    finally:
        _put(weights, known)
    return np.asarray(found.mean(axis=0))


def filterwise(weight: Tensor, generator: torch.Generator) -> Tensor:
    """A random direction of a weight's shape (filters, …), each filter as long as the weight's own."""
    drawn = torch.randn(weight.shape, generator=generator).to(weight)
    over = tuple(range(1, weight.ndim))
    own, theirs = (one.square().sum(dim=over, keepdim=True).sqrt() for one in (weight, drawn))
    return drawn * own / theirs


def flatness(
    found: Mapping[str, Values], losses: Mapping[str, Values], ours: Callable[[str], str]
) -> dict[str, Any]:
    """By arm the mean rise at each radius over its detectors, and ours less it, paired by seed, with t intervals.

    Args:
        found: (seeds, radii) rises of each arm. losses: (seeds,) where nothing was moved.
        ours: the arm of ours that an arm is compared with.
    """
    rows: dict[str, Any] = {}
    for arm, values in found.items():
        rows[arm] = {"loss": float(losses[arm].mean()), "radii": {}}
        for i, radius in enumerate(RADII):
            told: dict[str, Any] = {"value": float(values[:, i].mean()), "interval": _over_seeds(values[:, i])}
            if (other := ours(arm)) in found and other != arm:
                less = found[other][:, i] - values[:, i]
                told |= {"ours less": float(less.mean()), "its interval": _over_seeds(less)}
            rows[arm]["radii"][str(radius)] = told
    return rows


def _moved(
    weights: Sequence[Tensor],
    known: Sequence[Tensor],
    along: Sequence[Tensor],
    by: float,
    loss: Callable[[], float],
) -> float:
    _put(weights, [one + by * step for one, step in zip(known, along, strict=True)])
    return loss()


def _put(weights: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for weight, value in zip(weights, values, strict=True):
        weight.copy_(value)


def _over_seeds(values: Values) -> tuple[float, float]:
    """Student's interval of the mean of a few seeds; NaN of one alone."""
    if len(values) < 2:
        return float("nan"), float("nan")
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return float(values.mean()) - half, float(values.mean()) + half


def _window(sample: Sample, number: int) -> tuple[Tensor, Tensor]:
    """The square around the pixel nearest the defect's middle, or the image's; beyond it the border goes on."""
    image, mask = colour(sample.image), sample.mask
    middle = np.array(mask.shape) / 2
    if mask.any():
        within = np.argwhere(mask)
        middle = within[np.square(within - within.mean(axis=0)).sum(axis=1).argmin()]
    rows, columns = (
        slice(start := int(np.clip(m - _SIDE / 2, 0, max(size - _SIDE, 0))), start + _SIDE)
        for m, size in zip(middle.tolist(), mask.shape, strict=True)
    )
    unit = image[rows, columns].astype(np.float32) / np.iinfo(image.dtype).max
    height, width = unit.shape[:2]
    beyond = (0, _SIDE - height, 0, _SIDE - width)
    picture = np.atleast_3d(cv2.copyMakeBorder(unit, *beyond, cv2.BORDER_REPLICATE))
    truth = np.pad(mask[rows, columns], ((0, beyond[1]), (0, beyond[3])))
    x = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1))).expand(3, -1, -1)
    return x, torch.from_numpy(truth.astype(np.int64) * number)
