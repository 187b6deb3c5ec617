"""The three facts taken from a file beside its pixels: orientation, resolution, colour profile.

Nothing else is copied, so places, serial numbers and names stay behind.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np

from service.images.canonical import Pixels

_ORIENTATION_TAG = 0x0112
_MAX_DPI = 100_000_000.0
"""What PNG can express; more than any sensor has."""


def exif_orientation(exif: bytes | None) -> int:
    """Orientation 1–8 from an EXIF block; 1 if there is none or it is broken."""
    if not exif:
        return 1
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, directory)
        for entry in range(count):
            tag, _kind, _number, value = struct.unpack_from(order + "HHIH", tiff, directory + 2 + 12 * entry)
            if tag == _ORIENTATION_TAG:
                return valid_orientation(value)
    except struct.error:
        pass
    return 1


def valid_orientation(value: Any) -> int:
    """``value`` if it is an orientation, else 1 (upright)."""
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Pixels (H, W[, C]) turned and mirrored as ``orientation`` 1–8 asks; 5–8 swap the sides."""
    turned: Any = pixels.swapaxes(0, 1) if orientation >= 5 else pixels
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    contiguous: Pixels = np.ascontiguousarray(turned)
    return contiguous


def valid_dpi(dpi: Any) -> tuple[float, float] | None:
    """A pair of finite positive numbers, to a hundredth; None for anything else."""
    try:
        x, y = (float(value) for value in dpi)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    if not all(math.isfinite(value) and 0.01 <= value <= _MAX_DPI for value in (x, y)):
        return None
    return round(x, 2), round(y, 2)


def fits_profile(profile: bytes, channels: int) -> bool:
    """Whether an ICC profile is whole and belongs to grey (1, 2 channels) or to RGB (3, 4)."""
    if len(profile) < 132 or int.from_bytes(profile[:4], "big") != len(profile) or profile[36:40] != b"acsp":
        return False
    return profile[16:20] == (b"GRAY" if channels < 3 else b"RGB ")
