"""Photos for training: the teaching third of sets whose licence allows it, cut as generation cuts its windows.

No torch here: processes that only cut crops import this module.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from models.cuts import cut_image, cut_mask, planned
from models.masks import Mask
from models.windows import Window

GOOD = "good"
"""Type of a photo without a defect."""
FORMAT_VERSION = 1
"""The split files that are understood here."""
LATENT_FACTOR = 4
"""Model pixels a latent cell, where the caller names no other."""
SMALLEST_BLOB = 6.0
"""Least diameter, in pixels, of the region for which a window is planned in a good photo."""


@dataclass(frozen=True)
class Photo:
    """A photo that may be learned from.

    Attributes:
        mask: file of its size, not 0 on the defect; None for good photos.
        type: defect type, or `GOOD`. part: what it shows, in words.
        source: name of the set.
    """

    path: Path
    mask: Path | None
    type: str
    part: str
    source: str
    sha256: str
    licence: str
    attribution: str


@dataclass(frozen=True, eq=False)
class Crop:
    """A window in model pixels: image (P, P, 3) uint8, mask (P, P) bool, empty for good photos."""

    image: NDArray[np.uint8]
    mask: Mask
    part: str
    type: str
    sha256: str
    scale: float
    """Photo pixels per model pixel."""


def read_teach(split_folder: Path, data: Path) -> list[Photo]:
    """The photos of the split "teach" of all permissive sets, in the order of the split files.

    Args:
        split_folder: JSON files, one a set.
        data: folder with a folder of images a set.

    Raises:
        FileNotFoundError: no split file, or an image is missing.
        ValueError: an image is not the one that the split file names, or the file has another format.
    """
    files = sorted(split_folder.glob("*.json"))
    if not files:
        raise FileNotFoundError(f"no split files in {split_folder}")
    photos = []
    for file in files:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["format_version"] != FORMAT_VERSION:
            raise ValueError(f"{file} has format {content['format_version']}; {FORMAT_VERSION} is understood")
        if not content["permissive"]:
            continue
        folder = data / content["set"]
        for entry in content["entries"]:
            if entry["split"] != "teach":
                continue
            photo = Photo(
                path=folder / entry["file"],
                mask=folder / entry["mask"] if entry["mask"] else None,
                type=entry["type"],
                part=content["part"],
                source=content["set"],
                sha256=entry["sha256"],
                licence=content["licence"],
                attribution=content["attribution"],
            )
            _check(photo, file)
            photos.append(photo)
    return photos


def crops(
    photos: Sequence[Photo], seed: int, count: int, size: int, latent_size: int | None = None
) -> Iterator[Crop]:
    """Training crops; crop i depends on the seed, i and the photos alone.

    Each type of each set comes up as often as the root of its number of photos, so that a small set is seen more
    than its share and yet not worn out.

    Args:
        photos: as `read_teach` gives them, not empty.
        seed: of the stream.
        count: how many.
        size: side of the model's window in pixels, even.
        latent_size: side of the model's window in latent cells; a quarter of ``size`` if not given.

    Raises:
        ValueError: there are no photos, or a mask has another size than its photo.
    """
    if not photos:
        raise ValueError("there are no photos to cut crops from")
    cells = latent_size or size // LATENT_FACTOR
    kinds: dict[tuple[str, str], list[Photo]] = defaultdict(list)
    for photo in photos:
        kinds[photo.source, photo.type].append(photo)
    choices = list(kinds.values())
    weights = np.sqrt([len(choice) for choice in choices])
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        choice = choices[rng.choice(len(choices), p=weights / weights.sum())]
        yield _crop(choice[rng.integers(len(choice))], rng, size, cells)


def native_crops(photos: Sequence[Photo], seed: int, count: int, size: int) -> Iterator[Crop]:
    """Crops at the photos' own pixels, anywhere; the sets take turns, a set's photos come up alike.

    Raises:
        ValueError: there are no photos, or a mask has another size than its photo.
    """
    if not photos:
        raise ValueError("there are no photos to cut crops from")
    sources = sorted({photo.source for photo in photos})
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        choice = [photo for photo in photos if photo.source == sources[i % len(sources)]]
        photo = choice[rng.integers(len(choice))]
        image, defect = _read(photo)
        y, x = (int(rng.integers(max(side - size, 0) + 1)) for side in defect.shape)
        yield _cut(photo, Window(x, y, size), image, defect, rng, size)


def _check(photo: Photo, split: Path) -> None:
    remedy = f"restore the original, or point to the data that {split.name} was written for"
    if not photo.path.is_file():
        raise FileNotFoundError(f"{photo.path} is missing: {remedy}")
    if hashlib.sha256(photo.path.read_bytes()).hexdigest() != photo.sha256:
        raise ValueError(f"{photo.path} has another sha256 than {split} says: {remedy}")


def _crop(photo: Photo, rng: np.random.Generator, size: int, latent_size: int) -> Crop:
    image, defect = _read(photo)
    wanted = defect if defect.any() else blob(rng, *image.shape[:2])
    return _cut(photo, planned(wanted, rng, size, latent_size), image, defect, rng, size)


def _cut(
    photo: Photo, window: Window, image: NDArray[np.uint8], defect: Mask, rng: np.random.Generator, size: int
) -> Crop:
    """A window of a photo, turned and mirrored at random."""
    pixels, mask = cut_image(window, image, size), cut_mask(window, defect, size)
    turns, flip = int(rng.integers(4)), bool(rng.integers(2))
    pixels, mask = np.rot90(pixels, turns), np.rot90(mask, turns)
    if flip:
        pixels, mask = pixels[:, ::-1], mask[:, ::-1]
    return Crop(
        image=np.ascontiguousarray(pixels),
        mask=np.ascontiguousarray(mask),
        part=photo.part,
        type=photo.type,
        sha256=photo.sha256,
        scale=window.side / size,
    )


def _read(photo: Photo) -> tuple[NDArray[np.uint8], Mask]:
    with Image.open(photo.path) as file:
        image = np.asarray(file.convert("RGB"))
    return image, _read_mask(photo, image.shape[:2])


def _read_mask(photo: Photo, shape: tuple[int, ...]) -> Mask:
    if photo.mask is None:
        return np.zeros(shape, dtype=np.bool_)
    with Image.open(photo.mask) as file:
        mask = np.asarray(file.convert("L")) > 0
    if mask.shape != shape:
        raise ValueError(f"{photo.mask} is {mask.shape}, its photo {shape}")
    return mask


def blob(rng: np.random.Generator, height: int, width: int) -> Mask:
    """A random region such as a person may ask a defect in: an uneven ellipse of any size and place."""
    largest = max(SMALLEST_BLOB, min(height, width) / 2)
    diameter = float(np.exp(rng.uniform(np.log(SMALLEST_BLOB), np.log(largest))))
    tall, wide = (max(2, round(diameter * share)) for share in rng.uniform(0.4, 1.0, size=2))
    tall, wide = min(tall, height), min(wide, width)
    y, x = np.mgrid[-1 : 1 : tall * 1j, -1 : 1 : wide * 1j]
    noise = ndimage.gaussian_filter(rng.standard_normal((tall, wide)), diameter / 6)
    bumps = noise / max(float(np.abs(noise).max()), 1e-9)
    blob = np.hypot(y, x) + 0.4 * bumps < 0.9
    blob[tall // 2, wide // 2] = True
    top, left = int(rng.integers(height - tall + 1)), int(rng.integers(width - wide + 1))
    mask = np.zeros((height, width), dtype=np.bool_)
    mask[top : top + tall, left : left + wide] = blob
    return mask
