"""``python -m bench alignment``: how well photos register on a reference, and what is taken or left out wrongly.

*Known places.* A reference is cut from the middle of a rendered scene or a photo of a good part; a photo is cut
from the same, turned and shifted by known amounts, so that other things come into view, and taken under another
light: exposure, gamma, an uneven light, blur and noise are drawn anew. Of DeepPCB's pairs the photo shows the
tested board and the reference its template. Told are the greatest error over the four corners, in pixels; how many
are left out; and how many are wrong, taken with an error above the limit.

*Unrelated pairs.* Two scenes of the same surface, two photos of the same set that show different things, and
photos of different sets: none of them may be taken.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy import ndimage
from tqdm import tqdm

from bench import shared
from bench.data import data_root, entries
from models.rendering import SURFACES, render
from service.alignment.places import Coefficients, Place
from service.alignment.registration import Method, Reference, Registered, limit

_SIDE = 480
_CROP = 0.7
_MAX_SHIFT = 0.15
"""Of the crop's sides."""
_MAX_SIDE = 1600
_STRANGERS = ("crackforest", "deeppcb", "magnetic_tile", "visa_capsules")
"""Sets whose photos show other things each: other pavement, boards, tiles, arrangements."""

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]


def turned(image: Floats, place: Place) -> tuple[Bytes, Floats]:
    """A reference (h, w, 3) from the middle of an image (H, W, 3), and a photo in which it lies at ``place``."""
    height, width = image.shape[:2]
    h, w = round(_CROP * height), round(_CROP * width)
    centre = np.array([w, h]) / 2
    y, x = (height - h) // 2, (width - w) // 2

    def cut(coefficients: Coefficients, blank: float) -> Floats:
        a, b, c, d, e, f = coefficients
        back = a, b, c + x, d, e, f + y
        planes = [
            Pillow.fromarray(np.ascontiguousarray(image[..., channel])).transform(
                (w, h), Pillow.Transform.AFFINE, back, Pillow.Resampling.BICUBIC, fillcolor=blank
            )
            for channel in range(3)
        ]
        return np.stack([np.asarray(plane) for plane in planes], axis=-1)

    return as_bytes(image[y : y + h, x : x + w]), cut(place.from_photo(centre), float(np.median(image)))


def relit(image: Floats, rng: np.random.Generator) -> Bytes:
    """The image (H, W, 3) in [0, 1] under another light, by another camera."""
    height, width = image.shape[:2]
    v, u = np.mgrid[0:height, 0:width].astype(np.float32)
    angle, slope = rng.uniform(0, 2 * math.pi), rng.uniform(0, 1)
    uneven = 1 + slope * ((v / height - 0.5) * math.sin(angle) + (u / width - 0.5) * math.cos(angle))
    lit = np.clip(image, 0, 1) ** np.float32(math.exp(rng.uniform(-0.35, 0.35)))
    lit = lit * (uneven * rng.uniform(0.7, 1.2))[..., None]
    lit = ndimage.gaussian_filter(lit, rng.uniform(0, 1.2), axes=(0, 1))
    return as_bytes(lit + rng.normal(0, rng.uniform(0.002, 0.02), lit.shape))


def as_bytes(image: NDArray[np.floating]) -> Bytes:
    """An image in [0, 1] in 8 bits."""
    return np.asarray(np.clip(image, 0, 1) * 255 + 0.5, np.uint8)


def error(found: Place, true: Place, shape: tuple[int, ...]) -> float:
    """How far a place is off the true one at most in a frame (H, W, …), in pixels."""
    size = np.array([shape[1], shape[0]], np.float64)
    return found.distance(true, np.array([(0, 0), (1, 0), (0, 1), (1, 1)]) * size, size / 2)


def sources(count: int) -> Iterator[tuple[str, list[tuple[Floats, Floats]]]]:
    """Images to cut references and photos from, each (H, W, 3) in [0, 1]; by name."""
    scenes = [_scene(number, number) for number in range(count)]
    yield "rendered", [(one, one) for one in scenes]
    for name in shared.ALL_SETS:
        photos = [_photo(one.image) for one in shared.spread(entries(name, "good", split="test"), count)]
        if photos:
            yield name, [(one, one) for one in photos]
    tested = shared.spread(entries("deeppcb", "mixed", split="test"), count)
    root = data_root() / "deeppcb" / "train" / "good"
    yield "deeppcb, tested", [(_photo(root / one.image.name), _photo(one.image)) for one in tested]


def known_places(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Rows of what becomes of known places."""
    for name, images in sources(count):
        for method in ("shift", "rigid"):
            rng = np.random.default_rng([seed, len(name)])
            errors, taken, seconds, most = [], [], [], []
            for first, second in tqdm(images, desc=f"{name}, {method}", leave=False):
                angle = rng.uniform(-180, 180) if method == "rigid" else 0.0
                height, width = (round(_CROP * side) for side in first.shape[:2])
                x, y = rng.uniform(-_MAX_SHIFT, _MAX_SHIFT, 2) * (width, height)
                true = Place(float(x), float(y), angle)
                reference, _ = turned(first, true)
                photo = relit(turned(second, true)[1], rng)
                found, took = registered(reference, photo, method)
                errors.append(error(found.place, true, photo.shape))
                taken.append(found.doubt is None)
                most.append(limit(width, height))
                seconds.append(took)
            kept = np.array(errors)[taken]
            yield {
                "images": name,
                "method": method,
                "pairs": len(images),
                "left out": len(images) - len(kept),
                "error, median": float(np.median(kept)) if len(kept) else math.nan,
                "90 %": float(np.quantile(kept, 0.9)) if len(kept) else math.nan,
                "greatest": float(kept.max()) if len(kept) else math.nan,
                "wrong": int((kept > np.array(most)[taken]).sum()),
                "ms of a core": 1000 * float(np.median(seconds)),
            }


def unrelated(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Rows of what becomes of pairs that show different things."""
    pairs: dict[str, list[tuple[Floats, Floats]]] = {
        "rendered, same surface": [
            (_scene(number, 10**6 + number), _scene(number, number)) for number in range(count)
        ]
    }
    firsts = []
    for name in _STRANGERS:
        groups: dict[str, Any] = {}
        for one in entries(name, "good", split=("teach", "test")):
            groups.setdefault(one.group, one)
        photos = [_photo(one.image) for one in shared.spread(list(groups.values()), count + 1)]
        pairs[name] = list(pairwise(photos))
        firsts.append(photos)
    pairs["of different sets"] = [
        (one, other)
        for place, photos in enumerate(firsts)
        for one, other in zip(photos, firsts[(place + 1) % len(firsts)], strict=False)
    ]
    for name, several in pairs.items():
        for method in ("shift", "rigid"):
            taken, least = 0, math.inf
            for one, other in tqdm(several, desc=f"{name}, {method}", leave=False):
                height, width = (min(a, b) for a, b in zip(one.shape[:2], other.shape[:2], strict=True))
                found, _ = registered(as_bytes(one[:height, :width]), as_bytes(other[:height, :width]), method)
                taken += found.doubt is None
                least = min(least, found.residual / limit(width, height))
            yield {
                "images": name,
                "method": method,
                "pairs": len(several),
                "taken": taken,
                "least residual / limit": least,
            }


def registered(reference: Bytes, photo: Bytes, method: Method) -> tuple[Registered, float]:
    """What comes of a photo, with nothing drawn on the reference, and the seconds of a core that it took."""
    prepared = Reference(reference, np.zeros(reference.shape[:2], np.bool_), method)
    prepared.register(reference)  # what is made once for all photos
    began = time.process_time()
    found = prepared.register(photo)
    return found, time.process_time() - began


def main() -> None:
    parser = shared.parser("alignment", __doc__)
    parser.add_argument("--count", type=int, default=24, help="pairs of each kind")
    arguments = parser.parse_args()
    known, strangers = [], []
    for row in known_places(arguments.count, arguments.seed):
        known.append(row)
    shared.show(known)
    for row in unrelated(arguments.count, arguments.seed):
        strangers.append(row)
    shared.show(strangers)
    shared.write(arguments.json, arguments, known=known, unrelated=strangers)


def _scene(surface: int, seed: int) -> Floats:
    drawn = render(np.random.default_rng(seed), _SIDE, surface=SURFACES[surface % len(SURFACES)])
    return drawn.normal


def _photo(path: Any) -> Floats:
    """(H, W, 3) in [0, 1], at most `_MAX_SIDE` pixels a side."""
    pixels: NDArray[np.uint8] = np.asarray(shared.read_photo(path), np.uint8)
    colour = np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels[..., :3]
    return np.asarray(colour[:_MAX_SIDE, :_MAX_SIDE] / np.float32(255), np.float32)


if __name__ == "__main__":
    main()
