"""Grafts: real defects of a type put where one is asked for, which drawings may begin on (design §2, step 3).

A graft keeps what copying keeps, real pixels of real defects; to make it belong to its new background is the
denoising's part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.blending import HALO, blended
from models.masks import Mask
from models.samples import Exemplar
from models.sizes import chances, sizes_of
from models.warping import Warped, warped

Field = NDArray[np.float32]
"""(H, W, channels) in unit range."""

_TRIES = 3  # exemplars of likely sizes, of which the one that fits a region best is taken
_REGIONS = 16  # that get a graft each, the largest first


def grafted(
    frame: Field, requested: Mask, exemplars: Sequence[Exemplar], rng: np.random.Generator, control: bool = False
) -> tuple[Field, Mask]:
    """A frame with a real defect in each region of the request, and where in the request these lie.

    A region that gets none counts as a whole.

    Args:
        frame: (H, W, 1 or 3) in unit range.
        requested: (H, W) bool.
        exemplars: not empty.
        rng: of the choice and the shape; equal states give equal grafts.
        control: put no defect there but, in its shape, the frame's own surface, gone through all that a defect is.
    """
    labels, count = ndimage.label(requested, structure=np.ones((3, 3)))
    boxes = ndimage.find_objects(labels)
    order = sorted(range(count), key=lambda i: -int((labels[boxes[i]] == i + 1).sum()))
    drawn, lies, sizes = frame.copy(), requested.copy(), sizes_of(exemplars)
    for i in order[:_REGIONS]:
        site = np.asarray(labels == i + 1)
        likely = chances(sizes, site)
        some = rng.choice(len(exemplars), size=min(_TRIES, len(exemplars)), replace=False, p=likely)
        fitting = [warped(exemplars[int(j)], site, rng) for j in some]
        best = max(fitting, key=_worth)
        key = int(rng.integers(2**62))
        if control:
            best = replace(best, image=_resampled(frame[best.place], best.scale, key))
        drawn[best.place] = _put(drawn[best.place], best, requested[best.place], key)
        lies[site] = False
        lies[best.place] |= site[best.place] & best.defect
    return drawn, lies


def _worth(fit: Warped) -> float:
    """How much of the defect is there, at how much of its own scale."""
    return fit.kept * math.sqrt(min(fit.scale, 1 / fit.scale))


def _resampled(surface: Field, scale: float, key: int) -> Field:
    """A surface as soft as if it had come from another photo at this scale.

    It is of fewer pixels if that enlarges, and of ones that lay elsewhere in any case.
    """
    step, phase = max(scale, 1.0), np.random.default_rng(key).uniform(0, 1, size=2)
    rows, columns = (math.ceil(side / step) + 1 for side in surface.shape[:2])
    there = step * np.indices((rows, columns)) + (phase - 1)[:, None, None]
    back = (np.indices(surface.shape[:2]) - (phase - 1)[:, None, None]) / step
    planes = []
    for plane in np.moveaxis(ndimage.gaussian_filter(surface, (*[0.45 * (step - 1)] * 2, 0)), 2, 0):
        fewer = ndimage.map_coordinates(plane, there, order=3, mode="nearest")
        planes.append(ndimage.map_coordinates(fewer, back, order=3, mode="nearest"))
    return np.stack(planes, axis=2).clip(0, 1)


def _put(frame: Field, fit: Warped, requested: Mask, key: int) -> Field:
    """The whole defect, also where it leaves its site: composing cuts a drawing to the request."""
    near = ndimage.binary_dilation(fit.defect, iterations=HALO) & fit.seen
    return np.where(near[:, :, None], blended(frame, fit, requested, key), frame)
