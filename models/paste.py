"""Pasting: real defects of a type, put into the photo as they are (``method: "paste"``).

No model draws anything here. An exemplar is warped to each region of the request and blended in after Poisson, at
the photo's own resolution: what it deviates from its own surroundings is laid over the photo's. It shows real
pixels of real defects; it knows nothing of the part it lands on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models import scores
from models.attempts import Attempts
from models.composition import Field, surrounding_grain
from models.finishing import GRAIN_REACH, Outcome, judged
from models.items import ItemRequest, ItemResult
from models.levels import Levels, colour, in_channels, saturation
from models.masks import Mask, around, inner_edge, outer_edge
from models.membrane import membrane
from models.refinement import Calibration, pixel_map
from models.samples import Exemplar
from models.sizes import Sizes, chances, sizes_of
from models.warping import Warped, warped
from models.windows import Place

MAX_SITES = 64
"""Regions that get a defect each, the largest first."""
SOFT_EDGE_PX = 2

_HALO = 5  # pixels around a defect that are blended with it, for its mask may be tight
_SMOOTH = 1.5  # deviation of the blur that parts grain from what lies beneath
_STRONGER, _WEAKER = 2.0, 0.2  # bounds of what a defect's contrast is changed by
_SEEN = 1.0  # of the threshold, that some pixel of a labelled region must reach
_GRAINS = 50  # pixels from which grain is told
_EDGE_GRAINS = (2.0, 5.0)  # grains between which fine detail becomes an edge, which is no grain


def paste(request: ItemRequest, exemplars: Sequence[Exemplar], calibration: Calibration) -> ItemResult:
    """Paste real defects into an item's photo.

    The exemplars, their places and shapes come from the noise key, so that equal requests give equal bytes.
    Severity, guidance, seed share, steps and part are the diffusion's and are not looked at.

    `Scores.presence` holds the change of pixels against what controls of ``calibration``'s backbone change on a
    surface as busy: a paste has no latents, and what a defect must be told from is the same, texture that was
    replaced by other texture. `Scores.novelty` is not judged: a paste is a copy of a real defect, and meant to be.

    Args:
        request: the item; its ``control`` must be unset, for there is nothing to paste in a control.
        exemplars: real defects of the type, at least one.
        calibration: of the type's backbone.

    Returns:
        The item. Its refined mask is the exemplars' own masks where they came to lie, without regions that nobody
        would see; pixels changed beside it lie within `SOFT_EDGE_PX`.

    Raises:
        ValueError: no exemplars, a control, an empty mask, or one of another size than its image.
    """
    if not exemplars:
        raise ValueError("there are no real defects to paste")
    if request.control:
        raise ValueError("a paste has no controls")
    if request.mask.shape != request.image.shape[:2] or not request.mask.any():
        raise ValueError(f"the mask is empty or {request.mask.shape}, the image {request.image.shape[:2]}")
    if request.references is not None:
        request = replace(request, references=replace(request.references, patterns=None))
    sizes = sizes_of(exemplars)
    attempts = Attempts(request, by_severity=False)
    while attempts.waiting:
        asked = attempts.asked
        attempts.take(_pasted(asked, _sites(asked.mask), exemplars, sizes, calibration, attempts.noise))
    return attempts.best


def _sites(mask: Mask) -> list[tuple[Place, Mask]]:
    """Connected regions of a request, the largest first: what is seen around each, and its own mask there."""
    labels, _ = ndimage.label(mask, structure=np.ones((3, 3), dtype=np.int8))
    areas = np.bincount(labels.ravel())[1:]
    boxes = ndimage.find_objects(labels)
    found = []
    for i in np.argsort(-areas, kind="stable")[:MAX_SITES]:
        rows, columns = (
            slice(max(0, side.start - 2 * GRAIN_REACH), min(size, side.stop + 2 * GRAIN_REACH))
            for side, size in zip(boxes[i], mask.shape, strict=True)
        )
        found.append(((rows, columns), np.asarray(labels[rows, columns] == i + 1)))
    return found


def _pasted(
    request: ItemRequest,
    sites: Sequence[tuple[Place, Mask]],
    exemplars: Sequence[Exemplar],
    sizes: Sizes,
    calibration: Calibration,
    attempt: int,
) -> ItemResult:
    image = request.image.copy()
    refined = np.zeros(request.mask.shape, dtype=np.bool_)
    levels = Levels.of(
        colour(request.image)[around(request.mask, GRAIN_REACH)], request.black_level, request.white_level
    )
    outcomes = []
    for place, site in sites:
        rows, columns = (np.flatnonzero(site.any(axis=axis)) for axis in (1, 0))
        name = f"{place[0].start + rows[0]},{place[1].start + columns[0]}/paste"
        key = request.noise_key(name, attempt)
        rng = np.random.default_rng(key)
        chosen = int(np.searchsorted(np.cumsum(chances(sizes, site)), rng.random(), side="right"))
        patch = warped(exemplars[min(chosen, len(exemplars) - 1)], site, rng)
        ours = _within(place, patch.place)
        own = site[patch.place]
        x = levels.to_unit(colour(request.image)[ours])
        full = _blended(x, patch, request.mask[ours], key)
        map_ = pixel_map(_alpha(own, patch.mask) * (full - x), x, 1.0, calibration)
        label = _visible(patch.mask, map_)
        alpha = _alpha(own, label)
        touched = alpha[:, :, 0] > 0
        y = x + alpha * (full - x)
        colour(image)[ours][touched] = levels.from_unit(y[touched], image.dtype, saturation(request.image))
        refined[ours] |= label
        outcomes.append(Outcome(scores.salience(map_, patch.mask), SOFT_EDGE_PX, 1.0))
    return judged(request, image, refined, outcomes, calibration, attempt)


def _within(place: Place, inner: Place) -> Place:
    rows, columns = (
        slice(outer.start + own.start, outer.start + own.stop) for outer, own in zip(place, inner, strict=True)
    )
    return rows, columns


def _alpha(site: Mask, label: Mask) -> Field:
    """(h, w, 1): soft inside the site's edge and around the label."""
    return (inner_edge(site, SOFT_EDGE_PX) * outer_edge(label, SOFT_EDGE_PX))[:, :, None]


def _visible(label: Mask, change: NDArray[np.float32]) -> Mask:
    """A label without regions in which nobody would see a change."""
    labels, count = ndimage.label(label, structure=np.ones((3, 3), dtype=np.int8))
    peaks = np.asarray(ndimage.maximum(change, labels, np.arange(1, count + 1)))
    return np.asarray(np.concatenate([[False], peaks >= _SEEN])[labels])


def _blended(x: Field, patch: Warped, requested: Mask, key: int) -> Field:
    """The whole patch in the photo, as if the site did not end: else its contrast bled out where the site cuts it.

    What the exemplar deviates from its own membrane is laid on the photo's, darkening in proportion to the light
    that is there and brightening to the room above it.

    Args:
        x: (h, w, channels) in unit range, the photo there.
        requested: (h, w), where its grain may not be taken from.
        key: noise key of the grain.
    """
    source = in_channels(patch.image, x.shape[2])
    region = np.asarray(ndimage.binary_dilation(patch.defect, iterations=_HALO))
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
