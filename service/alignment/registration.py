"""Registration: where the part of a reference image lies in another photo, and how sure that is.

Turned copies of the reference, small, are held against the photo at all shifts at once, by Fourier transforms of
their edges. The best few places are refined on a larger scale, by what the tiles of the reference say of theirs.
The best of them is taken if its tiles agree, and if it is alone (decision 0047).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.alignment.edges import Complexes, Floats, edges, moved, shrunk, smaller
from service.alignment.places import Mask, Place, Points
from service.alignment.tiles import Tiles, vertex
from service.images.canonical import Pixels

Method = Literal["shift", "rigid"]
Doubt = Literal["plain", "differs", "elsewhere"]
"""The reference shows too little; what both show does not agree; it fits as well at another place."""

LIMIT_SHARE = 0.004
"""Of the longer side: the largest residual that is taken."""
LEAST_LIMIT_PX = 2.0
MAX_SHIFT = 0.5
"""Of each side: how far a photo may be shifted."""
MOST_BYTES = 160_000_000
"""Memory that registering takes beside the images, whatever their size."""

_FINE_PX = 512
"""Longer side on which places are refined and judged."""
_SMALL_PX: dict[Method, int] = {"shift": 256, "rigid": 96}
"""On which they are looked for."""
_STEP = 3.0
"""Degrees between turned copies of the reference."""
_PLACES = 4
"""Refined of each photo, at most."""
_WORTH = 0.6
"""Of the best correlation: places below are not refined."""
_ALONE = 0.9
"""Of the best correlation: a second place above leaves it open which is meant."""
_ALIKE = 0.3
"""Likeness of a tile that counts as found."""
_LEAST_TILES = 4
_LEAST_IN_VIEW = 0.3
"""Of the reference's structure: below, too little of it is seen to tell."""
_QUANTILE = 0.7
"""Of the structure in view, which keeps within the residual."""
_ASIDE = 0.25
"""How much structure counts that is not near what is drawn."""
_NEAR = 1 / 8
"""Of the longer side: how far from what is drawn is near."""
_ROUNDS = 4
_STILL_PX = 0.1
_DOUBTED_PX = (8.0, 4.0, 2.0, 1.0, 1.0)
"""From step to step: tiles that are further off than this have little say."""
_ROUNDED = 100
"""Places are rounded to a hundredth, so that noise of arithmetic changes no pixel of what is carried over."""


@dataclass(frozen=True)
class Registered:
    """What came of a registration.

    Attributes:
        residual: pixels within which seven tenths of the reference's structure in view lies where the place says;
            structure near what is drawn counts fourfold. Infinite where less is found at all.
        rival: correlation of the best other place over that of this one, 0–1.
        doubt: why the place is not to be trusted; None if it is.
    """

    place: Place
    residual: float
    rival: float
    doubt: Doubt | None = None


def limit(width: int, height: int) -> float:
    """The largest residual that is taken, in pixels of an image of this size."""
    return max(LEAST_LIMIT_PX, LIMIT_SHARE * max(width, height))


class Reference:
    """A reference image, ready to be found in photos of its size.

    Args:
        pixels: (H, W) or (H, W, C), uint8 or uint16.
        drawn: (H, W), what is drawn on it. All of it counts alike if nothing is.
        method: ``shift``, or ``rigid``, which turns it, too.
        max_rotation: degrees to either side, above 0 to 180; of ``rigid``.
    """

    def __init__(self, pixels: Pixels, drawn: Mask, method: Method, max_rotation: float = 180.0) -> None:
        self._height, self._width = pixels.shape[:2]
        self._method = method
        self._angles = _angles(method, max_rotation)
        grey, self._factor = shrunk(pixels, _FINE_PX)
        self._centre: Points = np.array([self._width, self._height]) / 2 / self._factor
        self._corners: Points = np.array([(0, 0), (1, 0), (0, 1), (1, 1)]) * 2 * self._centre
        self._edges = edges(grey)
        self._weights = _weights(drawn, grey.shape, self._factor)
        self._tiles = Tiles(self._edges, self._weights)
        self._shrink = math.ceil(max(grey.shape) / _SMALL_PX[method])
        self._small = smaller(grey, self._shrink)

    def register(self, pixels: Pixels) -> Registered:
        """Find it in a photo of its size.

        Args:
            pixels: (H, W) or (H, W, C), uint8 or uint16; of whatever mode.
        """
        if len(self._tiles) < _LEAST_TILES:
            return Registered(Place(), math.inf, 1.0, "plain")
        photo, _ = shrunk(pixels, _FINE_PX)
        most = limit(self._width, self._height) / self._factor
        found: list[tuple[float, float, Place]] = []
        for place in self._places(photo):
            score, residual, refined = self._refined(photo, place)
            if all(refined.distance(other, self._corners, self._centre) > 3 * most for _, _, other in found):
                found.append((score, residual, refined))
        found.sort(key=lambda one: -one[0])
        if not found or found[0][0] <= 0:
            return Registered(Place(), math.inf, 1.0, "differs")
        score, residual, place = found[0]
        rival = max(0.0, found[1][0] / score) if len(found) > 1 else 0.0
        doubt: Doubt | None = None
        if residual > most:
            doubt = "differs"
        elif rival > _ALONE:
            doubt = "elsewhere"
        return Registered(_rounded(place.scaled(self._factor)), residual * self._factor, rival, doubt)

    @cached_property
    def _copies(self) -> _Copies:
        return _Copies(
            self._small, smaller(self._weights, self._shrink), self._centre / self._shrink, self._angles
        )

    def _places(self, photo: Floats) -> Iterator[Place]:
        """Places at which a photo looks most like the reference, best first; both on the fine scale."""
        scores = self._copies.held_against(edges(smaller(photo, self._shrink)))
        turns, rows, columns = scores.shape
        best = float(scores.max())
        near = max(2, round(0.03 * max(self._small.shape)))
        goes_round = turns * _STEP >= 360
        for _ in range(_PLACES):
            peak = tuple(int(one) for one in np.unravel_index(int(scores.argmax()), scores.shape))
            if best <= 0 or scores[peak] < _WORTH * best:
                return
            turn, row, column = peak
            off_turn, off_row, off_column = (
                _between(scores, peak, axis, goes_round=goes_round and axis == 0) for axis in range(3)
            )
            yield Place(
                (column - columns // 2 + off_column) * self._shrink,
                (row - rows // 2 + off_row) * self._shrink,
                self._angles[turn] + off_turn * _STEP,
            )
            beside = [one % turns if goes_round else one for one in range(turn - 2, turn + 3)]
            beside = [one for one in beside if 0 <= one < turns]
            scores[
                beside, max(0, row - near) : row + near + 1, max(0, column - near) : column + near + 1
            ] = -np.inf

    def _refined(self, photo: Floats, place: Place) -> tuple[float, float, Place]:
        """A place moved to where the tiles want it: correlation, residual and the place, on the fine scale."""
        for turn in range(_ROUNDS):
            grey, known = moved(photo, place.to_photo(self._centre), self._edges.shape)
            seen = edges(grey, known)
            shifts, likeness = self._tiles.found(seen)
            if turn == _ROUNDS - 1:
                break
            before, place = place, self._moved(place, shifts, likeness)
            if place.distance(before, self._corners, self._centre) < _STILL_PX:
                break
        score = _correlation(self._edges * known, seen, self._weights)
        weights = self._tiles.energy * self._tiles.within(known)
        if weights.sum() < _LEAST_IN_VIEW * self._tiles.energy.sum():
            return score, math.inf, place
        off = np.where(likeness < _ALIKE, math.inf, _seen_length(shifts, self._tiles.sees))
        order = np.argsort(off)
        share = np.cumsum(weights[order]) / weights.sum()
        return score, float(off[order[min(len(order) - 1, int(np.searchsorted(share, _QUANTILE)))]]), place

    def _moved(self, place: Place, shifts: Points, likeness: NDArray[np.float64]) -> Place:
        """The place that most tiles want: least squares, in which those far from the others have little say."""
        tiles = self._tiles
        arms = tiles.middles - self._centre
        by = np.zeros((len(tiles), 2, 3))  # what a shift to the right, one down and a turn do to each tile
        by[:, 0, 0] = by[:, 1, 1] = 1
        if self._method == "rigid":
            by[:, 0, 2], by[:, 1, 2] = -arms[:, 1], arms[:, 0]
        firm = tiles.energy * np.maximum(likeness - _ALIKE, 0) ** 2
        step = np.zeros(3)
        for doubted in _DOUBTED_PX:
            off = _seen_length(shifts - by @ step, tiles.sees)
            weights = firm / (1 + (off / doubted) ** 2) ** 2
            normal = np.einsum("n,nik,nij,njl->kl", weights, by, tiles.sees, by)
            side = np.einsum("n,nik,nij,nj->k", weights, by, tiles.sees, shifts)
            # A little of each keeps still what no tile sees.
            still = np.diag([1e-6, 1e-6, 1e-6 * float((arms**2).sum(1).max())])
            step = np.linalg.solve(normal + still * max(float(np.trace(normal[:2, :2])), 1e-9), side)
        # Tiles speak in the frame of the reference, which is turned in the photo.
        x, y = place.turn() @ step[:2]
        return Place(place.x + float(x), place.y + float(y), place.angle + math.degrees(step[2]))


class _Copies:
    """Turned copies of a small reference, as spectra, to be held against photos at all shifts at once.

    Args:
        grey, weights: (h, w).
        centre: its middle, about which it is turned.
        angles: degrees.
    """

    def __init__(self, grey: Floats, weights: Floats, centre: Points, angles: list[float]) -> None:
        height, width = self._shape = grey.shape
        side = math.ceil(math.hypot(height, width)) if len(angles) > 1 else 0
        canvas = max(side, height), max(side, width)
        self._off = (canvas[0] - height) // 2, (canvas[1] - width) // 2
        # Shifts within reach do not run into each other round the borders.
        down, across = (
            _fast(max(turned, (turned + own) // 2 + int(MAX_SHIFT * own) + 1))
            for turned, own in zip(canvas, grey.shape, strict=True)
        )
        self._spectra: Complexes = np.empty((len(angles), down, across), np.complex64)
        self._lengths = []
        for number, angle in enumerate(angles):
            a, b, c, d, e, f = Place(angle=angle).from_photo(centre)
            y, x = self._off
            back = a, b, c - a * x - b * y, d, e, f - d * x - e * y
            turned, known = moved(grey, back, canvas)
            drawn = edges(turned, known) * moved(weights, back, canvas)[0]
            self._lengths.append(math.sqrt(float((np.abs(drawn) ** 2).sum())) or 1.0)
            self._spectra[number] = np.conj(np.fft.fft2(drawn, (down, across)))

    def held_against(self, seen: Complexes) -> Floats:
        """Correlation with edges (h, w): (angles, rows, columns), no shift in the middle of rows and columns."""
        down, across = self._spectra.shape[1:]
        rows, columns = (
            np.arange(-int(MAX_SHIFT * side), int(MAX_SHIFT * side) + 1) - off
            for side, off in zip(self._shape, self._off, strict=True)
        )
        spectrum = np.fft.fft2(seen, (down, across))
        found = np.empty((len(self._spectra), len(rows), len(columns)), np.float32)
        for number, (copy, length) in enumerate(zip(self._spectra, self._lengths, strict=True)):
            surface = np.fft.ifft2(spectrum * copy).real
            found[number] = surface[rows[:, None] % down, columns % across] / length
        return found


def _angles(method: Method, max_rotation: float) -> list[float]:
    """Degrees by which the reference is turned."""
    if method == "shift":
        return [0.0]
    if max_rotation >= 180:
        return [_STEP * number for number in range(round(360 / _STEP))]
    count = math.ceil(max_rotation / _STEP)
    return [_STEP * number for number in range(-count, count + 1)]


def _weights(drawn: Mask, shape: tuple[int, int], factor: int) -> Floats:
    """How much each pixel counts of a reference (h, w), shrunk by a factor: in full near what is drawn on it."""
    if not drawn.any():
        return np.ones(shape, np.float32)
    margin = round(_NEAR * max(shape))
    rows, columns = (np.flatnonzero(drawn.any(axis=axis)) // factor for axis in (1, 0))
    found = np.full(shape, _ASIDE, np.float32)
    found[
        max(0, rows[0] - margin) : rows[-1] + margin + 1, max(0, columns[0] - margin) : columns[-1] + margin + 1
    ] = 1
    return found


def _between(scores: Floats, peak: tuple[int, ...], axis: int, *, goes_round: bool) -> float:
    """How far from the best sample its peak is along an axis, in samples."""
    line = scores[tuple(slice(None) if one == axis else at for one, at in enumerate(peak))]
    at, length = peak[axis], len(line)
    if not goes_round and not 0 < at < length - 1:
        return 0.0
    return float(vertex(*(np.array(line[(at + step) % length]) for step in (-1, 0, 1))))


def _seen_length(shifts: Points, sees: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lengths of shifts (n, 2) in pixels, as far as each tile can see its own."""
    return np.asarray(np.sqrt(np.maximum(0, np.einsum("ni,nij,nj->n", shifts, sees, shifts))))


def _correlation(one: Complexes, other: Complexes, weights: Floats) -> float:
    """Of edges, all (h, w): 1 where they are the same, about 0 where they have nothing in common."""
    energies = [float(((np.abs(values) * weights) ** 2).sum()) for values in (one, other)]
    both = float((one * np.conj(other) * weights**2).sum().real)
    return both / math.sqrt(energies[0] * energies[1]) if min(energies) > 0 else 0.0


def _rounded(place: Place) -> Place:
    angle = (place.angle + 180) % 360 - 180
    return Place(*(round(value * _ROUNDED) / _ROUNDED for value in (place.x, place.y, angle)))


def _fast(length: int) -> int:
    """The least length from here on of which Fourier transforms are quick."""
    while True:
        left = length
        for prime in (2, 3, 5):
            while left % prime == 0:
                left //= prime
        if left == 1:
            return length
        length += 1
