"""Tiles: small squares of a reference, looked for around where they should be in a photo."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from service.alignment.edges import Complexes, Floats
from service.alignment.places import Mask, Points

TILE = 48
"""Pixels a side."""
REACH = 14
"""Pixels to each side by which one is looked for."""
_HOP = 32
_STRUCTURED = 0.02
"""Mean squared clearness of edges in one that has something to hold on to."""

Value = TypeVar("Value", np.float32, np.complex64, np.bool_)


class Tiles:
    """The tiles of an image that have something to hold on to.

    Args:
        edges: of the image, (H, W).
        weights: (H, W), how much each pixel counts.

    Attributes:
        energy: (n,), how much of what can be found is in each.
        sees: (n, 2, 2), x before y: how firmly a shift in each direction shows; 1 in the firmest.
        middles: (n, 2).
    """

    def __init__(self, edges: Complexes, weights: Floats) -> None:
        self._weights = weights
        rows, columns = (sorted({*range(0, side - TILE, _HOP), max(0, side - TILE)}) for side in edges.shape)
        places = np.array([(row, column) for row in rows for column in columns])
        squares = _squares(edges, places)
        structured = (np.abs(squares) ** 2).mean((1, 2)) >= _STRUCTURED
        self._places, squares = places[structured], squares[structured]
        faded = squares * _squares(weights, self._places) * _FADE
        self._spectra = np.fft.fft2(faded)
        self.energy = _energy(faded)
        self.sees = _firmness(squares)
        self.middles: Points = self._places[:, ::-1] + TILE / 2

    def __len__(self) -> int:
        return len(self._places)

    def within(self, known: Mask) -> NDArray[np.float64]:
        """(n,): shares of the tiles that lie where ``known`` (H, W) is set."""
        return np.asarray(_squares(known, self._places).mean((1, 2)))

    def found(self, edges: Complexes) -> tuple[Points, NDArray[np.float64]]:
        """By how much each is off in another image (H, W), (n, 2), and how like itself it is, (n,) up to 1."""
        faded = _squares(edges, self._places) * _squares(self._weights, self._places) * _FADE
        surfaces = np.fft.ifft2(np.fft.fft2(faded) * np.conj(self._spectra)).real
        around = np.arange(-REACH, REACH + 1)
        surfaces = surfaces[:, around[:, None], around]
        each, length = np.arange(len(surfaces)), len(around)
        row, column = np.divmod(surfaces.reshape(len(surfaces), -1).argmax(1), length)
        likeness = surfaces[each, row, column] / np.sqrt(np.maximum(_energy(faded) * self.energy, 1e-12))
        near_row, near_column = (np.clip(one[:, None] + (-1, 0, 1), 0, length - 1).T for one in (row, column))
        off_x = vertex(*(surfaces[each, row, one] for one in near_column))
        off_y = vertex(*(surfaces[each, one, column] for one in near_row))
        return np.stack([around[column] + off_x, around[row] + off_y], axis=1), likeness


def vertex(
    before: NDArray[np.floating], at: NDArray[np.floating], after: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Where parabolas through three samples have their peak, at most half a sample from the middle one."""
    with np.errstate(invalid="ignore"):  # samples that count no more are at minus infinity
        bend, slope = before - 2 * at + after, before - after
    curved = np.isfinite(bend) & (bend < 0)
    return np.clip(0.5 * np.where(curved, slope, 0) / np.where(curved, bend, 1), -0.5, 0.5)


def _squares(values: NDArray[Value], places: NDArray[np.intp]) -> NDArray[Value]:
    """(n, TILE, TILE), filled up with zeros where the image ends."""
    height, width = values.shape
    short = max(0, TILE - height), max(0, TILE - width)
    padded = np.pad(values, ((0, short[0]), (0, short[1]))) if any(short) else values
    found: NDArray[Value] = np.lib.stride_tricks.sliding_window_view(padded, (TILE, TILE))[
        places[:, 0], places[:, 1]
    ]
    return found


def _energy(squares: Complexes) -> NDArray[np.float64]:
    return np.asarray((np.abs(squares) ** 2).sum((1, 2)), np.float64)


def _firmness(squares: Complexes) -> NDArray[np.float64]:
    """Structure tensors of edges (n, h, w), each over its greater eigenvalue."""
    x, y = squares.real, squares.imag
    xx, xy, yy = ((one * other).sum((1, 2), dtype=np.float64) for one, other in ((x, x), (x, y), (y, y)))
    tensors = np.stack([xx, xy, xy, yy], axis=1).reshape(-1, 2, 2)
    return np.asarray(tensors / np.linalg.eigvalsh(tensors)[:, 1:, None])


_SINE = np.sin(np.pi * (np.arange(TILE) + 0.5) / TILE)
_FADE: Floats = np.sqrt(np.outer(_SINE, _SINE)).astype(np.float32)
"""Tiles fade to their borders, so that what crosses one counts little."""
