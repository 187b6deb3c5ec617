"""The same photo as other cameras deliver it: 16 bits, alpha, TIFF, EXIF orientations, 20 megapixels."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from bench.promises.pairs import read

ORIENTATION_TAG = 0x0112


@dataclass(frozen=True, eq=False)
class Variant:
    """A file to send and its mask in the oriented frame."""

    name: str
    file_name: str
    data: bytes
    mask: NDArray[np.bool_]
    step: int
    """Levels that one of 256 would take: a change that is always a multiple of it was quantised."""


def as_sent(name: str, image: Path, mask: NDArray[np.bool_]) -> Variant:
    """The photo as it lies on disk."""
    return Variant(name, image.name, image.read_bytes(), mask, 1)


def depths_and_modes(name: str, image: Path, mask: NDArray[np.bool_]) -> Iterator[Variant]:
    """grey16 in full range and in 12 bits, RGB16 and RGBA, as PNG and as TIFF."""
    rgb = cv2.cvtColor(read(image, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    rng = np.random.default_rng(0)
    full = np.minimum(rgb.astype(np.uint16) * 257 + rng.integers(0, 257, rgb.shape), 65535).astype(np.uint16)
    alpha = np.linspace(0, 255, rgb.shape[1]).astype(np.uint8)[None].repeat(rgb.shape[0], axis=0)[..., None]
    pictures = {
        "grey16": (full[..., 1], 257),
        "grey12in16": (full[..., 1] >> 4, 16),
        "rgb16": (full, 257),
        "rgba": (np.concatenate([rgb, alpha], axis=2), 1),
    }
    for mode, (pixels, step) in pictures.items():
        yield Variant(f"{name}-{mode}-png", "image.png", _png(pixels), mask, step)
        yield Variant(f"{name}-{mode}-tiff", "image.tif", _tiff(pixels), mask, step)


def orientations(name: str, image: Path, mask: NDArray[np.bool_]) -> Iterator[Variant]:
    """EXIF orientations 1 to 8 of a JPEG; the mask follows into the oriented frame."""
    turns: dict[int, Callable[[NDArray[np.bool_]], NDArray[np.bool_]]] = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.T,
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].T,
        8: lambda a: np.rot90(a, 1),
    }
    with Image.open(image) as opened:
        picture = opened.convert("RGB")
    for orientation, turn in turns.items():
        exif = Image.Exif()
        exif[ORIENTATION_TAG] = orientation
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=95, exif=exif)
        oriented = np.ascontiguousarray(turn(mask))
        yield Variant(f"{name}-exif{orientation}", "image.jpg", buffer.getvalue(), oriented, 1)


def twenty_megapixels(name: str, image: Path, mask: NDArray[np.bool_]) -> Variant:
    """A 5472×3648 grey frame, as large cameras deliver it, with the mask at its own size in the middle."""
    grey = read(image, cv2.IMREAD_GRAYSCALE)
    frame = cv2.resize(grey, (5472, 3648), interpolation=cv2.INTER_CUBIC)
    placed = np.zeros(frame.shape, dtype=np.bool_)
    height, width = mask.shape
    placed[1200 : 1200 + height, 1800 : 1800 + width] = mask
    return Variant(f"{name}-20mp", "image.png", _png(frame), placed, 1)


def _png(pixels: NDArray[np.generic]) -> bytes:
    order = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}.get(pixels.shape[2]) if pixels.ndim == 3 else None
    stored = pixels if order is None else cv2.cvtColor(pixels, order)
    return bytes(cv2.imencode(".png", stored)[1])


def _tiff(pixels: NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    colour = pixels.ndim == 3
    extra = ["unassalpha"] if colour and pixels.shape[2] == 4 else None
    tifffile.imwrite(buffer, pixels, photometric="rgb" if colour else "minisblack", extrasamples=extra)
    return buffer.getvalue()
