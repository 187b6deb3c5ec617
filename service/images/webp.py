"""WebP: chunks, header and pixels."""

from __future__ import annotations

import struct

import imagecodecs

from service.images.canonical import Pixels
from service.images.errors import ImageError
from service.images.metadata import exif_orientation
from service.images.source import Source

_HAS_ALPHA, _ANIMATED = 0x10, 0x02


def open_webp(data: bytes) -> Source:
    """Read the header of a WebP file.

    Raises:
        ImageError: damaged, cut off or animated.
    """
    if struct.unpack_from("<I", data, 4)[0] + 8 > len(data):
        raise ImageError("The WebP file ends too early: it was cut off on its way. Send it again.")
    parts = _chunks(data)
    extended = parts.get(b"VP8X", b"")
    if (extended and extended[0] & _ANIMATED) or b"ANIM" in parts or b"ANMF" in parts:
        raise ImageError("The WebP is animated. Save the frame you mean as PNG and send that.")
    try:
        width, height, has_alpha = _size(parts)
    except (struct.error, KeyError, IndexError) as error:
        raise ImageError("The WebP file's header is damaged. Save the image as PNG and send that.") from error

    def read() -> Pixels:
        pixels: Pixels = imagecodecs.webp_decode(data, hasalpha=has_alpha)
        return pixels

    return Source(
        source_format="webp",
        width=width,
        height=height,
        channels=4 if has_alpha else 3,
        bit_depth=8,
        lossy=b"VP8 " in parts,
        read=read,
        orientation=exif_orientation(parts.get(b"EXIF")),
        icc_profile=parts.get(b"ICCP"),
    )


def _chunks(data: bytes) -> dict[bytes, bytes]:
    """The first chunk of each kind; of pixel data only the beginning."""
    found: dict[bytes, bytes] = {}
    position = 12
    while position + 8 <= len(data):
        kind = data[position : position + 4]
        (length,) = struct.unpack_from("<I", data, position + 4)
        start = position + 8
        found.setdefault(kind, data[start : start + (10 if kind in (b"VP8 ", b"VP8L") else length)])
        position = start + length + length % 2
    return found


def _size(parts: dict[bytes, bytes]) -> tuple[int, int, bool]:
    """Width, height and whether there is alpha."""
    if extended := parts.get(b"VP8X"):
        width = 1 + int.from_bytes(extended[4:7], "little")
        height = 1 + int.from_bytes(extended[7:10], "little")
        return width, height, bool(extended[0] & _HAS_ALPHA)
    if lossless := parts.get(b"VP8L"):
        (bits,) = struct.unpack_from("<I", lossless, 1)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), bool(bits >> 28 & 1)
    width, height = struct.unpack_from("<HH", parts[b"VP8 "], 6)
    return width & 0x3FFF, height & 0x3FFF, False
