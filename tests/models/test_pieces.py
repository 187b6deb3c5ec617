"""Pieces of masks: as long as asked, of one region, and within what was sent."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from models.measures import length_of
from models.pieces import piece
from models.placement.drawn import PlacementError

Mask = NDArray[np.bool_]


def area() -> Mask:
    mask = np.zeros((160, 200), dtype=np.bool_)
    mask[20:120, 30:180] = True
    return mask


def bow() -> Mask:
    """A line two pixels wide, bent."""
    y, x = np.indices((160, 200))
    far = np.hypot(y - 150, x - 100)
    return np.asarray((far > 100) & (far < 102))


@pytest.mark.parametrize("sent", [area(), bow()], ids=["area", "line"])
@pytest.mark.parametrize("length", [6.0, 20.0, 60.0])
def test_a_piece_is_a_connected_part_about_as_long_as_asked(sent: Mask, length: float) -> None:
    found = [piece(sent, length, key).mask for key in range(12)]
    assert len({mask.tobytes() for mask in found}) > 6, "they lie in different places"
    for mask in found:
        assert not (mask & ~sent).any()
        assert ndimage.label(mask, np.ones((3, 3)))[1] == 1
        assert 0.8 * length <= length_of(mask) <= length + 1.6


def test_equal_keys_give_equal_pieces() -> None:
    assert np.array_equal(piece(area(), 30, 5).mask, piece(area(), 30, 5).mask)


def test_a_region_that_is_just_long_enough_is_taken_whole_and_a_shorter_one_never() -> None:
    mask = np.zeros((60, 200), dtype=np.bool_)
    mask[10, 5:95], mask[40:50, 150:160] = True, True
    found = piece(mask, 90.0, 1).mask
    assert found[40:50].sum() == 0
    assert length_of(found) >= 72


def test_specks_beside_a_region_are_passed_over() -> None:
    mask = np.zeros((200, 200), dtype=np.bool_)
    mask[::4, ::2] = True
    mask[100] = False
    mask[100, 40:80] = True
    assert all(length_of(piece(mask, 30.0, key).mask) >= 28 for key in range(6))


def test_a_mask_that_is_too_small_says_what_would_help() -> None:
    with pytest.raises(PlacementError, match=r"no piece of the mask is 400 pixels long.*send a larger mask"):
        piece(area(), 400.0, 1)
