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
from models.blending import blended
from models.composition import Field
from models.finishing import GRAIN_REACH, Outcome, judged
from models.items import ItemRequest, ItemResult
from models.levels import colour
from models.masks import Mask, inner_edge, outer_edge
from models.refinement import Calibration, pixel_map, texture
from models.samples import Exemplar
from models.sizes import Sizes, chances, sizes_of
from models.warping import warped
from models.windows import Place

MAX_SITES = 64
"""Regions that get a defect each, the largest first."""
SOFT_EDGE_PX = 2

_SEEN = 1.0  # of the threshold, that some pixel of a labelled region must reach


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
    levels = request.levels
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
        full = blended(x, patch, request.mask[ours], key)
        change = levels.kept(_alpha(own, patch.mask) * (full - x), x, request.top)
        map_ = pixel_map(change, texture(x), 1.0, calibration)
        label = _visible(patch.mask, map_)
        alpha = _alpha(own, label)
        touched = alpha[:, :, 0] > 0
        y = x + alpha * (full - x)
        colour(image)[ours][touched] = levels.from_unit(y[touched], image.dtype, request.top)
        refined[ours] |= label
        asked = int((own & patch.mask).sum())
        outcomes.append(Outcome(scores.salience(map_, patch.mask), asked, SOFT_EDGE_PX, 1.0))
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
