"""Which photos are copies of others: compressed anew or with a defect drawn on, but the same shot.

Two shots of one part have different noise and never lie alike to the pixel; a copy has the same fine detail at
the same place. Shots of many parts of one design in a good fixture do lie alike; what these share, the design,
a little moved and otherwise lit, is taken out, and what is left is compared: noise, and the surface of a part.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.evaluation.segmenter import Pair
from models.levels import Pixels, luminance
from models.masks import around

Vector = NDArray[np.float32]

_SMOOTH, _REACH = 1.5, 6  # of the blur that parts fine detail from the rest: its deviation, and how far it looks
_ACROSS = 128  # points along each side at which it is looked at
_SAME = 0.8
"""Correlation. Other photos of four real sets came to .48 at most (ball screws; deeppcb: .09, a board and its
template .74), JPEG at quality 85 to .85 at least, a twentieth brighter to .98: of 54 to 224 photos none was
taken for a copy, and of 112 copies each was."""
_HALO = 4  # pixels around a label within which a new defect changes detail
_LEAST = 16  # points without which nothing is told
_ALIKE = 12  # untouched photos that seem the same, from which on it is looked at what they share
_SHARE, _SHARED = 4, 5  # photos for each component that is taken for shared, and the most of these
_OWN = 0.4
"""Correlation of what is left. Of 12 to 40 circuit boards of one design, up to half a pixel off, with noise of
2 to 5 levels of 255, others came to .13 at most (.46 with noise of 1); copies that were a twentieth brighter to
.90 at least, with all levels changed by up to one to .54 (.42). JPEG leaves little of such noise: at quality 85
copies came to .08 to .58, so that beside as many boards as good as alike not all are found."""


@dataclass(eq=False)
class _Lot:
    """Photos of one size: their numbers, fine detail, and which were not drawn on."""

    numbers: list[int] = field(default_factory=list)
    details: list[Vector] = field(default_factory=list)
    untouched: list[bool] = field(default_factory=list)


class Shots:
    """Photos that others may be copies of, added one by one."""

    def __init__(self) -> None:
        self._count = 0
        self._lots: dict[tuple[int, ...], _Lot] = {}

    def add(self, image: Pixels, *, drawn_on: bool = False) -> None:
        """Remember a photo.

        Args:
            drawn_on: whether it may show the same shot as another one: of these nothing is learned about what
                different shots share.
        """
        lot = self._lots.setdefault(image.shape[:2], _Lot())
        lot.numbers.append(self._count)
        lot.details.append(_detail(image))
        lot.untouched.append(not drawn_on)
        self._count += 1

    def same(self, image: Pixels) -> list[int]:
        """Numbers, in the order of adding, of those that are the same shot, drawn on or not."""
        lot = self._lots.get(image.shape[:2])
        if lot is None:
            return []
        detail = _detail(image)
        likely = [i for i, other in enumerate(lot.details) if other @ detail >= _SAME]
        alike = [lot.details[i] for i in likely if lot.untouched[i]]
        if len(alike) >= _ALIKE:
            shared = _shared(np.stack(alike))
            own = _without(detail, shared)
            likely = [i for i in likely if _without(lot.details[i], shared) @ own >= _OWN]
        return [lot.numbers[i] for i in likely]


def repeats(pair: Pair, source: Pair) -> bool:
    """Whether a pair that is the same shot as the source shows the same where the pair's defect is, too."""
    if not pair.mask.any():
        return True
    rows, columns = around(pair.mask, _HALO + _REACH)
    near = np.asarray(ndimage.binary_dilation(pair.mask[rows, columns], iterations=_HALO))
    a, b = (_fine(luminance(one.image[rows, columns]))[near] for one in (pair, source))
    return a.size < _LEAST or bool(_unit(a) @ _unit(b) >= _SAME)


def _detail(image: Pixels) -> Vector:
    """Fine detail at points spread over an image, of unit length; only what lies around these is looked at."""
    rows, columns = (
        np.linspace(0, n - 1, min(_ACROSS, n)).round().astype(int)[:, None] + np.arange(-_REACH, _REACH + 1)
        for n in image.shape[:2]
    )
    seen = luminance(
        image[np.ix_(*(_mirrored(at, n).ravel() for at, n in zip((rows, columns), image.shape, strict=False)))]
    )
    patches = seen.reshape(*rows.shape, *columns.shape)
    kernel = np.exp(-0.5 * (np.arange(-_REACH, _REACH + 1) / _SMOOTH) ** 2)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    smooth = np.tensordot(np.tensordot(patches, kernel, (3, 0)), kernel, (1, 0))
    return _unit(np.asarray(patches[:, _REACH, :, _REACH] - smooth, np.float32).ravel())


def _mirrored(at: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Where in an image lies what is beyond its border, as `ndimage` mirrors it."""
    at = at % (2 * size)
    return np.minimum(at, 2 * size - 1 - at)


def _fine(grey: Vector) -> Vector:
    return np.asarray(grey - ndimage.gaussian_filter(grey, _SMOOTH), np.float32)


def _shared(details: Vector) -> Vector:
    """(K, P), orthonormal: what N photos (N, P) share, its design and how that is moved or lit."""
    sizes, ways = np.linalg.eigh(details @ details.T)
    most = min(_SHARED, len(details) // _SHARE)
    return np.asarray((ways[:, -most:] / np.sqrt(sizes[-most:].clip(min=1e-9))).T @ details, np.float32)


def _without(detail: Vector, shared: Vector) -> Vector:
    return _unit(np.asarray(detail - (shared @ detail) @ shared, np.float32))


def _unit(values: Vector) -> Vector:
    centred = values - values.mean()
    return np.asarray(centred / max(float(np.linalg.norm(centred)), 1e-9), np.float32)
