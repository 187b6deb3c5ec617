"""Reading: from any file we accept to the canonical form."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

from flawsmith.contract.uploads import ImageInfo
from service.images.canonical import MODES, CanonicalImage, pixels_sha256
from service.images.errors import ImageError
from service.images.limits import Limits
from service.images.metadata import fits_profile, upright
from service.images.source import Source, SourceFormat

ACCEPTED = "PNG, JPEG, TIFF, BMP or WebP"

_REFUSED = (
    (0, b"GIF8", "GIF"),
    (4, b"ftyp", "HEIC, AVIF or video"),
    (0, b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (0, b"8BPS", "Photoshop (PSD)"),
    (0, b"%PDF", "PDF"),
    (0, b"PK\x03\x04", "ZIP"),
)


def sniff(data: bytes) -> SourceFormat:
    """The format by content, whatever the file is called.

    Raises:
        ImageError: not one of ours; names the format if it is a common one.
    """
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data.startswith(b"BM"):
        return "bmp"
    for offset, magic, name in _REFUSED:
        if data[offset : offset + len(magic)] == magic:
            raise ImageError(f"The file is {name}, which is not accepted. Save the image as {ACCEPTED}.")
    raise ImageError(f"The file is not an image of a kind that is accepted. Send {ACCEPTED}.")


def open_source(data: bytes, limits: Limits) -> Source:
    """Read the header alone and hold it against the limits: cheap, whatever size the header claims.

    Raises:
        ImageError: the file will not be accepted, and why.
    """
    limits.check_bytes(len(data))
    with warnings.catch_warnings(action="ignore"):
        source = _opener(sniff(data))(data)
    limits.check_size(source.width, source.height)
    return source


def decode_source(source: Source) -> CanonicalImage:
    """Decode an opened file.

    Raises:
        ImageError: the pixels are damaged or cut off.
        MemoryError: there is not enough of it.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            pixels = source.read()
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # every codec has its own kinds, all of which mean that the data are bad
        raise _unreadable() from error
    shape = (source.height, source.width) + ((source.channels,) if source.channels > 1 else ())
    if pixels.shape != shape or pixels.dtype != np.dtype(f"uint{source.bit_depth}"):
        raise _unreadable()

    dpi = source.dpi
    if source.orientation >= 5 and dpi is not None:
        dpi = dpi[1], dpi[0]
    notes = list(source.warnings)
    profile = source.icc_profile or None
    if source.icc_profile is not None and not fits_profile(source.icc_profile, source.channels):
        profile = None
        notes.append("the ICC profile is broken or belongs to another colour mode and was left out")
    pixels = upright(pixels, source.orientation)
    height, width = pixels.shape[:2]
    info = ImageInfo(
        width=width,
        height=height,
        mode=MODES[source.channels],
        bit_depth=source.bit_depth,
        source_format=source.source_format,
        lossy=source.lossy,
        has_icc_profile=profile is not None,
        dpi=dpi,
        pixels_sha256=pixels_sha256(pixels),
        warnings=notes,
    )
    return CanonicalImage(pixels, info, profile)


def decode(data: bytes, limits: Limits | None = None) -> CanonicalImage:
    """Decode a file to the canonical form, upright and without loss, within ``limits`` (the default ones if None).

    Runs third-party codecs on the caller's own memory: files from outside go through `service.images.door`.

    Raises:
        ImageError: the file cannot be used; says why and what to do.
    """
    return decode_source(open_source(data, limits or Limits()))


def read_canonical(png: bytes) -> CanonicalImage:
    """Read back a PNG that `service.images.encoding` wrote.

    ``info`` says what the file says: where the pixels first came from (``source_format``, ``lossy``, ``warnings``)
    is known only to the record kept beside it.

    Raises:
        ImageError: the file is damaged.
    """
    return decode(png, Limits(max_side=2**31, max_pixels=2**62, max_bytes=2**62))


def _opener(source_format: SourceFormat) -> Callable[[bytes], Source]:
    """The format's own module, loaded when it is needed, to keep a decoding process quick to start."""
    match source_format:
        case "png":
            from service.images.png import open_png

            return open_png
        case "jpeg":
            from service.images.jpeg import open_jpeg

            return open_jpeg
        case "tiff":
            from service.images.tiff import open_tiff

            return open_tiff
        case "bmp":
            from service.images.bmp import open_bmp

            return open_bmp
        case "webp":
            from service.images.webp import open_webp

            return open_webp


def _unreadable() -> ImageError:
    return ImageError("The image data are damaged or cut off. Send the file again or save it anew.")
