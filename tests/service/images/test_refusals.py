"""What is not taken is refused with the reason and the remedy."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from service.images.decoding import decode
from service.images.errors import ImageError
from service.images.limits import Limits
from tests.service.images import files

RGB = files.noise(19, 23, 3)


def tagged(data: bytes, tag: int, value: int) -> bytes:
    """A little-endian TIFF with another value in one of its SHORT tags."""
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    changed = bytearray(data)
    for entry in range(count):
        place = directory + 2 + 12 * entry
        if struct.unpack_from("<H", data, place)[0] == tag:
            struct.pack_into("<H", changed, place + 8, value)
            return bytes(changed)
    raise AssertionError(tag)


def pages(number: int) -> bytes:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for _ in range(number):
            writer.write(RGB, photometric="rgb", metadata=None)
    return file.getvalue()


def imagej_stack() -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, files.noise(4, 19, 23), imagej=True, metadata={"axes": "ZYX"})
    return file.getvalue()


def animated(file_format: str) -> bytes:
    frames = [Image.fromarray(files.noise(19, 23, 3, seed=seed)) for seed in range(3)]
    return files.pil(frames[0], file_format, save_all=True, append_images=frames[1:], duration=100)


def grey(dtype: str) -> np.ndarray[Any, Any]:
    return np.arange(19 * 23).reshape(19, 23).astype(dtype)


GREY_TIFF = files.tiff(files.noise(19, 23), photometric="minisblack")
LZW_TIFF = files.tiff(files.noise(19, 23), photometric="minisblack", compression="lzw")
REFUSED = {
    "nothing": (b"", r"empty\. Send a PNG"),
    "text": (b"hello, world", "not an image of a kind that is accepted. Send PNG, JPEG"),
    "gif": (
        files.pil(Image.fromarray(RGB).quantize(8), "GIF"),
        "GIF, which is not accepted. Save the image",
    ),
    "heic": (b"\0\0\0\x18ftypheic" + bytes(20), "HEIC"),
    "pdf": (b"%PDF-1.7", "PDF"),
    "cmyk jpeg": (files.pil(Image.fromarray(RGB).convert("CMYK"), "JPEG"), "JPEG is CMYK. Convert it to RGB"),
    "cmyk tiff": (files.pil(Image.fromarray(RGB).convert("CMYK"), "TIFF"), "TIFF is CMYK. Convert it to RGB"),
    "lab tiff": (files.pil(Image.fromarray(RGB).convert("LAB"), "TIFF"), "neither grey nor RGB nor palette"),
    "ycbcr tiff": (files.pil(Image.fromarray(RGB).convert("YCbCr"), "TIFF"), "neither grey nor RGB nor palette"),
    "float tiff": (files.tiff(grey("float32")), "floating-point values. Scale them to 16-bit"),
    "half float tiff": (files.tiff(grey("float16")), "floating-point values"),
    "double tiff": (files.tiff(grey("float64")), "floating-point values"),
    "32-bit tiff": (files.tiff(grey("uint32")), "32 bits a channel. Save it with 8 or 16 bits"),
    "signed 16-bit tiff": (files.tiff(grey("int16")), "signed values. Save it with unsigned"),
    "signed 8-bit tiff": (files.tiff(grey("int8")), "signed values"),
    "complex tiff": (files.tiff(grey("complex64")), "floating-point values"),
    "two pages": (pages(2), "several pages. Send one"),
    "stack in one page": (imagej_stack(), "several pages"),
    "preview first": (files.tiff(RGB, photometric="rgb", subfiletype=1), "camera raw"),
    "camera raw": (
        files.tiff(RGB, photometric="rgb", extratags=[(50706, "B", 4, bytes(4), True)]),
        "camera raw",
    ),
    "five channels": (
        files.tiff(files.noise(19, 23, 5), photometric="rgb", planarconfig="contig"),
        "5 channels. Save it as grey or RGB",
    ),
    "grey of three": (
        files.tiff(RGB, photometric="minisblack", planarconfig="contig"),
        "3 channels. Save it as grey or RGB",
    ),
    "unknown compression": (tagged(LZW_TIFF, 259, 34712), "compression is not known here. Save it with LZW"),
    "old jpeg compression": (tagged(LZW_TIFF, 259, 6), "compression is not known here"),
    "no known photometric": (tagged(GREY_TIFF, 262, 32845), "neither grey nor RGB nor palette"),
    "apng": (animated("PNG"), "PNG is animated. Save the frame you mean"),
    "animated webp": (animated("WEBP"), "WebP is animated. Save the frame you mean"),
    "animated gif": (animated("GIF"), "GIF"),
}


@pytest.mark.parametrize(("data", "message"), REFUSED.values(), ids=REFUSED)
def test_refused_with_the_remedy(data: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message) as caught:
        decode(data)
    assert caught.value.detail == str(caught.value)
    assert caught.value.field is None


def test_a_picture_with_one_frame_of_animation_is_still() -> None:
    data = files.png(RGB, (b"acTL", struct.pack(">II", 1, 0)))
    np.testing.assert_array_equal(decode(data).pixels, RGB)


@pytest.mark.parametrize("depth", [12, 16])
def test_jpegs_of_an_uncommon_kind(depth: int) -> None:
    data = bytearray(files.pil(files.smooth(16, 16), "JPEG"))
    start = data.index(b"\xff\xc0")
    data[start + 4] = depth
    with pytest.raises(ImageError, match=r"uncommon kind .* Save the image as PNG"):
        decode(bytes(data))


# Limits


@pytest.mark.parametrize(
    ("shape", "limits", "message"),
    [
        ((10, 30), Limits(max_side=29), "image is 30×10 pixels; at most 29 a side .* Crop"),
        ((30, 10), Limits(max_side=29), "image is 10×30 pixels; at most 29 a side"),
        ((10, 30), Limits(max_pixels=299), "300 pixels; at most 299 are accepted. Crop"),
        ((10, 30), Limits(max_bytes=40), "bytes; at most 40 are accepted. Save it with compression"),
    ],
)
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF", "BMP", "WEBP"])
def test_limits_hold_for_every_format(
    file_format: str, shape: tuple[int, int], limits: Limits, message: str
) -> None:
    data = files.pil(files.noise(*shape, 3), file_format)
    with pytest.raises(ImageError, match=message):
        decode(data, limits)


def test_limits_are_inclusive() -> None:
    data = files.png(files.noise(10, 30))
    assert decode(data, Limits(max_side=30, max_pixels=300, max_bytes=len(data))).info.width == 30


def test_the_default_limits_are_the_documented_ones() -> None:
    assert Limits() == Limits(max_side=16_384, max_pixels=64_000_000, max_bytes=128_000_000)
    with pytest.raises(ImageError, match="30000×10 pixels; at most 16,384 a side"):
        decode(files.pil(np.zeros((10, 30_000), np.uint8), "PNG"))
