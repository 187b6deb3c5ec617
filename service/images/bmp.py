"""BMP: header and pixels."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import BmpImagePlugin, Image

from service.images.canonical import Pixels
from service.images.errors import ImageError
from service.images.metadata import valid_dpi
from service.images.source import Source

_CHANNELS = {"1": 1, "L": 1, "P": 3, "RGB": 3, "RGBA": 4}
_FILE_HEADER = 14
_V5_HEADER = 124
_EMBEDDED_PROFILE = 0x4D424544


def open_bmp(data: bytes) -> Source:
    """Read the header of a BMP file.

    Raises:
        ImageError: damaged, or a kind of BMP that is not known.
    """
    try:
        image = BmpImagePlugin.BmpImageFile(io.BytesIO(data))
        count = _CHANNELS[image.mode]
    except Exception as error:  # Pillow raises many kinds on hostile headers
        raise ImageError(
            "The BMP file's header is damaged or of an uncommon kind. Save the image as PNG and send that."
        ) from error
    return Source(
        source_format="bmp",
        width=image.width,
        height=image.height,
        channels=count,
        bit_depth=8,
        lossy=False,
        read=lambda: _read(image),
        dpi=valid_dpi(image.info.get("dpi")),
        icc_profile=_profile(data),
        warnings={
            "1": ["1-bit pixels were expanded to 8-bit grey"],
            "P": ["palette colours were expanded to RGB"],
        }.get(image.mode, []),
    )


def _read(image: Image.Image) -> Pixels:
    expanded = {"1": "L", "P": "RGB"}.get(image.mode)
    return np.asarray(image.convert(expanded) if expanded else image)


def _profile(data: bytes) -> bytes | None:
    """The ICC profile embedded in a version 5 header."""
    if len(data) < _FILE_HEADER + _V5_HEADER or struct.unpack_from("<I", data, _FILE_HEADER)[0] != _V5_HEADER:
        return None
    (colour_space,) = struct.unpack_from("<I", data, _FILE_HEADER + 56)
    if colour_space != _EMBEDDED_PROFILE:
        return None
    offset, size = struct.unpack_from("<II", data, _FILE_HEADER + 112)
    return data[_FILE_HEADER + offset : _FILE_HEADER + offset + size]
