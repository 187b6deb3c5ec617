"""Image files to send: good ones and bad ones."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def part(width: int = 64, height: int = 48, mode: str = "RGB") -> Image.Image:
    """A photo of a part, more or less."""
    noise = np.random.default_rng(0).integers(90, 140, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


def part_16_bit(width: int = 64, height: int = 48) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(500, 4000, (height, width), dtype=np.uint16))


def mask(width: int = 64, height: int = 48, value: int = 255) -> Image.Image:
    """A mask with a rectangle of 20×10 pixels in it."""
    pixels = np.zeros((height, width), dtype=np.uint8)
    pixels[5:15, 5:25] = value
    return Image.fromarray(pixels)


def bomb() -> bytes:
    """A PNG of a few kilobytes that says it is 100,000×100,000 and would be 30 GB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(5_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def animated() -> bytes:
    frames = [part(), part().rotate(180)]
    return encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)


def pages() -> bytes:
    return encoded(part(), "TIFF", save_all=True, append_images=[part()])
