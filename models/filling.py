"""Putting pictures into pictures without an edge, and guessing what lies under a defect from around it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.masks import Mask
from models.membrane import membrane

Field = NDArray[np.float32]
"""(H, W, channels) in unit range."""

_TRIES = 48  # places from which texture might be taken
_EDGE = 2  # pixels by which defects reach beyond their labels
_RING = 4  # pixels around the mask by which a place is judged


def cloned(image: Field, patch: Field, mask: Mask) -> Field:
    """A patch put into an image so that no edge shows: Poisson's equation with the patch's own gradients.

    After Pérez et al., *Poisson Image Editing* (2003), Eq. 7: patch + the membrane of what the image differs from
    it by around the mask.

    Args:
        image, patch: (H, W, C) alike. mask: (H, W).
    """
    difference = membrane(image - patch, mask)
    return np.where(mask[..., None], patch + difference, image).astype(np.float32)


def emptied(image: Field, mask: Mask) -> Field:
    """An image without what lies in a mask: a membrane over it, which nothing but its surroundings holds.

    A VAE's cells see some pixels beyond their own, so that latents beside a mask tell what lies in it; of the
    emptied image they do not.

    Args:
        image: (H, W, C). mask: (H, W).
    """
    region = np.asarray(ndimage.binary_dilation(mask, iterations=_EDGE))
    return membrane(np.where(region[..., None], np.float32(0.5), image), region)  # grey where nothing holds it


def normalised(image: Field, mask: Mask, rng: np.random.Generator) -> Field:
    """A guess at the photo without its defect: texture of the same photo, cloned over the mask.

    The texture is taken from where, among some places drawn at random, the surroundings are most alike; where no
    place is like it, a membrane covers the defect.

    Args:
        image: (H, W, C). mask: (H, W), the defect.
    """
    if not mask.any():
        return image.copy()
    height, width = mask.shape
    mask = np.asarray(ndimage.binary_dilation(mask, iterations=_EDGE))
    near = np.asarray(ndimage.binary_dilation(mask, iterations=_RING))
    ring = near & ~mask
    cells, inside = np.argwhere(ring), np.argwhere(near)
    low, high = inside.min(axis=0), inside.max(axis=0)
    best = None
    worth = 2 * float(image[ring].var(axis=0).mean()) if len(cells) else 0.0  # as two that have nothing in common
    for _ in range(_TRIES if len(cells) else 0):
        dy = int(rng.integers(-low[0], height - high[0]))
        dx = int(rng.integers(-low[1], width - high[1]))
        there = inside + np.array([dy, dx])
        if mask[there[:, 0], there[:, 1]].any():
            continue
        theirs = image[cells[:, 0] + dy, cells[:, 1] + dx]
        difference = float(np.square(theirs - image[cells[:, 0], cells[:, 1]]).mean())
        if difference < worth:
            best, worth = (dy, dx), difference
    if best is None:
        return membrane(image, mask)
    return cloned(image, np.roll(image, (-best[0], -best[1]), axis=(0, 1)), mask)
