"""What would make a set of samples better to teach from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from flawsmith.contract.samples import Advice, AdviceCode
from service.samples.intake import Taken

FEW = 5
"""Pairs below which a type is likely to be poor."""
LATENT_CELL = 8
"""Pixels a side that one cell of the coarsest usual latent grid stands for."""
LARGE_SHARE = 0.5
"""Of an image: a mask that covers more is more often an inverted one than a defect."""
SIZE_RATIO = 1.5
"""Between the longest sides of two images, from which on they may be one camera's photos resized."""


def advise(samples: Sequence[Taken], normals: Sequence[Taken]) -> list[Advice]:
    """What there is to say of images with defects and of normal ones; both as they are taken, no two alike."""
    return [
        *_few(samples, normals),
        *_masks(samples),
        *_images([*samples, *normals]),
        *_duplicates(samples),
    ]


def _few(samples: Sequence[Taken], normals: Sequence[Taken]) -> list[Advice]:
    found = []
    if len(samples) < FEW:
        count = "One pair is" if len(samples) == 1 else f"{len(samples)} pairs are"
        found.append(
            _about(
                "few-pairs",
                f"{count} few: the type will know few shapes, and none can be held back to judge it well. "
                "Ten to thirty different ones are a good start.",
            )
        )
    if not normals:
        found.append(
            _about(
                "no-normals",
                "There is no photo of a good part. Send twenty or more as normals: "
                "what the part looks like is learned from them.",
            )
        )
    return found


def _masks(samples: Sequence[Taken]) -> list[Advice]:
    small = [one for one in samples if one.mask_extent < LATENT_CELL or one.mask_pixels < LATENT_CELL**2 // 4]
    large = [one for one in samples if one.mask_pixels > LARGE_SHARE * one.info.width * one.info.height]
    boxes = [one for one in samples if one.offer.has_box]
    found = []
    if small:
        found.append(
            _about(
                "small-masks",
                f"{_masks_of(small)} hardly anything of the grid that models work on, whose cells are "
                f"{LATENT_CELL} pixels wide, so such defects vanish. Send photos of higher resolution, "
                "or leave these out.",
                small,
            )
        )
    if large:
        found.append(
            _about(
                "large-masks",
                f"{_masks_of(large)} more than half of the image. White must be the defect, black the rest: "
                "invert them if it is the other way round, and draw them close around the defect.",
                large,
            )
        )
    if boxes:
        found.append(
            _about(
                "boxes",
                f"{_images_of(boxes)} a box where the defect is. All that is in the box is learned as defect: "
                "outline defects by polygons or masks instead.",
                boxes,
            )
        )
    return found


def _images(images: Sequence[Taken]) -> list[Advice]:
    found = []
    sides = [max(one.info.width, one.info.height) for one in images]
    if max(sides) >= SIZE_RATIO * min(sides):
        found.append(
            _about(
                "mixed-sizes",
                f"The longest sides of the images go from {min(sides)} to {max(sides)} pixels. Crops of one "
                "camera are fine; of resized photos send the originals, "
                "so that a defect has the same size in all.",
            )
        )
    kinds = Counter(f"{one.info.mode} of {one.info.bit_depth} bits" for one in images)
    if len(kinds) > 1:
        named = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        found.append(
            _about(
                "mixed-modes",
                f"The images are of several kinds: {named}. Send all as your camera delivers them in production.",
            )
        )
    return found


def _duplicates(samples: Sequence[Taken]) -> list[Advice]:
    counts = Counter(one.info.pixels_sha256 for one in samples)
    twice = [one for one in samples if counts[one.info.pixels_sha256] > 1]
    if not twice:
        return []
    images = len({one.info.pixels_sha256 for one in twice})
    return [
        _about(
            "duplicates",
            f"{len(twice)} of the samples show only {images} images, each with different masks. "
            "Put all defects of an image into one mask: "
            "what one mask leaves out is learned as background.",
            twice,
        )
    ]


def _about(code: AdviceCode, detail: str, samples: Sequence[Taken] = ()) -> Advice:
    return Advice(code=code, detail=detail, samples=[one.offer.source for one in samples])


def _masks_of(samples: Sequence[Taken]) -> str:
    return "The mask of one sample covers" if len(samples) == 1 else f"The masks of {len(samples)} samples cover"


def _images_of(samples: Sequence[Taken]) -> str:
    return "One sample has" if len(samples) == 1 else f"{len(samples)} samples have"
