"""Patterns of names tell which part a photo shows."""

from __future__ import annotations

import time

import pytest

from service.samples.parts import PartError, parts_of


@pytest.mark.parametrize(
    ("pattern", "name", "part"),
    [
        ("{part}_*", "images/b17_2.png", "b17"),
        ("{part}_*", "b17_top_2.png", "b17"),
        ("{part}_cam*", "board_17_cam2.jpg", "board_17"),
        ("line*-{part}", "line 4-b17.tif", "b17"),
        ("line*-{part}.v*", "line-b17.v2.png", "b17"),
        ("{part}/*", "test/good/b17/left.png", "b17"),
        ("{part}/cam*", "b17/cam3.bmp", "b17"),
        ("{part}", "good/b17.png", "b17"),
        ("a+(b)[{part}]", "a+(b)[7].png", "7"),
        ("Pr\u00fcf_{part}", "Pru\u0308f_7.png", "7"),
        ("Pru\u0308f_{part}", "Pr\u00fcf_7.png", "7"),
    ],
)
def test_a_part_is_as_short_as_the_pattern_lets_it_be(pattern: str, name: str, part: str) -> None:
    assert parts_of(pattern, [name]) == [part]


@pytest.mark.parametrize(
    ("pattern", "name"),
    [("{part}_*", "b17.png"), ("{part}_*", "_1.png"), ("{part}/*", "b17.png"), ("{part}_*", "b17_1/cam.png")],
)
def test_a_name_that_does_not_fit_is_told(pattern: str, name: str) -> None:
    with pytest.raises(PartError, match=r"\.png' does not fit"):
        parts_of(pattern, ["b1_1.png" if "_" in pattern else "b/1.png", name])


def test_no_name_takes_long() -> None:
    began = time.process_time()
    with pytest.raises(PartError):
        parts_of("{part}" + "a*" * 90 + "b", ["a" * 5000])
    assert time.process_time() - began < 5  # tried every way it would not end
