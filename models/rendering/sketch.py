"""A sketch: a defect drawn on a photo of which nothing is known but its pixels.

The surface is taken for flat, of one material and lit from anywhere: the shape is right, the light may be wrong.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from models.masks import Mask
from models.rendering import defects
from models.rendering.light import draw_light
from models.rendering.noise import Field
from models.rendering.stage import Guide, Stage, Surface

_FOCUS = 0.6  # pixels of blur, as of a common lens
_COLOURLESS = 0.02  # of the range, by which the channels of a grey camera's photo may differ


def sketched(
    photo: Field,
    site: Mask | None,
    defect_type: str,
    shape: np.random.Generator,
    look: np.random.Generator,
    guides: tuple[Guide, ...] = (),
) -> tuple[Field, Field]:
    """Draw a defect on a photo.

    Args:
        photo: (H, W, 3) float32 in [0, 1].
        site: (H, W), where it may lie; None is everywhere.
        defect_type: one of the rendered types.
        shape: settles the defect's own form and place.
        look: settles the light and the gloss.
        guides: ways that it takes, one defect each, if its type is a line; none is any way.

    Returns:
        The photo with it, (H, W, 3) float32 in [0, 1], and its coverage (H, W) in [0, 1].
    """
    stage = Stage(shape, (photo.shape[0], photo.shape[1]), draw_light(look), 1.0)
    surface = Surface(photo, "part", site=site, gloss=look.uniform(0, 0.6), guides=guides)
    marked, coverage = defects.draw(defect_type, stage, surface)
    change = marked.clip(0, 1) - photo
    if np.ptp(photo, axis=2).max() < _COLOURLESS:
        change = np.repeat(change.mean(axis=2, keepdims=True), 3, axis=2)  # as a grey camera would see it
    # Only the change goes through the lens, since the photo has been through one; what the site cuts off is not
    # blurred with nothing, or narrow sites would be left with half of it.
    within = np.ones(photo.shape[:2], np.float32) if site is None else site.astype(np.float32)
    weight = np.maximum(_focused(within), 1e-3)
    image = photo + within[..., None] * _focused(change * within[..., None]) / weight[..., None]
    covered = within * _focused(coverage * within) / weight
    return np.asarray(image.clip(0, 1), np.float32), np.asarray(covered, np.float32)


def _focused(field: Field) -> Field:
    """(H, W) or (H, W, 3) through the lens."""
    return np.asarray(ndimage.gaussian_filter(field, _FOCUS, axes=(0, 1)), np.float32)
