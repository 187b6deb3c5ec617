"""PNG: chunks, header and pixels."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import imagecodecs

from service.images.canonical import Pixels
from service.images.errors import ImageError
from service.images.metadata import exif_orientation, valid_dpi
from service.images.source import Source

SIGNATURE = b"\x89PNG\r\n\x1a\n"
METRES_PER_INCH = 0.0254
MAX_PROFILE = 16 * 2**20
"""An ICC profile may unpack to this many bytes."""

_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGBA = 0, 2, 3, 4, 6
_CHANNELS = {_GREY: 1, _RGB: 3, _PALETTE: 3, _GREY_ALPHA: 2, _RGBA: 4}
_BIT_DEPTHS = {
    _GREY: (1, 2, 4, 8, 16),
    _RGB: (8, 16),
    _PALETTE: (1, 2, 4, 8),
    _GREY_ALPHA: (8, 16),
    _RGBA: (8, 16),
}


def chunk(kind: bytes, body: bytes | bytearray) -> bytes:
    """One chunk: length, four-letter kind, body, checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))


def chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and body of each chunk up to and including IEND.

    Raises:
        ImageError: the file ends before IEND or a checksum is wrong.
    """
    view = memoryview(data)
    position = len(SIGNATURE)
    kind = b""
    while kind != b"IEND":
        if position + 12 > len(data):
            raise ImageError("The PNG file ends too early: it was cut off on its way. Send it again.")
        (length,) = struct.unpack_from(">I", data, position)
        kind = bytes(view[position + 4 : position + 8])
        end = position + 8 + length
        if end + 4 > len(data):
            raise ImageError("The PNG file ends too early: it was cut off on its way. Send it again.")
        (checksum,) = struct.unpack_from(">I", data, end)
        if zlib.crc32(view[position + 4 : end]) != checksum:
            raise ImageError("The PNG file is damaged: a checksum is wrong. Send it again or save it anew.")
        yield kind, view[position + 8 : end]
        position = end + 4


def open_png(data: bytes) -> Source:
    """Read the header of a PNG file; the pixels are not touched.

    Every checksum is checked here, so that a cut or damaged file never reaches the decoder, whose failures leak.

    Raises:
        ImageError: damaged, cut off or animated.
    """
    walk = chunks(data)
    kind, header = next(walk)
    if kind != b"IHDR" or len(header) != 13:
        raise _damaged()
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", header)
    if depth not in _BIT_DEPTHS.get(colour, ()) or compression or filtering or interlace > 1:
        raise _damaged()

    source = Source(
        source_format="png",
        width=width,
        height=height,
        channels=_CHANNELS[colour],
        bit_depth=16 if depth == 16 else 8,
        lossy=False,
        read=lambda: _read(data),
    )
    for kind, body in walk:
        if kind == b"tRNS" and colour in (_GREY, _RGB, _PALETTE):
            source.channels += 1
        elif kind == b"acTL" and len(body) == 8 and struct.unpack_from(">I", body)[0] > 1:
            raise ImageError("The PNG is animated. Save the frame you mean as its own file and send that.")
        elif kind == b"pHYs" and len(body) == 9:
            x, y, unit = struct.unpack(">IIB", body)
            if unit == 1:
                source.dpi = valid_dpi((x * METRES_PER_INCH, y * METRES_PER_INCH))
        elif kind == b"eXIf":
            source.orientation = exif_orientation(bytes(body))
        elif kind == b"iCCP":
            source.icc_profile = _profile(bytes(body))
    if colour == _PALETTE:
        source.warnings.append(f"palette colours were expanded to {'RGB' if source.channels == 3 else 'RGBA'}")
    elif depth < 8:
        source.warnings.append(f"{depth}-bit pixels were expanded to 8-bit grey")
    return source


def _read(data: bytes) -> Pixels:
    pixels: Pixels = imagecodecs.png_decode(data)
    return pixels


def _profile(body: bytes) -> bytes:
    """The ICC profile in an iCCP chunk; empty if it cannot be unpacked."""
    _name, _, rest = body.partition(b"\0")
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(rest[1:], MAX_PROFILE)
    except zlib.error:
        return b""
    return profile if unpacker.eof else b""


def _damaged() -> ImageError:
    return ImageError("The PNG file's header is damaged. Save the image again and send that.")
