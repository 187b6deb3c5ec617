"""Exemplars: what the inside of a drawing begins on beside the normal image (design §2, step 3).

A type that comes with the bundled backbone has no real samples; its exemplars are sketches, drawn on the photo at
hand by what the backbone has learned from. They know nothing of the scene's light and material: to make them
belong is the denoising's part.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional

from models.masks import Mask, distance_inside
from models.rendering import sketched
from models.windows import Plot

_TRIES = 12
_FILLED = 0.25  # share of its region that is enough: requests are loose
_STANDS_OUT = 0.12  # mean change where it is drawn that is enough
_MARGIN = 8  # model pixels seen around a region
_REGIONS = 16  # that get a sketch each, the largest first
_COVERED = 0.7
_THIN = 2.5  # model pixels to its border, up to which a region has no room for a shape
_ROOM = 4  # model pixels around a thin region, where its defect is drawn to be cut out

Field = NDArray[np.float32]


def sketch(frame: Field, plot: Plot, window_px: int, defect_type: str, key: int) -> Field:
    """A defect of a rendered type sketched into each region of a plot's request.

    Args:
        frame: (height, width, 1 or 3) in unit range, the photo under the plot.
        window_px: side of the model's window; sketches are drawn no finer than it sees.
        defect_type: one of the rendered types.
        key: noise key; equal keys give equal sketches.

    Returns:
        The frame with them, of its own shape.
    """
    shrink = min(1.0, window_px / plot.side)
    shape = (round(plot.height * shrink), round(plot.width * shrink))
    photo = np.repeat(frame, 3, axis=2) if frame.shape[2] == 1 else frame
    seen = _scaled(photo, shape).clip(0, 1)
    labels, count = ndimage.label(plot.cells(*shape), structure=np.ones((3, 3)))
    boxes = ndimage.find_objects(labels)
    order = sorted(range(count), key=lambda i: -int((labels[boxes[i]] == i + 1).sum()))
    drawn = seen.copy()
    for i in order[:_REGIONS]:
        around = tuple(
            slice(max(side.start - _MARGIN, 0), min(side.stop + _MARGIN, size))
            for side, size in zip(boxes[i], shape, strict=True)
        )
        drawn[around] = _best(drawn[around], labels[around] == i + 1, defect_type, np.random.default_rng([key, i]))
    change = _scaled(drawn - seen, frame.shape[:2])
    if frame.shape[2] == 1:
        change = change.mean(axis=2, keepdims=True)
    return np.asarray(frame + change, np.float32)


def _best(photo: Field, site: Mask, defect_type: str, rng: np.random.Generator) -> Field:
    """The first of some sketches that fills enough of its region and stands out; else the best of them."""
    thin = distance_inside(site).max() <= _THIN
    room = ndimage.binary_dilation(site, iterations=_ROOM) if thin else site
    best, worth = photo, -1.0
    for _ in range(_TRIES):
        marked, coverage = sketched(photo, room, defect_type, rng, rng)
        change, covered = marked - photo, coverage > _COVERED
        filled = covered.sum() / room.sum()
        strength = np.abs(change[covered]).max(axis=1).mean() if covered.any() else 0.0
        ours = min(float(filled) / _FILLED, 1.0) * min(float(strength) / _STANDS_OUT, 1.0)
        if ours > worth:
            worth, best = ours, photo + site[..., None] * (_spread(change, covered) if thin else change)
        if worth >= 1:
            break
    return best


def _spread(change: Field, covered: Mask) -> Field:
    """A change (H, W, 3) that goes on, beyond where it is covered, as at the nearest place that is: who asks for a
    line wants all of it drawn."""
    if not covered.any():
        return change
    rows, columns = ndimage.distance_transform_edt(~covered, return_distances=False, return_indices=True)
    return np.asarray(change[rows, columns], np.float32)


def _scaled(picture: Field, shape: tuple[int, int]) -> Field:
    """(H, W, C) at another size; a view when nothing changes."""
    if picture.shape[:2] == shape:
        return picture
    planes = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None]
    scaled = functional.interpolate(planes, size=shape, mode="bilinear", antialias=True, align_corners=False)
    return np.asarray(scaled[0].numpy().transpose(1, 2, 0), np.float32)
