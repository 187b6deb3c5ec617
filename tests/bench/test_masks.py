"""Masks learned from real samples: drawn on real parts, they lie on the part and have the samples' size."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from bench.data import Entry, entries
from bench.promises.pairs import data_folder
from models.foreground import foreground
from models.placement.distribution import MaskDistribution
from models.samples import Sample

pytestmark = pytest.mark.skipif(data_folder() is None, reason="the real images are not here")


def sample(entry: Entry) -> Sample:
    assert entry.mask is not None
    with Image.open(entry.image) as image, Image.open(entry.mask) as mask:
        return Sample(np.asarray(image.convert("RGB")), np.asarray(mask.convert("L")) > 127, entry.sha256)


def test_bubbles_are_drawn_on_capsules() -> None:
    samples = [sample(entry) for entry in entries("visa_capsules", "bubble", split="teach")[:6]]
    distribution = MaskDistribution.learned(samples)
    assert distribution.on_part
    areas = [int(one.mask.sum()) for one in samples]
    for number, entry in enumerate(entries("visa_capsules", "good", split="teach")[:3]):
        with Image.open(entry.image) as image:
            part = foreground(np.asarray(image.convert("RGB")))
        assert 0.1 < part.mean() < 0.5
        drawn = distribution.draw(part, number)
        assert not (drawn.mask & ~part).any()
        assert 0.3 * min(areas) < drawn.mask.sum() < 3 * max(areas)


def test_a_tile_that_fills_the_photo_is_all_part() -> None:
    for entry in entries("magnetic_tile", "good", split="teach")[:5]:
        with Image.open(entry.image) as image:
            assert foreground(np.asarray(image.convert("L"))).mean() > 0.9
