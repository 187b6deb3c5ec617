"""A contact sheet of scenes, to look at."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.rendering.scene import DEFECT_TYPES, SURFACES, render


def contact_sheet(
    seed: int = 0,
    size: int = 128,
    repeats: int = 1,
    surfaces: Sequence[str] = SURFACES,
    types: Sequence[str] = DEFECT_TYPES,
) -> NDArray[np.uint8]:
    """Surfaces down, no defect and each type across, `repeats` rows of each: (H, W, 3) uint8."""
    rows = []
    for surface in surfaces:
        k = SURFACES.index(surface)
        for r in range(repeats):
            row = [
                render(np.random.default_rng((seed, k, j, r)), size, kind, surface).image
                for j, kind in enumerate((None, *types))
            ]
            rows.append(np.concatenate([np.pad(image, ((1, 1), (1, 1), (0, 0))) for image in row], axis=1))
    return (np.concatenate(rows, axis=0) * 255 + 0.5).astype(np.uint8)
