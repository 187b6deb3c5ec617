"""Windows to learn from, cut from samples as generation cuts its windows.

Nobody knows what lies under a real defect. What a drawing would have begun on is therefore guessed: texture of the
same photo cloned over the defect, and on it another sample's defect. So learning sees what generation starts from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from models.cuts import cut_image, cut_mask, planned
from models.filling import emptied, normalised
from models.grafts import grafted
from models.levels import Pixels, in_eight_bits
from models.masks import Mask
from models.samples import Exemplar, Sample
from models.training.photos import blob
from models.training.scenes import TrainingScene


def examples(
    samples: Sequence[Sample],
    exemplars: Sequence[Exemplar],
    name: str,
    part: str,
    crops: int,
    size: int,
    latent_size: int,
    seed: int,
) -> Iterator[TrainingScene]:
    """Windows of samples with a defect, each sample's in a row; example i depends on its sample, seed and i alone.

    Mirrored at random, image and mask alike; never turned, since light and grain have their direction.

    Args:
        exemplars: of these samples, by their place among them.
        crops: windows of each sample.
        size, latent_size: of the model's window, in pixels and cells.
    """
    for number, sample in enumerate(samples):
        image = rgb(sample.image)
        others = [one for one in exemplars if one.sample != number] or list(exemplars)
        for i in range(crops):
            rng = np.random.default_rng([seed, number, i])
            window = planned(sample.mask, rng, size, latent_size)
            pixels, mask = _mirrored(cut_image(window, image, size), cut_mask(window, sample.mask, size), rng)
            unit = np.asarray(pixels / np.float32(255), np.float32)
            normal = normalised(unit, mask, rng)
            begun = grafted(normal, mask, others, rng)[0] if mask.any() and others else normal
            yield TrainingScene(pixels, _bytes(normal), _bytes(begun), mask, part, name)


def arrangements(
    samples: Sequence[Sample], name: str, part: str, crops: int, size: int, latent_size: int, seed: int
) -> Iterator[TrainingScene]:
    """Windows of samples whose arrangement is wrong, as `examples` has them: the whole image, as it stands.

    What would have been in the mask is not guessed, because it is an arrangement, too: it is taken out.
    """
    for number, sample in enumerate(samples):
        image = rgb(sample.image)
        blank = np.where(sample.mask[:, :, None], np.uint8(128), image)  # resampling would spread it, too
        for i in range(crops):
            window = planned(sample.mask, np.random.default_rng([seed, number, i]), size, latent_size, whole=True)
            pixels, mask = cut_image(window, image, size), cut_mask(window, sample.mask, size)
            left = emptied(np.asarray(cut_image(window, blank, size) / np.float32(255), np.float32), mask)
            yield TrainingScene(pixels, _bytes(left), None, mask, part, name)


def normal_examples(
    normals: Sequence[Sample], part: str, count: int, size: int, latent_size: int, seed: int, whole: bool = False
) -> Iterator[TrainingScene]:
    """Windows of normal photos, which take turns; mirrored, unless they show the whole image."""
    for i in range(count if normals else 0):
        rng = np.random.default_rng([seed, i])
        image = rgb(normals[i % len(normals)].image)
        window = planned(blob(rng, *image.shape[:2]), rng, size, latent_size, whole)
        pixels, mask = cut_image(window, image, size), np.zeros((size, size), dtype=np.bool_)
        if not whole:
            pixels, mask = _mirrored(pixels, mask, rng)
        yield TrainingScene(pixels, pixels, None, mask, part, "")


def rgb(image: Pixels) -> NDArray[np.uint8]:
    """(H, W, 3) in 8 bits, of the range that the camera's levels span."""
    pixels = in_eight_bits(image)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def _bytes(unit: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(unit.clip(0, 1) * 255), np.uint8)


def _mirrored(pixels: NDArray[np.uint8], mask: Mask, rng: np.random.Generator) -> tuple[NDArray[np.uint8], Mask]:
    for axis in (0, 1):
        if rng.random() < 0.5:
            pixels, mask = np.flip(pixels, axis), np.flip(mask, axis)
    return np.ascontiguousarray(pixels), np.ascontiguousarray(mask)
