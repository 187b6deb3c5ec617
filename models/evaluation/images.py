"""What a detector said about whole test images: all that is needed to tell good parts from defective ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageOutcomes:
    """What a detector said about N test images, each as a whole.

    Attributes:
        image: (N,) scores, higher if an image is more likely defective.
        types: N true types; None for a normal image.
        areas: (N,) sizes of their defects: 0 for a normal image, NaN where it is not known.
        groups: N names; images of one part or board have the same, and are drawn together.
    """

    image: Array
    types: tuple[str | None, ...]
    areas: Array
    groups: tuple[str, ...]

    @property
    def defective(self) -> NDArray[np.bool_]:
        """(N,)."""
        return np.array([one is not None for one in self.types], np.bool_)
