"""``python -m bench realness``: do items' ``seam`` and ``grain`` lie where those of real defects lie?

For each set the 5–95 % band of both scores over the real defects of the split "teach", and the medians of items on
normals of the same set (split "test" unless told otherwise), with masks of real defects. The scores compare a
photo before and after, and a real defect has no before. DeepPCB has one, its template. For the other sets a
stand-in is made: the defect, dilated by 3 px as a request would be, filled from its surroundings (Telea's
inpainting) with fine noise from just outside mirrored in. The request is that dilated mask, the refined mask the
label. ``grain`` reads the before only outside the request, where it is the photo itself, so it owes the stand-in
nothing; ``seam`` does. What the stand-in alone costs is shown: the same done to a normal photo of "teach" with
such a mask ("no defect").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from tqdm import tqdm

from bench import shared
from bench.data import Entry, entries
from bench.intervals import interval
from bench.rendered import adapters_of
from models import scores
from models.backbone import Backbone
from models.composition import surrounding_grain
from models.generation import Generator
from models.items import ItemRequest
from models.levels import Pixels, colour, luminance
from models.masks import Mask

LOOSE_PX = 3
CONTEXT_PX = 24
BAND = (0.05, 0.95)
Pair = tuple[float, float]
"""seam and grain."""


def main() -> None:
    parser = shared.parser("realness", __doc__)
    parser.add_argument("--items", type=int, default=18, help="items a set; the types take turns")
    parser.add_argument("--defects", type=int, default=60, help="real defects a set at most")
    parser.add_argument("--split", choices=("extra", "test"), default="test", help="of the items' normals")
    parser.add_argument("--set", action="append", choices=shared.ALL_SETS, dest="sets")
    arguments = parser.parse_args()
    generator = Generator(Backbone.load(arguments.backbone))
    types = adapters_of(arguments.backbone)
    rows: list[dict[str, Any]] = []
    every: tuple[list[Pair], ...] = ([], [], [])
    for name in arguments.sets or shared.ALL_SETS:
        labelled = [entry for entry in entries(name, split="teach") if entry.mask is not None]
        chosen = shared.spread(labelled, arguments.defects)
        real = [_real(entry) for entry in tqdm(chosen, desc=f"{name}, real", leave=False)]
        good = shared.spread(entries(name, "good", split="teach"), arguments.defects)
        nothing = [
            _filled(shared.read_photo(entry.image), _mask_of(chosen, i, entry.image))
            for i, entry in enumerate(good)
        ]
        normals = entries(name, "good", split=arguments.split)
        items = []
        for number in tqdm(range(arguments.items if normals else 0), desc=f"{name}, items", leave=False):
            image = shared.read_photo(normals[number % len(normals)].image)
            mask = _mask_of(chosen, number, normals[number % len(normals)].image)
            request = ItemRequest.by_default(image, mask, types[number % len(types)], arguments.seed + number)
            (result,) = generator.generate([replace(request, min_quality=0.0)])
            items.append((result.scores.seam, result.scores.grain))
        rows += list(table(name, real, nothing, items))
        for pooled, pairs in zip(every, (real, nothing, items), strict=True):
            pooled += pairs
    rows += list(table("all sets", *every))
    shared.show(rows)
    shared.write(arguments.json, arguments, realness=rows)


def table(
    name: str, real: Sequence[Pair], nothing: Sequence[Pair], items: Sequence[Pair]
) -> Iterator[dict[str, Any]]:
    """A set's rows, one a score."""
    for which, score in enumerate(("seam", "grain")):
        band = tuple(float(value) for value in np.quantile([pair[which] for pair in real], BAND))
        drawn = np.array([pair[which] for pair in items])
        median = float(np.median(drawn)) if len(drawn) else float("nan")
        yield {
            "set": name,
            "score": score,
            "real": len(real),
            "band": band,
            "no defect": float(np.median([pair[which] for pair in nothing])) if nothing else float("nan"),
            "items": len(drawn),
            "median": median,
            "interval": interval(drawn, shared.median) if len(drawn) else "",
            "within": bool(band[0] <= median <= band[1]) if len(drawn) else "",
        }


def stand_in(photo: Pixels, requested: Mask, key: int = 0) -> Pixels:
    """The photo (uint8) as it may have been: the mask filled from its surroundings, with their fine noise."""
    filled = cv2.inpaint(photo, requested.astype(np.uint8), 5, cv2.INPAINT_TELEA)
    if requested.all():
        return np.asarray(filled)
    unit = np.asarray(colour(photo), dtype=np.float32) / np.float32(255)
    noisy = (
        np.clip(np.rint(colour(filled) + 255 * surrounding_grain(unit, requested, key)), 0, 255)
        .astype(np.uint8)
        .reshape(photo.shape)
    )
    whole = photo.copy()
    whole[requested] = noisy[requested]
    return whole


def judged(before: Pixels, after: Pixels, label: Mask, requested: Mask) -> Pair:
    """seam and grain of a change from one photo to another."""
    light, lit = luminance(before), luminance(after)
    return scores.seam(light, lit, requested), scores.grain(light, lit, label, requested)


def loose(label: Mask) -> Mask:
    return np.asarray(ndimage.binary_dilation(label, iterations=LOOSE_PX))


def template(entry: Entry) -> Path | None:
    """DeepPCB's photo of the same board without the defects."""
    file = entry.image.parents[2] / "train" / "good" / entry.image.name
    return file if file.is_file() and file.parents[2].name == "deeppcb" else None


def _real(entry: Entry) -> Pair:
    photo = shared.read_photo(entry.image)
    if entry.mask is None:
        raise ValueError(f"{entry.image} has no mask")
    label = shared.read_mask(entry.mask, photo.shape)
    before = template(entry)
    if before is not None:
        return judged(shared.read_photo(before), photo, label, loose(label))
    return _filled(photo, label)


def _filled(photo: Pixels, label: Mask) -> Pair:
    """Scores against the stand-in, computed around the label only."""
    requested = loose(label)
    place = _around(requested)
    part = photo[place].copy()
    return judged(stand_in(part, requested[place]), part, label[place], requested[place])


def _mask_of(chosen: Sequence[Entry], number: int, image: Path) -> Mask:
    """A real defect's mask, loosened and fitted to a photo."""
    shape = shared.read_photo(image).shape
    file = chosen[number % len(chosen)].mask
    if file is None:
        raise ValueError("only images with a mask can lend theirs")
    mask = shared.read_mask(file, shape)
    if not mask.any():
        mask[shape[0] // 2, shape[1] // 2] = True
    return loose(mask)


def _around(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return (
        slice(max(0, int(rows[0]) - CONTEXT_PX), int(rows[-1]) + 1 + CONTEXT_PX),
        slice(max(0, int(columns[0]) - CONTEXT_PX), int(columns[-1]) + 1 + CONTEXT_PX),
    )


if __name__ == "__main__":
    main()
