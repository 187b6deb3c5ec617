"""Real defects warped to where they are wanted: an exemplar's pixels, turned, bent and scaled to fit a site.

A site that is drawn out gets the exemplar along its centre lines, repeated as a mirror repeats where it is too
short; any other gets it as a whole, turned along the site's main axis where both have one. Pixels keep their scale
wherever that fits, for what makes an exemplar real is its detail.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from models.centrelines import centre_lines
from models.curves import Curve, Points
from models.extents import coarseness, extent, main_way, shrunk
from models.masks import Mask, around, distance_inside
from models.samples import Exemplar
from models.windows import Place

Field = NDArray[np.float32]
"""(h, w, channels) in unit range."""

REACH = 16
"""Pixels around a warped defect that a patch shows of the exemplar's surroundings."""

_DRAWN_OUT = 12.0  # area over squared half width; 4 is a square, 12 a bar three times as long as wide
_PINHOLE = 0.05  # of a shape's area
_BEADS = 1.5  # lengths of a roundish exemplar, its gaps included, from which a drawn-out site gets several
_GAP = 0.4  # of a roundish exemplar's length, on either side of it in such a row
_CELLS = 12000  # of a region, above which its centre lines are looked for in a smaller picture
_FILLED = 0.25  # share of a drawn-out site's width that is enough
_LONG_ENOUGH = 0.5  # of any other site's length
_LARGER = (2.0**0.5, 2.0)
_LEAST_LINE = 0.5  # scale of lines: rather cut than thinned out
_LEAST_BEAD = 0.25  # the same of roundish exemplars in a row
_SMALLER = tuple(2.0 ** (-i / 2) for i in range(7))
_COARSE = 96  # cells of the longer side in which a place is looked for
_FITS = 0.9  # share of an exemplar inside the site that is enough
_LINE_FITS = 0.5  # the same for lines, of which a piece is as good as the whole
_AS_GOOD = 0.02  # of that share, below the best place
_ELONGATED = 2.0  # length over width from which a shape has a main axis
_TILT = np.radians(8)
_WAVE, _WAVING = 40.0, 0.25  # pixels from knot to knot of a line's waves, and their height in half widths
_ELASTIC = 0.012  # of the patch's longer side


@dataclass(frozen=True, eq=False)
class Warped:
    """An exemplar, warped into a place of a site's array.

    Attributes:
        image: (h, w, 1 or 3) float32 in unit range, the exemplar's channels.
        mask: (h, w), not empty: the defect, as far as it lies inside the site.
        defect: (h, w): the defect wherever it lies.
        seen: (h, w): where the image shows the exemplar; elsewhere its nearest pixels are repeated.
        place: rows and columns of the site's array that the patch is for.
        coverage: share of the site that the defect covers.
        kept: share of the warped defect that lies inside the site.
        scale: pixels of the site per pixel of the exemplar.
    """

    image: Field
    mask: Mask
    defect: Mask
    seen: Mask
    place: Place
    coverage: float
    kept: float
    scale: float


def warped(exemplar: Exemplar, site: Mask, rng: np.random.Generator) -> Warped:
    """Fit an exemplar to a site.

    Args:
        exemplar: the real defect.
        site: (H, W), not empty: one region, wherever in its array.
        rng: of the place, the turn and the shape; equal states give equal patches.

    Raises:
        ValueError: the site is empty.
    """
    if not site.any():
        raise ValueError("there is no site to warp an exemplar to")
    place = around(site, REACH)
    own = site[place]
    lines = _lines(own) if exemplar.streaks is None else []
    if lines:
        row, half = _row(exemplar)
        bead = not _is_drawn_out(exemplar.mask)
        scale = _scale_across(half, _room(own, lines), _LEAST_BEAD if bead else _LEAST_LINE)
        needed = _BEADS * scale * row.length if bead else 0.0
        if sum(line.length for line in lines) > needed:
            return _along(exemplar, own, place, lines, row, half, scale, rng)
    return _whole(exemplar, own, place, rng)


# Along the lines of a site that is drawn out.


def _along(
    exemplar: Exemplar,
    site: Mask,
    place: Place,
    lines: list[Curve],
    row: Curve,
    half: float,
    scale: float,
    rng: np.random.Generator,
) -> Warped:
    """Lay the line ``row`` of an exemplar along each line of the site."""
    drawn = np.ones(site.shape, np.bool_)
    drawn[_cells(lines, site.shape)] = False
    near = ndimage.distance_transform_edt(drawn) <= scale * max(exemplar.mask.shape) + REACH
    near &= ndimage.distance_transform_edt(~site) <= REACH
    shown = np.argwhere(near)
    owner = np.zeros(len(shown), dtype=np.int64)
    nearest = np.full(len(shown), np.inf)
    found = [line.coordinates(site.shape, shown) for line in lines]
    for number, (line, (along, aside)) in enumerate(zip(lines, found, strict=True)):
        beyond = np.maximum(np.maximum(-along, along - line.length), 0)
        distance = np.hypot(aside, beyond)
        owner[distance < nearest] = number
        nearest = np.minimum(nearest, distance)
    source = np.empty(shown.shape)
    side = rng.choice((-1.0, 1.0))
    for number, (along, aside) in enumerate(found):
        ours = owner == number
        if not ours.any():
            continue
        start = rng.uniform(0, 2 * row.length)
        forwards = rng.choice((-1.0, 1.0))
        wanted = lines[number].length / scale
        if wanted < row.length:
            start = rng.uniform(0, row.length - wanted) if forwards > 0 else rng.uniform(wanted, row.length)
        s = start + forwards * along[ours] / scale
        d = side * aside[ours] / scale + half * _waves(along[ours], rng)
        source[ours] = row.at(row.length - np.abs(np.mod(s, 2 * row.length) - row.length), d)
    return _patched(exemplar, site, place, shown, source, scale)


def _row(exemplar: Exemplar) -> tuple[Curve, float]:
    """The line through an exemplar that is laid along a site's, and half its width about it."""
    lines = _lines(exemplar.mask)
    if lines:
        return lines[0], _room(exemplar.mask, lines[:1])
    length, width = exemplar.extent
    way = main_way(exemplar.mask)[0]
    middle = np.argwhere(exemplar.mask).mean(axis=0)
    reach = max((0.5 + _GAP) * length, 1.0)
    return Curve.through(np.stack([middle - reach * way, middle + reach * way])), max(width / 2, 1.0)


def _room(region: Mask, lines: list[Curve]) -> float:
    """Half a region's width along its lines, in pixels."""
    inside = distance_inside(np.pad(region, 1))[1:-1, 1:-1][_cells(lines, region.shape)]
    return float(np.median(inside[inside > 0])) if (inside > 0).any() else 1.0


def _scale_across(half: float, room: float, least: float) -> float:
    if half > room:
        return max(least, room / half)
    return float(np.clip(_FILLED * room / half, 1.0, _LARGER[-1]))


def _waves(along: Points, rng: np.random.Generator) -> Points:
    """How far points of a line leave its way, in half widths."""
    knots = np.arange(float(along.min()), float(along.max()) + 2 * _WAVE, _WAVE)
    return np.asarray(np.interp(along, knots, rng.normal(0, _WAVING, size=len(knots))))


def _lines(region: Mask) -> list[Curve]:
    """The centre lines of a region that is drawn out; none of any other."""
    if not _is_drawn_out(region):
        return []
    factor = max(1, int(np.ceil(np.sqrt(region.sum() / _CELLS))))
    small = shrunk(region, factor)
    labels, count = ndimage.label(small, structure=np.ones((3, 3)))
    largest = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:])) if count > 1 else small
    return [
        Curve.through((guide.points + 0.5) * factor - 0.5)
        for guide in centre_lines(np.asarray(largest))
        if len(guide.points) > 1 and guide.length > 0
    ]


def _cells(lines: list[Curve], shape: tuple[int, ...]) -> tuple[NDArray[np.int64], ...]:
    points = np.rint(np.concatenate([line.points for line in lines])).astype(np.int64)
    inside = ((points >= 0) & (points < np.array(shape))).all(axis=1)
    return tuple(points[inside].T)


# As a whole.


def _whole(exemplar: Exemplar, site: Mask, place: Place, rng: np.random.Generator) -> Warped:
    turn = _turn(exemplar, site, rng)
    line = _is_drawn_out(exemplar.mask)
    factor = max(1.0, max(_box_sides(site)) / _COARSE)
    coarse = _Coarse.of(site, factor)
    scale, worth = 1.0, coarse.places(exemplar.mask, turn)
    for smaller in _SMALLER:
        scale, worth = smaller, coarse.places(exemplar.mask, turn / smaller)
        if worth.max() >= (_LINE_FITS if line else _FITS) or (line and smaller <= _LEAST_LINE):
            break
    enough = _LONG_ENOUGH * max(extent(site)) / max(exemplar.extent)
    for larger in _LARGER if scale == 1 else ():
        roomy = coarse.places(exemplar.mask, turn / larger)
        if scale >= enough or roomy.max() < _FITS:
            break
        scale, worth = larger, roomy
    best = float(worth.max())
    if best > _AS_GOOD:
        candidates = np.argwhere(worth >= best - min(_AS_GOOD, best / 2))
        middle = (candidates[rng.integers(len(candidates))] + 0.5) * factor - 0.5
    else:  # a line so thin that no place of its cells is better than another
        candidates = np.argwhere(site)
        middle = candidates[rng.integers(len(candidates))].astype(np.float64)
    return _placed(exemplar, site, place, turn / scale, middle, float(scale), rng)


def _turn(exemplar: Exemplar, site: Mask, rng: np.random.Generator) -> Points:
    """From offsets in the site to offsets in the exemplar, (2, 2): turned and mirrored, at equal scale.

    Along the site's main axis if both have one; else nearly upright, as light and grain fall alike on most parts.
    With streaks only mirrored, along or across them.
    """
    ours, elongation = main_way(exemplar.mask)
    theirs, site_elongation = main_way(site)
    angle = rng.normal(0, _TILT)
    if elongation > _ELONGATED and site_elongation > _ELONGATED:
        angle = np.arctan2(*ours[::-1]) - np.arctan2(*theirs[::-1]) + angle / 4
    mirror, upside = rng.choice((-1.0, 1.0), size=2)
    if exemplar.streaks is not None:
        ours, angle = exemplar.streaks, 0.0
    across = np.array([-ours[1], ours[0]])
    flip = mirror * np.outer(ours, ours) + upside * np.outer(across, across)
    if exemplar.streaks is None and elongation <= _ELONGATED:
        flip = np.diag([1.0, mirror])
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray(flip @ rotation)


@dataclass(frozen=True, eq=False)
class _Coarse:
    """A site in cells of ``factor`` pixels, in whole numbers, so that sums are the same on every machine."""

    cells: NDArray[np.float64]
    factor: float

    @classmethod
    def of(cls, site: Mask, factor: float) -> _Coarse:
        shape = tuple(max(1, round(side / factor)) for side in site.shape)
        blurred = ndimage.gaussian_filter(site.astype(np.float32), 0.4 * (factor - 1))
        rows, columns = (
            np.minimum(((np.arange(n) + 0.5) * factor).astype(np.int64), side - 1)
            for n, side in zip(shape, site.shape, strict=True)
        )
        return cls(np.rint(15 * blurred[rows][:, columns]).astype(np.float64), factor)

    def places(self, defect: Mask, matrix: Points) -> NDArray[np.float64]:
        """Of each cell: the share of a defect inside the site, if its middle comes to lie there."""
        step = matrix * self.factor
        rows, columns = (np.flatnonzero(defect.any(axis=axis)) for axis in (1, 0))
        middle = np.array([(rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2])
        half = np.array([(rows[-1] - rows[0]) / 2 + 1, (columns[-1] - columns[0]) / 2 + 1])
        side = 2 * np.ceil(np.abs(np.linalg.inv(step)) @ half).astype(int) + 1
        blur = 0.4 * max(0.0, float(np.sqrt(abs(np.linalg.det(step)))) - 1)
        soft = ndimage.gaussian_filter(defect.astype(np.float32), blur, mode="constant")
        kernel = ndimage.affine_transform(soft, step, middle - step @ (side // 2), tuple(side), order=1)
        kernel = np.rint(255 * kernel).astype(np.float64)
        if not kernel.any():
            kernel[tuple(side // 2)] = 1
        overlap = signal.fftconvolve(
            np.pad(self.cells, [(n // 2,) * 2 for n in side]), kernel[::-1, ::-1], "valid"
        )
        return np.asarray(np.rint(overlap) / (15 * kernel.sum()))


def _placed(
    exemplar: Exemplar,
    site: Mask,
    place: Place,
    matrix: Points,
    middle: Points,
    scale: float,
    rng: np.random.Generator,
) -> Warped:
    """The exemplar's middle at ``middle`` of the site, bent a little."""
    rows, columns = (np.flatnonzero(exemplar.mask.any(axis=axis)) for axis in (1, 0))
    centre = np.array([(rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2])
    half = np.array([(rows[-1] - rows[0]) / 2 + 1, (columns[-1] - columns[0]) / 2 + 1])
    reach = np.abs(np.linalg.inv(matrix)) @ half + REACH
    low = np.clip(np.floor(middle - reach), 0, None).astype(int)
    high = np.minimum(np.ceil(middle + reach).astype(int) + 1, site.shape)
    grid = low + np.argwhere(np.ones(high - low, np.bool_))
    offsets = (grid - middle) @ matrix.T
    bend = _elastic(offsets, half, rng)
    if exemplar.streaks is not None:
        bend = bend @ np.outer(exemplar.streaks, exemplar.streaks)
    source = centre + offsets + bend
    return _patched(exemplar, site, place, grid, source, scale)


def _elastic(offsets: Points, half: Points, rng: np.random.Generator) -> Points:
    """A smooth displacement (n, 2) of points of the exemplar."""
    knots = rng.normal(0, _ELASTIC * 2 * float(half.max()), size=(2, 5, 5))
    at = np.clip(offsets / (2 * half.max()) + 0.5, 0, 1) * 4
    bends = [ndimage.map_coordinates(field, at.T, order=3, mode="nearest") for field in knots]
    return np.asarray(np.transpose(bends))


# Both ways.


def _patched(
    exemplar: Exemplar, site: Mask, place: Place, cells: NDArray[np.int64], source: Points, scale: float
) -> Warped:
    """The patch whose cells (n, 2) of the site's array show the exemplar at points ``source`` (n, 2)."""
    blur = 0.45 * max(0.0, 1 / scale - 1)
    soft = ndimage.gaussian_filter(exemplar.mask.astype(np.float32), blur)
    low, high = cells.min(axis=0), cells.max(axis=0) + 1
    shape = tuple(high - low)
    index = tuple((cells - low).T)
    values = ndimage.map_coordinates(soft, source.T, order=1, mode="constant")
    strength = np.zeros(shape, np.float32)
    strength[index] = values
    inside = site[low[0] : high[0], low[1] : high[1]]
    threshold = min(0.5, 0.5 * float(strength[inside].max()))
    defect = strength >= max(threshold, 1e-6)
    mask = defect & inside
    if not mask.any():
        mask = inside & (strength >= strength[inside].max())
    image = np.zeros((*shape, exemplar.image.shape[2]), np.float32)
    given = np.zeros(shape, np.bool_)
    given[index] = True
    for channel in range(image.shape[2]):
        plane = ndimage.gaussian_filter(exemplar.image[:, :, channel].astype(np.float32) / 255, blur)
        image[*index, channel] = ndimage.map_coordinates(plane, source.T, order=3, mode="nearest")
    if not given.all():
        nearest = ndimage.distance_transform_edt(~given, return_distances=False, return_indices=True)
        image = image[tuple(nearest)]
    seen = np.zeros(shape, np.bool_)
    seen[index] = ((source >= -0.5) & (source <= np.array(exemplar.mask.shape) - 0.5)).all(axis=1)
    rows, columns = (
        slice(int(side.start + a), int(side.start + b)) for side, a, b in zip(place, low, high, strict=True)
    )
    return Warped(
        image=image.clip(0, 1),
        mask=mask,
        defect=defect | mask,
        seen=seen | mask,
        place=(rows, columns),
        coverage=float(mask.sum() / site.sum()),
        kept=float(mask.sum() / max(int(defect.sum()), int(mask.sum()))),
        scale=scale,
    )


# Shapes.


def _is_drawn_out(mask: Mask) -> bool:
    """Whether a shape is long for its width, be it straight, bent or branched; pinholes do not count."""
    padded = np.pad(shrunk(mask, coarseness(mask)), 1)
    holes, count = ndimage.label(~padded)
    if count > 1:
        padded = padded | (np.bincount(holes.ravel()) < _PINHOLE * padded.sum())[holes]
    return bool(padded.sum() >= _DRAWN_OUT * float(distance_inside(padded).max()) ** 2)


def _box_sides(mask: Mask) -> tuple[int, int]:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
