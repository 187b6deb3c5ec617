"""What lies under a mask, guessed from around it: smooth membranes, and texture from elsewhere in the picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.masks import Mask

Field = NDArray[np.float32]
"""(H, W, channels) in unit range."""

_SWEEPS = 12  # of Jacobi's iteration, on each level of the pyramid
_TRIES = 48  # places from which texture might be taken
_EDGE = 2  # pixels by which defects reach beyond their labels
_RING = 4  # pixels around the mask by which a place is judged


def membrane(values: Field, unknown: Mask) -> Field:
    """Values that go on smoothly over unknown pixels: nearly harmonic there, unchanged elsewhere.

    A pyramid from coarse to fine, after Burt's push-pull, with some sweeps of Jacobi's iteration on each level.

    Args:
        values: (H, W, C).
        unknown: (H, W); where all is unknown it is 0.
    """
    if not unknown.any():
        return values.copy()
    height, width = unknown.shape
    if min(height, width) <= 2 or unknown.all():
        known = ~unknown
        mean = values[known].mean(axis=0) if known.any() else np.zeros(values.shape[2], np.float32)
        return np.where(unknown[..., None], mean, values).astype(np.float32)
    padded = [(0, height % 2), (0, width % 2)]
    weight = np.pad((~unknown).astype(np.float32), padded)[..., None]
    value = np.pad(values, [*padded, (0, 0)])
    shape = (weight.shape[0] // 2, 2, weight.shape[1] // 2, 2, -1)
    total = weight.reshape(shape).sum(axis=(1, 3))
    mean = (weight * value).reshape(shape).sum(axis=(1, 3)) / np.maximum(total, 1)
    coarse = membrane(mean.astype(np.float32), total[..., 0] == 0)
    guess = np.repeat(np.repeat(coarse, 2, axis=0), 2, axis=1)[:height, :width]
    filled = np.where(unknown[..., None], guess, values)
    rows, columns = (slice(side.start, side.stop) for side in ndimage.find_objects(unknown.astype(np.int8))[0])
    top, left = max(rows.start - 1, 0), max(columns.start - 1, 0)
    place = (slice(top, rows.stop + 1), slice(left, columns.stop + 1))
    part, inside = filled[place], unknown[place][..., None]
    for _ in range(_SWEEPS):
        edged = np.pad(part, [(1, 1), (1, 1), (0, 0)], mode="edge")
        around = (edged[:-2, 1:-1] + edged[2:, 1:-1] + edged[1:-1, :-2] + edged[1:-1, 2:]) / 4
        part = np.where(inside, around, part)
    filled[place] = part
    return np.asarray(filled, np.float32)


def cloned(image: Field, patch: Field, mask: Mask) -> Field:
    """A patch put into an image so that no edge shows: Poisson's equation with the patch's own gradients.

    After Pérez et al., *Poisson Image Editing* (2003), Eq. 7: patch + the membrane of what the image differs from
    it by around the mask.

    Args:
        image, patch: (H, W, C) alike. mask: (H, W).
    """
    difference = membrane(image - patch, mask)
    return np.where(mask[..., None], patch + difference, image).astype(np.float32)


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
    worth = float(image[ring].var(axis=0).mean()) if len(cells) else 0.0  # what the mean alone would come to
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
