"""JPEG: header and pixels."""

from __future__ import annotations

import io

import numpy as np
from PIL import JpegImagePlugin

from service.images.canonical import Pixels
from service.images.errors import ImageError
from service.images.metadata import exif_orientation, valid_dpi
from service.images.source import Source


def open_jpeg(data: bytes) -> Source:
    """Read the header of a JPEG file. Of a file with several pictures (MPO) it is the first.

    Raises:
        ImageError: CMYK, or a kind of JPEG that is not known.
    """
    try:
        image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    except Exception as error:  # Pillow raises many kinds on hostile headers
        raise ImageError(
            "The JPEG file's header is damaged or of an uncommon kind (12-bit, lossless). "
            "Save the image as PNG and send that."
        ) from error
    if image.mode not in ("L", "RGB"):
        raise ImageError(f"The JPEG is {image.mode}. Convert it to RGB (or grey) and send that.")

    def read() -> Pixels:
        return np.asarray(image)

    return Source(
        source_format="jpeg",
        width=image.width,
        height=image.height,
        channels=len(image.getbands()),
        bit_depth=8,
        lossy=True,
        read=read,
        orientation=exif_orientation(image.info.get("exif")),
        dpi=valid_dpi(image.info.get("dpi")),
        icc_profile=image.info.get("icc_profile"),
    )
