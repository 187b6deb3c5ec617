"""TIFF: tags and pixels."""

from __future__ import annotations

import io
import logging
import math
from operator import index
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from service.images.canonical import Pixels
from service.images.errors import ImageError
from service.images.metadata import valid_dpi, valid_orientation
from service.images.source import Source

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it finds wrong becomes an ImageError

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _YCBCR: 3}
"""Samples of colour by photometric interpretation."""
_JPEG = 7
_COMPRESSIONS = {1, 2, 3, 4, 5, _JPEG, 8, 32773, 32946, 34925, 50000}
"""None, CCITT, LZW, JPEG, deflate, PackBits, LZMA, Zstandard."""
_ASSOCIATED_ALPHA = 1
"""Kind of extra sample."""
_REDUCED = 1
"""Bit of the subfile type: a smaller copy of another page."""
_MAX_PREVIEWS = 32
"""More than halving can make of the largest image."""
_BITS, _SAMPLE_FORMAT, _ORIENTATION = 258, 339, 274
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 282, 283, 296
_PROFILE, _DNG_VERSION = 34675, 50706
"""Tags."""
_PIXELS_PER_INCH = {2: 1.0, 3: 2.54}
"""Factor by resolution unit: inch, centimetre."""


def open_tiff(data: bytes) -> Source:
    """Read the tags of a TIFF file; the pixels are not touched.

    Raises:
        ImageError: damaged, cut off, several pages, camera raw, or a kind of pixel that is not kept.
    """
    try:
        return _open(data)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # tifffile raises many kinds on hostile tags
        raise ImageError("The TIFF file's structure is damaged. Save the image again and send that.") from error


def _open(data: bytes) -> Source:
    file = tifffile.TiffFile(io.BytesIO(data))
    page = file.pages[0]
    warnings = _check_pages(file)
    depth = _check_samples(page)
    _check_segments(page, len(data))

    profile = page.tags.valueof(_PROFILE)
    colours = _COLOURS[page.photometric]
    alpha = page.samplesperpixel - colours
    if page.photometric == _PALETTE:
        warnings.append("palette colours were expanded to RGB")
        colours = 3
    elif depth < 8:
        warnings.append(f"{depth}-bit pixels were expanded to 8-bit grey")
    elif 8 < depth < 16:
        warnings.append(f"{depth}-bit values are kept as they are in 16 bits")
    if alpha and _is_associated(page):
        warnings.append("colours were stored multiplied by alpha and have been divided by it")
    return Source(
        source_format="tiff",
        width=index(page.imagewidth),  # a tag of the wrong type gives no number
        height=index(page.imagelength),
        channels=colours + alpha,
        bit_depth=8 if depth <= 8 else 16,
        lossy=page.compression == _JPEG,
        read=lambda: _read(page, depth),
        orientation=valid_orientation(page.tags.valueof(_ORIENTATION)),
        dpi=_dpi(page),
        icc_profile=profile if isinstance(profile, bytes) else None,
        warnings=warnings,
    )


def _check_pages(file: Any) -> list[str]:
    """Refuse what is not one picture; warn of previews that are left out."""
    first = file.pages[0]
    if first.subfiletype & _REDUCED or _DNG_VERSION in first.tags:
        raise ImageError("The TIFF is a camera raw file. Develop it and send the result as PNG or as 16-bit TIFF.")
    several = ImageError("The TIFF holds several pages. Send one: save the page you mean as its own file.")
    if first.imagedepth > 1 or (file.imagej_metadata or {}).get("images", 1) > 1:
        raise several
    for number in range(1, _MAX_PREVIEWS + 2):  # the number of pages is not asked for: they may be millions
        try:
            page = file.pages[number]
        except IndexError:
            return ["smaller copies of the image in the file were left out"] if number > 1 else []
        if not page.subfiletype & _REDUCED:
            break
    raise several


def _check_samples(page: Any) -> int:
    """Refuse kinds of pixel that are not kept; return the bits per sample."""
    if page.photometric == _CMYK:
        raise ImageError("The TIFF is CMYK. Convert it to RGB (or grey) and send that.")
    if page.photometric not in _COLOURS or (page.photometric == _YCBCR and page.compression != _JPEG):
        raise ImageError("The TIFF is neither grey nor RGB nor palette. Convert it to RGB and send that.")
    if page.compression not in _COMPRESSIONS:
        raise ImageError("The TIFF's compression is not known here. Save it with LZW, deflate or no compression.")
    formats = set(np.atleast_1d(page.tags.valueof(_SAMPLE_FORMAT, 1)).tolist())
    depths = set(np.atleast_1d(page.tags.valueof(_BITS, 1)).tolist())
    if formats & {3, 6}:
        raise ImageError("The TIFF holds floating-point values. Scale them to 16-bit whole numbers and send that.")
    if formats & {2, 5}:
        raise ImageError("The TIFF holds signed values. Save it with unsigned 8- or 16-bit values.")
    if len(depths) != 1 or formats - {1, 4}:
        raise ImageError("The TIFF's channels differ in kind. Save it as 8- or 16-bit grey or RGB.")
    depth = int(depths.pop())
    if depth > 16:
        raise ImageError(f"The TIFF has {depth} bits a channel. Save it with 8 or 16 bits.")
    alpha = page.samplesperpixel - _COLOURS[page.photometric]
    if alpha not in (0, 1) or (alpha and page.photometric in (_PALETTE, _YCBCR)):
        raise ImageError(
            f"The TIFF has {page.samplesperpixel} channels. Save it as grey or RGB, with one alpha at most."
        )
    if page.photometric in (_PALETTE, _YCBCR) and depth > 8:
        raise ImageError("The TIFF's colours are stored in an uncommon way. Convert it to RGB and send that.")
    return depth


def _check_segments(page: Any, size: int) -> None:
    """Refuse a file that lacks strips or tiles: tifffile would fill the gaps with black."""
    expected = math.prod(page.chunked)
    offsets, lengths = page.dataoffsets[:expected], page.databytecounts[:expected]
    whole = len(offsets) == len(lengths) == expected and all(
        offset > 0 and length > 0 and offset + length <= size
        for offset, length in zip(offsets, lengths, strict=True)
    )
    if not whole:
        raise ImageError("The TIFF file ends too early or lacks parts of the image. Send it again.")


def _dpi(page: Any) -> tuple[float, float] | None:
    factor = _PIXELS_PER_INCH.get(page.tags.valueof(_RESOLUTION_UNIT, 2))
    x, y = page.tags.valueof(_X_RESOLUTION), page.tags.valueof(_Y_RESOLUTION)
    if factor is None or not x or not y:
        return None
    try:
        return valid_dpi((factor * x[0] / x[1], factor * y[0] / y[1]))
    except (TypeError, IndexError, ZeroDivisionError):
        return None


def _is_associated(page: Any) -> bool:
    return bool(page.extrasamples) and page.extrasamples[0] == _ASSOCIATED_ALPHA


def _read(page: Any, depth: int) -> Pixels:
    planes: NDArray[Any] = page.asarray(squeeze=False, maxworkers=1)[:, 0]  # (planes, H, W, samples)
    samples = np.moveaxis(planes[..., 0], 0, -1) if planes.shape[0] > 1 else planes[0]
    pixels: Pixels = (
        np.ascontiguousarray(samples, np.uint8) if depth <= 8 else np.ascontiguousarray(samples, np.uint16)
    )
    if page.photometric == _PALETTE:
        return _palette(page)[pixels[..., 0]]
    full = 2**depth - 1
    if page.photometric == _WHITE_IS_ZERO:
        pixels[..., 0] = full - pixels[..., 0]
    if depth < 8:
        pixels *= np.uint8(255 // full)
    if pixels.shape[2] in (2, 4) and _is_associated(page):
        _divide_by_alpha(pixels, full if depth > 8 else 255)
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels


def _palette(page: Any) -> NDArray[np.uint8]:
    """Colour map (entries, 3); some writers store 8-bit values in its 16."""
    colours = np.asarray(page.colormap).T
    return (colours >> 8 if colours.max() > 255 else colours).astype(np.uint8)


def _divide_by_alpha(pixels: Pixels, full: int) -> None:
    """Undo the multiplication of colour by alpha, in place."""
    alpha = np.maximum(pixels[..., -1], 1).astype(np.uint32)
    for channel in range(pixels.shape[2] - 1):
        colour = (pixels[..., channel].astype(np.uint32) * full + alpha // 2) // alpha
        pixels[..., channel] = np.minimum(colour, full)
