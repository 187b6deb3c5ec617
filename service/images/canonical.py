"""The canonical form: an upload decoded once, upright, without loss."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flawsmith.contract.uploads import ImageInfo, PixelMode

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
"""(H, W) for grey, otherwise (H, W, C): grey+alpha, RGB, RGBA for C = 2, 3, 4."""

MODES: dict[int, PixelMode] = {1: "grey", 2: "grey_alpha", 3: "rgb", 4: "rgba"}
"""Mode by number of channels."""


@dataclass(frozen=True, eq=False)
class CanonicalImage:
    """Pixels with what is known about them.

    ``pixels`` are (H, W) or (H, W, C), uint8 or uint16, over the full range of the type, C-contiguous; colours are
    not multiplied by alpha.
    """

    pixels: Pixels
    info: ImageInfo
    icc_profile: bytes | None = None


def channels(pixels: Pixels) -> int:
    """Number of channels, alpha included: 1 to 4."""
    return 1 if pixels.ndim == 2 else int(pixels.shape[2])


def pixels_sha256(pixels: Pixels) -> str:
    """Hex digest of the pixels alone, whatever file they are kept in.

    It is the SHA-256 of an ASCII header line ``{height}x{width}x{channels} {uint8|uint16}\\n`` followed by the
    samples: rows from top to bottom, pixels from left to right, channels in order, 16-bit samples little-endian.
    With numpy::

        header = f"{h}x{w}x{c} {pixels.dtype.name}\\n".encode()
        hashlib.sha256(header + pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()).hexdigest()
    """
    height, width = pixels.shape[:2]
    digest = hashlib.sha256(f"{height}x{width}x{channels(pixels)} {pixels.dtype.name}\n".encode())
    little_endian = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
    digest.update(little_endian.data)
    return digest.hexdigest()
