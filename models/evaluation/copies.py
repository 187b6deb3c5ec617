"""Which photos are copies of others: compressed anew or with a defect drawn on, but the same shot.

Two shots of one part have different noise and never lie alike to the pixel; a copy has the same fine detail at the
same place.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.evaluation.segmenter import Pair
from models.levels import Pixels, luminance

Vector = NDArray[np.float32]

_SMOOTH = 1.5  # deviation of the blur that parts fine detail from the rest
_ACROSS = 128  # points along each side at which it is looked at
_SAME = 0.8  # correlation; shots of one part came to .46 at most, JPEG at quality 85 to .93 at least
_HALO = 4  # pixels around a label within which a new defect changes detail
_LEAST = 16  # points without which nothing is told


def copied(photos: Sequence[Pixels], sources: Sequence[Pixels]) -> list[bool]:
    """Of each photo whether it is a copy of one of the sources, wherever these were drawn on but in most of it."""
    known: dict[tuple[int, ...], list[Vector]] = {}
    for source in sources:
        known.setdefault(source.shape[:2], []).append(_signature(source))
    stacked = {shape: np.stack(vectors) for shape, vectors in known.items()}
    return [
        photo.shape[:2] in stacked and bool((stacked[photo.shape[:2]] @ _signature(photo)).max() >= _SAME)
        for photo in photos
    ]


def repeated(pairs: Sequence[Pair], sources: Sequence[Pair]) -> list[bool]:
    """Of each pair whether it shows nothing but what one of the sources does, also where its own defect is."""
    known: dict[tuple[int, ...], list[Pair]] = {}
    for source in sources:
        known.setdefault(source.image.shape[:2], []).append(source)
    signatures = {shape: np.stack([_signature(one.image) for one in alike]) for shape, alike in known.items()}
    found = []
    for pair in pairs:
        shape = pair.image.shape[:2]
        likely: list[Pair] = []
        if shape in known:
            same = signatures[shape] @ _signature(pair.image) >= _SAME
            likely = [one for one, is_same in zip(known[shape], same, strict=True) if is_same]
        found.append(any(_same_within(pair, one) for one in likely))
    return found


def _same_within(pair: Pair, source: Pair) -> bool:
    """Whether the source shows the same where the pair's defect is."""
    near = np.asarray(ndimage.binary_dilation(pair.mask, iterations=_HALO))
    a, b = (_fine(one.image)[near] for one in (pair, source))
    return a.size < _LEAST or bool(_unit(a) @ _unit(b) >= _SAME)


def _signature(image: Pixels) -> Vector:
    """Fine detail at points spread over an image, of unit length."""
    fine = _fine(image)
    rows, columns = (np.linspace(0, n - 1, min(_ACROSS, n)).round().astype(int) for n in fine.shape)
    return _unit(fine[rows[:, None], columns].ravel())


def _fine(image: Pixels) -> Vector:
    grey = luminance(image)
    return np.asarray(grey - ndimage.gaussian_filter(grey, _SMOOTH), np.float32)


def _unit(values: Vector) -> Vector:
    centred = values - values.mean()
    return np.asarray(centred / max(float(np.linalg.norm(centred)), 1e-9), np.float32)
