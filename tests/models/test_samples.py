"""Exemplars: real defects cut out of samples."""

from __future__ import annotations

import numpy as np
import pytest

from models.samples import (
    MAX_EXEMPLARS,
    Exemplar,
    ExemplarsError,
    Sample,
    exemplars_from_bytes,
    exemplars_of,
    exemplars_to_bytes,
)


def sample(*boxes: tuple[int, int, int, int], dtype: type = np.uint8) -> Sample:
    rng = np.random.default_rng(5)
    mask = np.zeros((96, 128), dtype=np.bool_)
    for y, x, height, width in boxes:
        mask[y : y + height, x : x + width] = True
    return Sample(rng.integers(0, 200, (96, 128)).astype(dtype), mask, "0" * 64)


def test_regions_that_lie_apart_are_two_exemplars_and_near_ones_are_one() -> None:
    assert len(exemplars_of([sample((10, 10, 8, 8), (70, 100, 8, 8))])) == 2
    (together,) = exemplars_of([sample((10, 10, 16, 16), (10, 29, 16, 16))])
    assert together.mask.sum() == 2 * 16 * 16


def test_an_exemplar_keeps_surroundings_but_never_reaches_beyond_the_photo() -> None:
    one = sample((0, 20, 30, 10))
    (exemplar,) = exemplars_of([one])
    assert exemplar.image.shape == (45, 40, 1)
    assert np.array_equal(exemplar.image[:, :, 0], one.image[:45, 5:45])
    assert np.array_equal(exemplar.mask, one.mask[:45, 5:45])


def test_a_neighbour_in_the_picture_is_not_of_the_exemplar() -> None:
    first, second = exemplars_of([sample((10, 10, 8, 8), (10, 30, 8, 8))])
    assert first.mask.sum() == second.mask.sum() == 64


def test_normals_give_none_and_many_are_thinned_evenly() -> None:
    assert exemplars_of([sample()]) == []
    many = exemplars_of([sample((10, 10, 8, 8))] * 2 * MAX_EXEMPLARS)
    assert [one.sample for one in many] == list(range(0, 2 * MAX_EXEMPLARS, 2))


def test_sixteen_bits_are_brought_into_the_range_that_the_camera_uses() -> None:
    (exemplar,) = exemplars_of([sample((10, 10, 8, 8), dtype=np.uint16)])
    assert exemplar.image.dtype == np.uint8
    assert exemplar.image.max() > 150


def test_bytes_go_there_and_back() -> None:
    exemplars = exemplars_of([sample((10, 10, 8, 8), (70, 100, 8, 8)), sample((40, 40, 3, 50))])
    data = exemplars_to_bytes(exemplars)
    again = exemplars_from_bytes(data)
    assert exemplars_to_bytes(again) == data
    assert [one.sample for one in again] == [0, 0, 1]
    for one, other in zip(exemplars, again, strict=True):
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.mask, other.mask)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no safetensors",
        exemplars_to_bytes([]).replace(b"samples", b"examples"),
        exemplars_to_bytes([Exemplar(np.zeros((4, 4, 1), np.uint8), np.zeros((4, 4), np.bool_), 0)]),
        exemplars_to_bytes([Exemplar(np.zeros((4, 4, 2), np.uint8), np.ones((4, 4), np.bool_), 0)]),
    ],
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ExemplarsError):
        exemplars_from_bytes(data)
