"""Outlines and runs become the masks that were meant."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.samples import shapes
from service.samples.shapes import Outline, Runs, Shape, ShapeError, drawn, listed_runs, unpacked_runs


def picture(shape: Shape, height: int = 4, width: int = 6) -> list[str]:
    return ["".join(".#"[int(value)] for value in row) for row in drawn([shape], height, width)]


def test_an_outline_holds_the_pixels_whose_middle_it_holds() -> None:
    assert picture(Outline.of([1, 1, 4, 1, 4, 3, 1, 3])) == ["......", ".###..", ".###..", "......"]
    assert picture(Outline.box(0.6, 0.4, 2.6, 1.4)) == [".##...", "......", "......", "......"]


def test_an_outline_may_reach_beyond_the_image() -> None:
    assert picture(Outline.box(-1e300, -5, 3, 2)) == ["###...", "###...", "......", "......"]
    assert picture(Outline.box(10, 10, 20, 20)) == ["......"] * 4
    assert picture(Outline.box(-20, -20, -10, -10)) == ["......"] * 4


def test_an_outline_thinner_than_a_pixel_does_not_vanish() -> None:
    assert picture(Outline.of([1.1, 0.1, 1.2, 0.1, 1.2, 3.4])) == [".#....", ".#....", ".#....", ".#...."]
    assert picture(Outline.of([0.1, 2.1, 5.9, 2.1, 5.9, 2.2])) == ["......", "......", "######", "......"]


def test_an_outline_that_crosses_itself_has_holes() -> None:
    star = [0, 0, 6, 0, 6, 4, 0, 4, 0, 0, 2, 1, 4, 1, 4, 3, 2, 3, 2, 1]
    assert picture(Outline.of(star)) == ["######", "##..##", "##..##", "######"]


def test_a_circle() -> None:
    assert picture(Outline.ellipse(3, 2, 2, 2)) == ["..##..", ".####.", ".####.", "..##.."]


def test_an_outline_turns_clockwise_around_its_middle() -> None:
    assert picture(Outline.box(1, 1, 5, 3).turned(90)) == ["..##..", "..##..", "..##..", "..##.."]
    corner = Outline.of([1, 0, 5, 0, 5, 4, 4, 4, 4, 1, 1, 1])
    assert picture(corner) == [".####.", "....#.", "....#.", "....#."]
    assert picture(corner.turned("90.0")) == ["....#.", "....#.", "....#.", ".####."]
    assert picture(corner.turned(-90)) == [".####.", ".#....", ".#....", ".#...."]
    assert picture(Outline.ellipse(3, 2, 0.9, 2).turned(90)) == ["......", ".####.", ".####.", "......"]


def test_half_a_right_angle_is_one() -> None:
    corners = Outline.box(-1, -1, 1, 1).turned(45).corners
    root = np.sqrt(2)
    np.testing.assert_allclose(corners, [(0, -root), (root, 0), (0, root), (-root, 0)], atol=1e-12)


def test_outlines_of_any_size_may_be_turned() -> None:
    assert picture(Outline.box(-1e308, 1, 1e308, 3).turned(180)) == ["......", "######", "######", "......"]
    box = Outline.box(0.1, 0.2, 0.7, 0.9)
    assert box.turned(0).corners.tolist() == box.corners.tolist()
    for degrees in ("", "x", float("nan"), None):
        with pytest.raises(ShapeError, match="no coordinate"):
            box.turned(degrees)


@given(st.lists(st.tuples(st.floats(-20, 60), st.floats(-20, 60)), min_size=3, max_size=12))
def test_filling_is_the_even_odd_rule(corners: list[tuple[float, float]]) -> None:
    outline = Outline(np.array(corners))
    expected = even_odd(corners, 30, 40)
    if expected.any():
        np.testing.assert_array_equal(drawn([outline], 30, 40), expected)


def even_odd(corners: Sequence[tuple[float, float]], height: int, width: int) -> NDArray[np.bool_]:
    y, x = np.mgrid[0:height, 0:width] + 0.5
    inside = np.zeros((height, width), np.bool_)
    for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if (y1, x1) > (y2, x2):
            (x1, y1), (x2, y2) = (x2, y2), (x1, y1)
        with np.errstate(all="ignore"):
            crossing = x1 + (x2 - x1) / np.float64(y2 - y1) * (y - y1)
        inside ^= (y1 <= y) & (y < y2) & (crossing <= x)
    return inside


def test_runs_go_by_rows_or_by_columns() -> None:
    lengths = [1, 2, 2, 1]
    assert picture(Runs(1, 1, 3, 2, lengths)) == ["......", "..##..", "...#..", "......"]
    assert picture(Runs(1, 1, 3, 2, lengths, columns=True)) == ["......", "..#...", ".#.#..", "......"]


@pytest.mark.parametrize(
    "runs",
    [
        Runs(0, 0, 3, 2, [1, 2]),
        Runs(0, 0, 3, 2, [7, -1]),
        Runs(0, 0, 3, 2, []),
        Runs(4, 0, 3, 2, [6]),
        Runs(-1, 0, 3, 2, [6]),
        Runs(0, 0, 0, 0, [0]),
        Runs(0, 0, 3, 2, [2**70]),
        Runs(0, 0, 3, 2, [2**62, 2**62, 6]),
        Runs(0, 0, 3, 2, [[0, 6], [0, 0]]),  # type: ignore[list-item]
        Runs(10**4300 - 1, 0, 10**4300 - 1, 2, [6]),
    ],
)
def test_runs_that_do_not_fit_are_refused(runs: Runs) -> None:
    with pytest.raises(ShapeError):
        drawn([runs], 4, 6)


@pytest.mark.parametrize(
    "numbers", [[1, 2, 3, 4], [1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5, float("nan")], ["x"] * 6]
)
def test_outlines_that_are_none_are_refused(numbers: list[object]) -> None:
    with pytest.raises(ShapeError):
        Outline.of(numbers)


def test_too_much_to_draw_is_refused() -> None:
    with pytest.raises(ShapeError, match="corners"):
        Outline.of([0.0] * 200_000)
    with pytest.raises(ShapeError, match="too fine"):
        drawn([Outline(np.array([[i % 7, (i % 2) * 4000] for i in range(5000)], dtype=np.float64))], 4000, 8)
    for flat in ([[i % 2 * 4000, 0.2] for i in range(2000)], [[0.2, i % 2 * 4000] for i in range(2000)]):
        with pytest.raises(ShapeError, match="2,000 corners in all, are too fine"):
            drawn([Outline(np.array(flat))], 4000, 4000)
    with pytest.raises(ShapeError, match="too fine"):
        drawn([Outline(np.array([[0, 0.2], [4000, 0.2], [2000, 0.3]]))] * 1000, 4000, 4000)
    with pytest.raises(ShapeError, match="times over"):
        drawn([Outline.box(0, 0, 6, 4)] * 40, 4, 6)


def test_packed_runs_are_those_of_coco() -> None:
    for lengths in ([6], [0, 6], [3, 1, 2], [100, 5, 90, 7, 88, 2000, 1, 70000]):
        assert list(unpacked_runs(packed(lengths))) == lengths
        assert list(listed_runs(", ".join(map(str, lengths)))) == lengths


@pytest.mark.parametrize("text", ["~~~", "\x00", "PPP", "o" * 40, "ooooooo?"])
def test_damaged_packed_runs_are_refused(text: str) -> None:
    with pytest.raises(ShapeError):
        unpacked_runs(text)


@pytest.mark.parametrize("text", ["", "1,", "1,x", "1.5", "1,2147483648"])
def test_listed_runs_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ShapeError, match="whole numbers"):
        listed_runs(text)


def test_runs_take_little_memory_and_very_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = [1000] * 99
    assert listed_runs(",".join(map(str, lengths))).itemsize == unpacked_runs(packed(lengths)).itemsize == 4
    monkeypatch.setattr(shapes, "_MAX_RUNS", 99)
    assert len(listed_runs("1000," * 98 + "1000")) == len(unpacked_runs(packed(lengths))) == 99
    with pytest.raises(ShapeError, match="more than 99 runs"):
        listed_runs("1000," * 99 + "1000")
    with pytest.raises(ShapeError, match="more than 99 runs"):
        unpacked_runs(packed([*lengths, 1]))


def packed(lengths: list[int]) -> str:
    """As the authors of COCO write them."""
    text = ""
    for i, length in enumerate(lengths):
        number = length - lengths[i - 2] if i > 2 else length
        more = True
        while more:
            digit = number & 31
            number >>= 5
            more = number != (-1 if digit & 16 else 0)
            text += chr(digit + 32 * more + 48)
    return text
