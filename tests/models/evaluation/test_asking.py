"""What a detector says of an image as a whole."""

from __future__ import annotations

import numpy as np
import torch

from models.evaluation.asking import scored
from models.evaluation.segmenter import Segmenter
from models.samples import Sample


def sure(odds: float) -> Segmenter:
    """A detector that says the same everywhere: a defect, with these log odds."""
    segmenter = Segmenter(["dent"], 8).eval()
    torch.nn.init.zeros_(segmenter.head.weight)
    segmenter.head.bias = torch.nn.Parameter(torch.tensor([0.0, odds]))
    return segmenter


def test_images_are_told_apart_where_a_detector_is_all_but_certain_of_both() -> None:
    image = np.full((32, 32), 128, np.uint8)
    sample = Sample(image, np.zeros(image.shape, np.bool_), "plain")
    scores = [scored(sure(odds), sample, None).image for odds in (30.0, 40.0)]
    assert np.float32(1) - sure(30.0).judged(image)[0].max() == 1  # as probabilities they are the same
    np.testing.assert_allclose(scores, [30, 40], rtol=1e-4)
