"""The part in a photo: what stands out from a plain background."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.levels import Levels, Pixels, colour, has_alpha
from models.masks import Mask

_SEEN_PX = 256  # longer side at which the part is looked for
_RING = 0.02  # of the shorter side: the border where a background shows
_MOST_UNEVEN = 0.05  # deviation of a plain background from its plane, in unit range
_LEAST_RING = 0.45  # share of the border that shows the background; the part may leave through the rest
_DEVIATIONS = 4.0  # of the background, beyond which a pixel is no background
_LEAST_STEP = 0.06  # in unit range: no smaller difference parts the part from the background
_CLEAR = 1.5  # times that difference by which the part as a whole stands out
_LEAST_CLEAR = 2 / 3  # of the clear part's own difference: what has less may be its shadow or shine
_TINTED = 0.3  # of the part's difference: from so much of it in colour, colours tell it
_LEAST_PART, _MOST_PART = 0.03, 0.97  # share of the image that a part may have
_LEAST_PIECE = 0.002  # share of the image below which what stands out is dirt
_HOLE = 0.05  # share of the part up to which a hole in it is a highlight
_ROUNDS = 8  # of fitting the background

Unit = NDArray[np.float32]


def foreground(image: Pixels) -> Mask:
    """Where the part is, if it lies on a plain background; the whole image where there is none.

    A plain background is one colour that may drift evenly over the image, shows along much of the border and is
    quieter than the part is different. Where the image has alpha, what is transparent is background.

    Args:
        image: (H, W) or (H, W, 2 to 4) uint8 or uint16, canonical.

    Returns:
        (H, W) bool, never empty.
    """
    height, width = image.shape[:2]
    if has_alpha(image):
        opaque = image[:, :, -1] > np.iinfo(image.dtype).max // 2
        if opaque.any() and not opaque.all():
            return np.asarray(opaque)
    step = -(-max(height, width) // _SEEN_PX)
    seen = _reduced(colour(image), step)
    part = _standing_out(Levels.of(seen).to_unit(seen))
    if part is None:
        return np.ones((height, width), dtype=np.bool_)
    rows = np.minimum(np.arange(height) // step, part.shape[0] - 1)
    columns = np.minimum(np.arange(width) // step, part.shape[1] - 1)
    return np.asarray(part[rows[:, None], columns[None]])


def _reduced(image: Pixels, step: int) -> Pixels:
    """Means of squares of ``step`` pixels, of the same type; what is left over at the far sides is left out."""
    height, width = max(image.shape[0] // step, 1), max(image.shape[1] // step, 1)
    rows, columns = min(step, image.shape[0]), min(step, image.shape[1])
    squares = image[: height * rows, : width * columns].reshape(height, rows, width, columns, -1)
    return cast(Pixels, np.rint(squares.mean(axis=(1, 3))).astype(image.dtype))


def _standing_out(picture: Unit) -> Mask | None:
    """The part in a small picture (h, w, c), or None if it has no plain background."""
    ring = _ring(picture.shape[:2])
    fitted = _background(picture, ring)
    if fitted is None:
        return None
    difference, least = fitted
    distance = np.abs(difference).max(axis=2)
    part = _tidy(distance > least)
    if not _LEAST_PART <= part.mean() <= _MOST_PART or np.median(distance[part]) < _CLEAR * least:
        return None
    # Shadow and shine change brightness more than colour.
    tint = np.abs(difference - difference.mean(axis=2, keepdims=True)).max(axis=2)
    tinted = float(np.median(tint[part]) / np.median(distance[part]))
    if tinted > _TINTED:
        distance, least = tint, tinted * least
    part = _tidy(_with_an_edge(distance, least, _parting(distance[part])))
    return part if part.mean() >= _LEAST_PART else None


def _with_an_edge(distance: Unit, least: float, clear: float) -> Mask:
    """What is no background, as far as it begins at an edge: shadow and shine of a part fade into the background.

    What stands out clearly is part; the rest goes to the side from which no edge parts it, by a watershed (Falcão
    et al., *The image foresting transform*, 2004).
    """
    smooth = ndimage.gaussian_filter(distance, 1.0)
    heights = np.asarray(np.rint(smooth / max(float(smooth.max()), 1e-6) * 65535), np.uint16)
    seeds = np.where(distance > clear, 2, np.where(distance <= least, 1, 0)).astype(np.int8)
    return np.asarray(ndimage.watershed_ift(heights, seeds) == 2)


def _ring(shape: tuple[int, ...]) -> Mask:
    width = max(1, round(_RING * min(shape)))
    ring = np.ones(shape, dtype=np.bool_)
    ring[width:-width, width:-width] = False
    return ring


def _background(picture: Unit, ring: Mask) -> tuple[Unit, float] | None:
    """Difference of each pixel from the background, (h, w, c), and the least in any channel that is none; None if
    the border is not plain.

    The background is a plane of colour fitted to the border without what does not belong to it.
    """
    rows, columns = np.indices(ring.shape)
    basis = np.stack([np.ones(ring.shape), rows / ring.shape[0], columns / ring.shape[1]], axis=-1)
    points, colours = basis[ring], picture[ring].astype(np.float64)
    distance = np.abs(colours - _mode(colours)).max(axis=1)
    kept = distance <= max(np.quantile(distance, _LEAST_RING), _LEAST_STEP)
    least = _LEAST_STEP
    for _ in range(_ROUNDS):
        plane = np.linalg.lstsq(points[kept], colours[kept], rcond=None)[0]
        distance = np.abs(colours - points @ plane).max(axis=1)
        least = max(_LEAST_STEP, _DEVIATIONS * float(np.sqrt((distance[kept] ** 2).mean())))
        now_kept = distance <= least
        if (now_kept == kept).all():
            break
        kept = now_kept
    if kept.mean() < _LEAST_RING or least > _DEVIATIONS * _MOST_UNEVEN:
        return None
    return (picture - basis @ plane).astype(np.float32), least


def _mode(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    """The commonest colour (c,) of (n, c)."""
    coarse = np.floor(colours / (2 * _LEAST_STEP)).astype(np.int64)
    cells, of_cell, counts = np.unique(coarse, axis=0, return_inverse=True, return_counts=True)
    del cells
    return np.asarray(np.median(colours[of_cell.ravel() == counts.argmax()], axis=0))


def _tidy(part: Mask) -> Mask:
    """Without specks and with its highlights."""
    part = ndimage.binary_opening(np.pad(part, 1, mode="edge"))[1:-1, 1:-1]
    holes, _ = ndimage.label(~part)
    sizes = np.bincount(holes.ravel())
    at_border = np.unique(np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]]))
    small = sizes <= _HOLE * max(int(part.sum()), 1)
    small[at_border] = False
    part = part | small[holes]
    pieces, _ = ndimage.label(part)
    large = np.bincount(pieces.ravel()) >= _LEAST_PIECE * part.size
    large[0] = False
    return np.asarray(large[pieces])


def _parting(values: Unit) -> float:
    """From where values are those of the clear group, of the two that differ most (Otsu 1979), well below most of
    which it lies: where there is one group alone, nearly all are."""
    ordered = np.sort(values.astype(np.float64))
    below = np.arange(1, len(ordered)) / len(ordered)
    sums = np.cumsum(ordered)
    low = sums[:-1] / np.arange(1, len(ordered))
    high = (sums[-1] - sums[:-1]) / np.arange(len(ordered) - 1, 0, -1)
    first = int(np.argmax(below * (1 - below) * (high - low) ** 2)) + 1
    return min(float(ordered[first]), _LEAST_CLEAR * float(np.median(ordered[first:])))
