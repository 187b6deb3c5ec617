"""Sizes of bins against the normal images that are to show them."""

from __future__ import annotations

import time
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flawsmith.contract.specs import DatasetBin
from flawsmith.contract.wishes import ContrastRange, SizeRange, SizeUnit
from service.problems import ProblemError
from service.sizes import check_bins
from tests.service.plans import source

UNITS: list[tuple[SizeUnit, float]] = [("px", 60), ("um", 5)]
ENDS = (4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
ranges = st.lists(st.sampled_from(ENDS), min_size=2, max_size=2, unique=True).map(sorted)
bins = st.builds(
    lambda ends, unit, contrast: DatasetBin(
        size=SizeRange(min=ends[0], max=ends[1], unit=unit),
        contrast=ContrastRange(min=contrast, max=contrast + 0.2),
        count=1,
    ),
    ranges,
    st.sampled_from(["px", "um"]),
    st.sampled_from([0.1, 0.3]),
)


@given(st.lists(bins, min_size=2, max_size=5), st.lists(st.sampled_from([1.0, 1.25, 1.5, 2.0]), min_size=1))
def test_bins_of_different_units_overlap_where_they_do_for_the_smallest_of_the_pixel_sizes(
    asked: list[DatasetBin], pixel_sizes_um: list[float]
) -> None:
    mixed = [
        (size, first, second)
        for size in pixel_sizes_um
        for (first, one), (second, other) in combinations(enumerate(asked), 2)
        if one.size and other.size and one.size.unit != other.size.unit and one.overlaps(other, size)
    ]
    sources = [source(number, pixel_size_um=size) for number, size in enumerate(pixel_sizes_um)]
    if not mixed:
        check_bins("bins", asked, sources)
        return
    size, first, second = min(mixed)
    with pytest.raises(ProblemError, match=rf"bins {first} and {second} overlap where a pixel is {size:g} µm"):
        check_bins("bins", asked, sources)


def test_ten_thousand_sizes_of_pixels_are_looked_through_at_once() -> None:
    asked = [
        DatasetBin(size=SizeRange(min=low + number, max=low + number + 1, unit=unit), count=1)
        for unit, low in UNITS
        for number in range(16)
    ]
    sources = [source(number, pixel_size_um=1 + number / 1e5) for number in range(10_000)]
    began = time.process_time()
    check_bins("bins", asked, sources)
    assert time.process_time() - began < 2
