"""``Range`` headers, as RFC 9110 reads them."""

from __future__ import annotations

import pytest

from service.ranges import UnsatisfiableRangeError, requested


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("bytes=0-0", range(1)),
        ("bytes=2-4", range(2, 5)),
        ("bytes=9-", range(9, 10)),
        ("bytes=0-9", range(10)),
        ("bytes=0-999", range(10)),
        (f"bytes=3-{300 * '9'}", range(3, 10)),
        ("bytes=-1", range(9, 10)),
        ("bytes=-10", range(10)),
        ("bytes=-999", range(10)),
        ("BYTES= 2-4 ", range(2, 5)),
    ],
)
def test_a_range_is_cut_to_the_file(header: str, part: range) -> None:
    assert requested([header], 10) == part


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=-0", f"bytes={300 * '9'}-"])
def test_a_range_beyond_the_end_cannot_be_had(header: str) -> None:
    with pytest.raises(UnsatisfiableRangeError):
        requested([header], 10)


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=-5"])
def test_an_empty_file_has_no_ranges(header: str) -> None:
    with pytest.raises(UnsatisfiableRangeError):
        requested([header], 0)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [""],
        ["bytes"],
        ["bytes="],
        ["bytes=-"],
        ["bytes=4-2"],
        ["bytes=a-b"],
        ["bytes=1-2x"],
        ["bytes=٣-٤"],
        ["bytes=+1-2"],
        ["bytes=0-1,4-5"],
        ["bytes=0-1", "bytes=4-5"],
        ["items=0-1"],
        [f"bytes={5000 * '9'}-"],
    ],
)
def test_what_is_no_single_range_gives_the_whole_file(headers: list[str]) -> None:
    assert requested(headers, 10) is None
