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

from models.centrelines import centre_lines
from models.masks import Mask, distance_inside
from models.rendering import Guide, sketched
from models.windows import Plot

_TRIES = 12
_FILLED = 0.25  # share of its region that is enough: requests are loose
_FILLED_BY_LINES = 0.12  # the same of lines along it
_STANDS_OUT = 0.12  # mean change where it is drawn that is enough
_GAPS = 0.2  # share of a thin region that a sketch may leave as it was
_COVERED = 0.7  # coverage that counts as drawn
_TOUCHED = 0.1  # coverage that counts as part of the defect
_ENOUGH = 0.9  # of all that a sketch may be worth
_MARGIN = 8  # model pixels seen around a region
_REGIONS = 16  # that get a sketch each, the largest first

_THIN = 2.5  # model pixels to the border, of regions too thin for any other shape than their own
_WAYS = {"scratch": 1.5, "crack": _THIN}  # types that are lines: above so many they run along the region's middle
_ELONGATED = 7.0  # area over squared distance to the border; 4 is a square, 8 a bar twice as long as wide
_BROAD = 2  # model pixels beyond a thin region that its sketch covers too
_ROOM = 4  # model pixels around a line, where what is cut out to it is drawn

Field = NDArray[np.float32]


def sketch(frame: Field, plot: Plot, window_px: int, defect_type: str, key: int, look: int) -> tuple[Field, Mask]:
    """A defect of a rendered type sketched into each region of a plot's request, and where in it these lie.

    A region that gets none counts as a whole.

    Args:
        frame: (height, width, 1 or 3) in unit range, the photo under the plot.
        window_px: side of the model's window; sketches are drawn no finer than it sees.
        defect_type: one of the rendered types.
        key: noise key of the shapes.
        look: noise key of the light and the gloss. Equal keys give equal sketches.

    Returns:
        The frame with them, of its own shape, and (height, width) bool.
    """
    shrink = min(1.0, window_px / plot.side)
    shape = (round(plot.height * shrink), round(plot.width * shrink))
    photo = np.repeat(frame, 3, axis=2) if frame.shape[2] == 1 else frame
    seen = _scaled(photo, shape).clip(0, 1)
    labels, count = ndimage.label(plot.cells(*shape), structure=np.ones((3, 3)))
    boxes = ndimage.find_objects(labels)
    order = sorted(range(count), key=lambda i: -int((labels[boxes[i]] == i + 1).sum()))
    drawn, lies = seen.copy(), labels > 0
    for i in order[:_REGIONS]:
        around = tuple(
            slice(max(side.start - _MARGIN, 0), min(side.stop + _MARGIN, size))
            for side, size in zip(boxes[i], shape, strict=True)
        )
        site, shapes = labels[around] == i + 1, np.random.default_rng([key, i])
        drawn[around], defect = _best(drawn[around], site, defect_type, shapes, look)
        if defect.any():
            lies[around] &= defect | ~site
    change = _scaled(drawn - seen, frame.shape[:2])
    if frame.shape[2] == 1:
        change = change.mean(axis=2, keepdims=True)
    at_size = _scaled(lies[..., None].astype(np.float32), frame.shape[:2])[..., 0] > 0
    return np.asarray(frame + change, np.float32), at_size


def _best(photo: Field, site: Mask, defect_type: str, shape: np.random.Generator, look: int) -> tuple[Field, Mask]:
    """The first of some sketches that fills enough of its region, stands out and is not cut off; else the best.

    Returns:
        The photo with it, and where it lies.
    """
    guides = _guides(site, defect_type)
    line = None if guides else _line(site)
    room = site if line is None else ndimage.binary_dilation(line, iterations=_ROOM)
    enough = _FILLED_BY_LINES if guides else _FILLED
    border = _border(room)
    best, lies, worth = photo, site, -1.0
    for _ in range(_TRIES):
        marked, coverage = sketched(photo, room, defect_type, shape, np.random.default_rng(look), guides)
        change, covered = marked - photo, coverage > _COVERED
        filled = covered.sum() / room.sum()
        if line is None:
            strength = np.abs(change[covered]).max(axis=1).mean() if covered.any() else 0.0
        else:
            change = line[..., None] * _spread(change, covered)
            strength = float(np.quantile(np.abs(change[line]).max(axis=1), _GAPS))
        cut = (border & covered).sum() / max(_border(covered).sum(), 1) if line is None and not guides else 0.0
        ours = min(filled / enough, 1.0) * min(strength / _STANDS_OUT, 1.0) * (1 - cut / 2)
        if ours > worth:
            best, worth = photo + change, ours
            lies = np.asarray(coverage > _TOUCHED) if line is None else line
        if worth >= _ENOUGH:
            break
    return best, lies


def _border(mask: Mask) -> Mask:
    """Pixels of a mask beside one that is not of it; the picture's own end is no border."""
    return np.asarray(mask & ~ndimage.binary_erosion(mask, border_value=1))


def _guides(site: Mask, defect_type: str) -> tuple[Guide, ...]:
    """The ways of a defect that is a line through a region that is drawn out or branched; none in any other."""
    widest = float(distance_inside(site).max())
    if widest <= _WAYS.get(defect_type, np.inf) or site.sum() < _ELONGATED * widest**2:
        return ()
    return tuple(centre_lines(site))


def _line(site: Mask) -> Mask | None:
    """A region too thin for any shape, as broad as the latents resolve; None of others.

    Else the change would be smeared over a cell and lost; composing cuts the drawing to the request again.
    """
    if distance_inside(site).max() > _THIN:
        return None
    return np.asarray(ndimage.binary_dilation(site, iterations=_BROAD))


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
