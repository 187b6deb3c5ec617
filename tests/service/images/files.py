"""Image files made in code, and a second decoder to read results back."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def noise(*shape: int, dtype: str = "uint8", seed: int = 0) -> NDArray[Any]:
    """Every value of the type is equally likely."""
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)


def smooth(height: int, width: int, channels: int = 3) -> NDArray[np.uint8]:
    """A gradient, different in each channel: survives JPEG nearly unchanged."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [x * 200 // width + 20, y * 200 // height + 20, (x + y) * 200 // (height + width) + 20]
    image = np.stack(planes[:channels], -1).astype(np.uint8)
    return image[..., 0] if channels == 1 else image


def pil(array: NDArray[Any] | Image.Image, file_format: str, **options: Any) -> bytes:
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def tiff(array: NDArray[Any], **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, **{"metadata": None, **options})
    return file.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_rows(pixels: NDArray[Any]) -> bytes:
    """Unfiltered scan lines of an array (H, W[, C])."""
    big_endian = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder(">"))
    return b"".join(b"\0" + row.tobytes() for row in big_endian)


def png(pixels: NDArray[Any], *extra: tuple[bytes, bytes], interlaced: bool = False) -> bytes:
    """A PNG written by hand: (H, W[, C]) uint8 or uint16; ``extra`` chunks stand before the pixels."""
    height, width = pixels.shape[:2]
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[pixels.shape[2] if pixels.ndim == 3 else 1]
    header = struct.pack(">IIBBBBB", width, height, pixels.dtype.itemsize * 8, colour_type, 0, 0, int(interlaced))
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
        parts = [pixels[y::down, x::right] for y, x, down, right in passes]
        rows = b"".join(png_rows(part) for part in parts if part.size)
    else:
        rows = png_rows(pixels)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b"")]
    return SIGNATURE + b"".join(chunk(*one) for one in chunks)


def with_chunk(data: bytes, kind: bytes, body: bytes) -> bytes:
    """A PNG with one more chunk right after its header."""
    end_of_header = len(SIGNATURE) + 25
    return data[:end_of_header] + chunk(kind, body) + data[end_of_header:]


def exif(orientation: int, *, gps: bool = False, big_endian: bool = False) -> bytes:
    """An EXIF block, without the ``Exif`` prefix, with the orientation and perhaps a place and a serial number."""
    data = Image.Exif()
    data.endian = ">" if big_endian else "<"
    data[0x0112] = orientation
    if gps:
        data[0x010F] = "SECRETMAKER"
        data.get_ifd(0x8825)[1] = "N"
        data.get_ifd(0x8825)[29] = "2001:02:03"
        data.get_ifd(0x8769)[0xA431] = "SERIAL12345"
    return data.tobytes().removeprefix(b"Exif\0\0")


def srgb() -> bytes:
    """An ICC profile for RGB."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def grey_profile() -> bytes:
    """The same profile with a header that says grey: nothing but the header is ever looked at."""
    profile = srgb()
    return profile[:16] + b"GRAY" + profile[20:]


def second_opinion(data: bytes) -> NDArray[Any]:
    """Pixels as OpenCV reads them, in RGB(A) order."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    assert pixels is not None
    if pixels.ndim == 3 and pixels.shape[2] >= 3:
        pixels = np.concatenate([pixels[..., 2::-1], pixels[..., 3:]], -1)
    return pixels


def apply_orientation(stored: NDArray[Any], orientation: int) -> NDArray[Any]:
    """What EXIF says about stored pixels, in numpy's own words."""
    turned = {
        1: stored,
        2: np.fliplr(stored),
        3: np.rot90(stored, 2),
        4: np.flipud(stored),
        5: np.fliplr(np.rot90(stored, -1)),
        6: np.rot90(stored, -1),
        7: np.fliplr(np.rot90(stored, 1)),
        8: np.rot90(stored, 1),
    }
    return turned[orientation]
