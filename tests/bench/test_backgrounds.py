"""The background's error where it is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.quality.backgrounds import backgrounds, decoded_error, delivered_error
from models.adapters import Adapter
from models.evaluation.segmenter import Pair
from models.generation import Generator
from models.items import ItemRequest
from models.teaching.trials import Place
from tests.models.tiny import tiny_backbone


def place() -> Place:
    image = np.random.default_rng(1).integers(60, 190, (200, 240, 3)).astype(np.uint8)
    mask = np.zeros((200, 240), np.bool_)
    mask[80:110, 100:140] = True
    mask[150:156, 20:60] = True
    return Place(image, mask)


@pytest.fixture(scope="module")
def generator() -> Generator:
    return Generator(tiny_backbone())


@pytest.fixture
def request_of(generator: Generator) -> ItemRequest:
    backbone = generator.backbone
    adapter = Adapter("scratch", 1, backbone.name, backbone.digest, torch.ones(2, backbone.token_width))
    return replace(ItemRequest.by_default(place().image, place().mask, adapter), steps=2)


def test_what_is_decoded_is_off_and_what_is_delivered_is_not(
    generator: Generator, request_of: ItemRequest
) -> None:
    (parts,), (result,) = generator.decoded([request_of]), generator.generate([request_of])
    assert decoded_error(request_of, parts) > 1
    assert (result.image != request_of.image).any()
    assert delivered_error(Pair(result.image, result.refined_mask, "scratch"), place()) == 0


@pytest.mark.parametrize("off", [0.0, 0.1])
def test_the_error_is_that_of_what_windows_show_outside_the_request(
    generator: Generator, request_of: ItemRequest, off: float
) -> None:
    even = replace(request_of, image=np.full_like(request_of.image, 102))
    (parts,) = generator.decoded([even])
    assert len(parts) > 1
    shifted = [
        replace(part, pictures=[torch.full_like(picture, 0.4 + off) for picture in part.pictures])
        for part in parts
    ]
    assert decoded_error(even, shifted) == pytest.approx(255 * off, abs=1e-3)
    everywhere = replace(even, mask=np.ones_like(even.mask))
    assert np.isnan(decoded_error(everywhere, shifted))


def test_a_delivered_background_is_judged_beyond_request_and_label_in_levels_of_eight_bits() -> None:
    mask = np.zeros((10, 10), np.bool_)
    mask[:5] = True
    label = np.zeros_like(mask)
    label[5:7] = True
    image = np.full((10, 10), 1000, np.uint16)
    item = image.copy()
    item[:7] = 60000
    assert delivered_error(Pair(item, label, "a"), Place(image, mask)) == 0
    item[9] += 257
    assert delivered_error(Pair(item, label, "a"), Place(image, mask)) == pytest.approx(1 / 3)
    assert np.isnan(delivered_error(Pair(item, ~label, "a"), Place(image, ~mask | label)))


def test_methods_that_decode_nothing_have_no_error_before() -> None:
    nan = float("nan")
    rows = backgrounds({"ours": [2.0, 4.0, nan]}, {"ours": [0.0, 0.0, nan], "paste": [0.0, 0.5]})
    assert (rows["ours"]["before"], rows["ours"]["of"], rows["ours"]["after"]) == (3.0, 2, 0.0)
    assert rows["paste"] == {"after": 0.25, "after at most": 0.5}
