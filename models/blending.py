"""Real defects blended into a photo, for pastes and grafts: in proportion to its light, and with its grain."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from models.composition import Field, surrounding_grain
from models.levels import in_channels
from models.masks import Mask
from models.membrane import membrane
from models.warping import Warped

HALO = 5
"""Pixels around a defect that are blended with it, for its label may be tight."""
_SMOOTH = 1.5  # deviation of the blur that parts grain from what lies beneath
_STRONGER, _WEAKER = 2.0, 0.2  # bounds of what a defect's contrast is changed by
_GRAINS = 50  # pixels from which grain is told
_EDGE_GRAINS = (2.0, 5.0)  # grains between which fine detail becomes an edge, which is no grain


def blended(x: Field, patch: Warped, requested: Mask, key: int) -> Field:
    """The whole patch in the photo, as if the site did not end: else its contrast bled out where the site cuts it.

    What the exemplar deviates from its own membrane is laid on the photo's, darkening in proportion to the light
    that is there and brightening to the room above it.

    Args:
        x: (h, w, channels) in unit range, the photo there.
        requested: (h, w), where its grain may not be taken from.
        key: noise key of the grain.

    Returns:
        (h, w, channels): of use within `HALO` of the defect; there it passes into the photo.
    """
    source = in_channels(patch.image, x.shape[2])
    region = np.asarray(ndimage.binary_dilation(patch.defect, iterations=HALO))
    ground, grain = _grounds(x, region), _fine(x)
    under = _grounds(source, region)
    fine = _fine(source)
    around = ~requested & ~region
    theirs = _strength(grain, around if around.sum() >= _GRAINS else ~region)
    ours = _strength(fine, patch.seen & ~region)
    added: Field | float = 0.0
    if theirs is not None and ours is not None:
        if ours > theirs:
            source = source - fine + _weakened(fine, ours, theirs / ours)
        else:
            share = np.sqrt(1 - (ours / max(theirs, 1e-6)) ** 2)
            added = np.float32(share) * surrounding_grain(x, region, key)
    deviation = source - under
    darker = np.clip(ground / np.maximum(under, 1e-3), _WEAKER, _STRONGER)
    lighter = np.clip((1 - ground) / np.maximum(1 - under, 1e-3), _WEAKER, _STRONGER)
    full: Field = ground + np.where(deviation < 0, darker, lighter) * deviation + added
    return full.astype(np.float32)


def _grounds(picture: Field, region: Mask) -> Field:
    """What lies beneath the grain, with the membrane in the region."""
    return membrane(picture - _fine(picture), region)


def _fine(picture: Field) -> Field:
    return np.asarray(picture - ndimage.gaussian_filter(picture, sigma=(_SMOOTH, _SMOOTH, 0)), np.float32)


def _strength(fine: Field, where: Mask) -> float | None:
    """Robust deviation of grain; None where too little of it is seen."""
    if where.sum() < _GRAINS:
        return None
    return float(1.4826 * np.median(np.abs(fine[where])))


def _weakened(fine: Field, grain: float, share: float) -> Field:
    """Fine detail with its grain brought down to a share, and its edges as they are."""
    low, high = _EDGE_GRAINS
    ramp = np.clip((np.abs(fine).max(axis=2, keepdims=True) / max(grain, 1e-6) - low) / (high - low), 0, 1)
    return np.asarray(fine * (share + (1 - share) * ramp), np.float32)
