"""Textures within Perlin noise on normal images, after DRAEM (Zavrtanik et al., arXiv 2108.07610)."""

from __future__ import annotations

import numpy as np

from models.foreground import foreground
from models.levels import Pixels, colour, in_channels
from models.masks import Mask
from models.rendering import render
from models.rendering.noise import value_noise

_THRESHOLD = 1.0  # deviations of the noise, above which there is a defect: about a sixth of the image
_CELLS = (4, 64)  # pixels of the noise's features, drawn for each axis at equal chances of each size
_LEAST = 20  # pixels of a defect
_OPACITY = (0.2, 1.0)


def perlin(image: Pixels, rng: np.random.Generator) -> tuple[Pixels, Mask]:
    """An image with a defect, and where it is.

    The texture is that of a rendered surface in place of a photo of another data set; within the mask it is
    blended with the image by a random opacity. The mask lies on the part.
    """
    shape = image.shape[:2]
    part = foreground(image)
    while True:
        low, high = np.log(_CELLS)
        cell = np.exp(rng.uniform(low, high, 2)).tolist()
        mask = (value_noise(rng, shape, (cell[0], cell[1])) > _THRESHOLD) & part
        if mask.sum() >= _LEAST:
            break
    top = np.iinfo(image.dtype).max
    unit = colour(image).astype(np.float32) / top
    texture = in_channels(render(rng, shape).normal, unit.shape[2])
    opacity = np.float32(rng.uniform(*_OPACITY))
    blended = np.where(mask[..., None], (1 - opacity) * unit + opacity * texture, unit)
    drawn = np.rint(blended * top).astype(image.dtype)
    return (drawn[..., 0] if image.ndim == 2 else drawn), np.asarray(mask)
