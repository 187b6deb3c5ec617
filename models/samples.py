"""Real samples of a defect type: the pairs it is taught by, and the exemplars that are kept of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save
from scipy import ndimage

from models.curves import Points
from models.extents import extent
from models.levels import Pixels, in_eight_bits
from models.masks import Mask
from models.streaks import streaks

MAX_EXEMPLARS = 64
"""Defects that a type keeps of its samples, evenly spread over them."""
SPECK = 0.02
"""Of the area of the largest defect of a mask: what is smaller is none."""
_MARGIN = 0.5  # of the defect's longer side, kept around it
_LEAST_MARGIN = 12  # pixels
_NEAR = 0.25  # of a defect's longer side: regions nearer to each other than twice this are one defect


class ExemplarsError(Exception):
    """Bytes that are no exemplars; the message says why."""


@dataclass(frozen=True, eq=False)
class Sample:
    """A real photo with the mask of its defect; a normal one has an empty mask.

    Attributes:
        image: (H, W) or (H, W, 2 to 4) uint8 or uint16, canonical.
        mask: (H, W) bool.
        sha256: of the file that was sent.
        group: samples of one group show one part, and are never on both sides of a hold-out.
    """

    image: Pixels
    mask: Mask
    sha256: str
    group: str = ""


@dataclass(frozen=True, eq=False)
class Exemplar:
    """One real defect, cut out with some of its surroundings, at the photo's own resolution.

    Attributes:
        image: (h, w, 1 or 3) uint8, of the range that the camera's levels span.
        mask: (h, w) bool, not empty: the defect.
        sample: which sample it is of.
    """

    image: NDArray[np.uint8]
    mask: Mask
    sample: int

    @property
    def nbytes(self) -> int:
        return self.image.nbytes + self.mask.nbytes

    @cached_property
    def extent(self) -> tuple[float, float]:
        """Length and width of the defect in pixels."""
        return extent(self.mask)

    @cached_property
    def streaks(self) -> Points | None:
        """The way (y, x) that streaks inside the defect run, if there are any."""
        return streaks(self.image, self.mask)


def exemplars_of(samples: Sequence[Sample]) -> list[Exemplar]:
    """Defects cut out of samples, as many as a type keeps."""
    return some_of([one for number, sample in enumerate(samples) for one in exemplars_in(sample, number)])


def exemplars_in(sample: Sample, number: int) -> list[Exemplar]:
    """Defects cut out of one of the samples: regions that lie close together are one defect."""
    if not sample.mask.any():
        return []
    image = in_eight_bits(sample.image)
    return [Exemplar(image[place].copy(), own, number) for place, own in defects(sample.mask)]


def some_of(found: Sequence[Exemplar]) -> list[Exemplar]:
    """As many of all defects as a type keeps, evenly spread over them."""
    step = max(1.0, len(found) / MAX_EXEMPLARS)
    return [found[int(i * step)] for i in range(min(len(found), MAX_EXEMPLARS))]


def exemplars_to_bytes(exemplars: Sequence[Exemplar]) -> bytes:
    """Exemplars as one safetensors file; equal ones give equal bytes."""
    tensors: dict[str, NDArray[np.uint8] | NDArray[np.int64]] = {}
    for i, one in enumerate(exemplars):
        tensors[f"{i:03d}.image"] = np.ascontiguousarray(one.image)
        tensors[f"{i:03d}.mask"] = np.ascontiguousarray(one.mask).astype(np.uint8)
    tensors["samples"] = np.array([one.sample for one in exemplars], dtype=np.int64)
    return save(tensors)


def exemplars_from_bytes(data: bytes) -> list[Exemplar]:
    """What `exemplars_to_bytes` wrote.

    Raises:
        ExemplarsError: it is something else.
    """
    try:
        tensors = load(data)
        count = len(tensors["samples"])
        exemplars = [
            Exemplar(
                tensors[f"{i:03d}.image"], tensors[f"{i:03d}.mask"].astype(np.bool_), int(tensors["samples"][i])
            )
            for i in range(count)
        ]
    except (SafetensorError, KeyError, TypeError) as error:
        raise ExemplarsError(f"these are no exemplars: {error}") from error
    for i, one in enumerate(exemplars):
        fits = one.image.dtype == np.uint8 and one.image.ndim == 3 and one.image.shape[2] in (1, 3)
        if not fits or one.mask.shape != one.image.shape[:2] or not one.mask.any():
            raise ExemplarsError(f"exemplar {i} is malformed: image {one.image.shape}, mask {one.mask.shape}")
    return exemplars


def defects(mask: Mask, least: float = 0.0) -> list[tuple[tuple[slice, slice], Mask]]:
    """Places of a mask's defects with their surroundings, and each one's own mask there.

    Regions that lie close together are one defect. The mask must not be empty.

    Args:
        least: share of the largest one's area, below which one is left out, as `SPECK`.
    """
    regions, count = ndimage.label(mask, structure=np.ones((3, 3)))
    longest = max(max(side.stop - side.start for side in box) for box in ndimage.find_objects(regions))
    reach = max(2, round(_NEAR * longest))
    near = ndimage.distance_transform_edt(~mask) <= reach if count > 1 else mask
    joined, _ = ndimage.label(near, structure=np.ones((3, 3)))
    joined[~mask] = 0
    found = []
    for number, box in enumerate(ndimage.find_objects(joined), start=1):
        longer = max(side.stop - side.start for side in box)
        margin = max(_LEAST_MARGIN, round(_MARGIN * longer))
        place = (
            slice(max(box[0].start - margin, 0), min(box[0].stop + margin, mask.shape[0])),
            slice(max(box[1].start - margin, 0), min(box[1].stop + margin, mask.shape[1])),
        )
        found.append((place, np.asarray(joined[place] == number)))
    areas = [int(own.sum()) for _, own in found]
    return [one for one, area in zip(found, areas, strict=True) if area >= least * max(areas)]
