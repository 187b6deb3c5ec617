"""Ranges of sizes and contrasts: what they are and refuse, how they are typed, and that they are sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import typer
from pydantic import ValidationError

from flawsmith.cli.ranges import as_contrast, as_size, bin_words
from flawsmith.client.augmentations import Defect, Subject, augment
from flawsmith.contract.resolved import ResolvedDefect
from flawsmith.contract.specs import DatasetBin, DatasetEntry, overlapping
from flawsmith.contract.wishes import ContrastRange, SizeRange

UPLOADS = ["sha256:" + 64 * digit for digit in "123"]
DEFECT: dict[str, Any] = {
    "defect_type": "scratch",
    "defect_type_version": 1,
    "defect_type_tenant": "builtin",
    "severity": 0.5,
    "guidance": 1.0,
    "steps": 20,
    "seed_share": 0.7,
    "part": "part",
    "min_quality": 0.3,
    "mask": "drawn",
}


def of(low: float, high: float, unit: Any = "px", **others: Any) -> DatasetBin:
    return DatasetBin(size=SizeRange(min=low, max=high, unit=unit), count=1, **others)


def strength(low: float, high: float) -> ContrastRange:
    return ContrastRange(min=low, max=high)


def test_micrometres_become_pixels_where_a_pixel_is_known() -> None:
    size = SizeRange(min=50, max=200, unit="um")
    assert size.pixels(12.5) == (4.0, 16.0)
    assert SizeRange(min=50, max=200).pixels(None) == (50, 200)
    with pytest.raises(ValueError, match="needs pixel_size_um"):
        size.pixels(None)


@pytest.mark.parametrize(
    ("low", "high", "fits"), [(1, 3.9, False), (1, 4, True), (100, 200, True), (101, 200, False), (2, 500, True)]
)
def test_a_size_fits_an_image_that_can_show_some_of_it(low: float, high: float, fits: bool) -> None:
    assert SizeRange(min=low, max=high).fits(60, 80, None) is fits


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"size": {"min": 20, "max": 20}, "count": 1}, "min must be below max; got 20 and 20"),
        ({"size": {"min": 0, "max": 20}, "count": 1}, "greater than 0"),
        ({"size": {"min": 1, "max": 2, "unit": "mm"}, "count": 1}, "'px' or 'um'"),
        ({"contrast": {"min": 0.3, "max": 0.1}, "count": 1}, "min must be below max"),
        ({"contrast": {"min": 0, "max": 1.5}, "count": 1}, "less than or equal to 1"),
        ({"size": {"min": 1, "max": 2}, "count": 0}, "greater than or equal to 1"),
        ({"size": {"min": 1, "max": 2}}, "either count"),
        ({"size": {"min": 1, "max": 2}, "count": 1, "per_image": 1}, "either count"),
        ({"count": 1}, "a size, a contrast, or both"),
    ],
)
def test_bins_that_say_nothing_that_can_be_are_refused(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        DatasetBin.model_validate(values)


def test_bins_overlap_where_both_their_sizes_and_contrasts_do() -> None:
    assert overlapping([of(20, 50), of(50, 200)]) is None, "one begins where the other ends"
    assert overlapping([of(50, 200), of(20, 51)]) == (0, 1)
    weak, strong = strength(0.05, 0.1), strength(0.1, 0.2)
    assert overlapping([of(20, 50, contrast=weak), of(20, 50, contrast=strong)]) is None
    assert overlapping([of(20, 50, contrast=weak), of(60, 70), of(20, 50)]) == (0, 2), "without one it has any"
    assert overlapping([DatasetBin(contrast=weak, count=1), of(1, 2)]) == (0, 1)
    micrometres = [of(20, 50), of(200, 400, "um")]
    assert overlapping(micrometres) is None, "nobody knows yet"
    assert not micrometres[0].overlaps(micrometres[1], 4.0)
    assert micrometres[0].overlaps(micrometres[1], 5.0)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"count": 3}, "either count, items in all, or per_image, or bins"),
        ({"defect_type": None, "defects": [{"defect_type": "dent"}]}, "bins are of a single defect"),
        ({"bins": []}, "at least 1 item"),
        ({"bins": [of(1, 3), of(5, 9), of(2, 4)]}, "bins 0 and 2 overlap"),
    ],
)
def test_an_entry_has_bins_of_one_defect_in_place_of_a_count(changes: dict[str, Any], complaint: str) -> None:
    entry: dict[str, Any] = {"defect_type": "scratch", "bins": [of(20, 50)]}
    assert DatasetEntry.model_validate(entry).bins == [of(20, 50)]
    with pytest.raises(ValidationError, match=complaint):
        DatasetEntry.model_validate(entry | changes)


def test_what_nobody_asked_for_is_not_written() -> None:
    assert ResolvedDefect.model_validate(DEFECT).model_dump(mode="json") == DEFECT
    sized = ResolvedDefect.model_validate(DEFECT | {"size": {"min": 2, "max": 3}})
    assert sized.model_dump(mode="json") == DEFECT | {"size": {"min": 2.0, "max": 3.0, "unit": "px"}}
    assert ResolvedDefect.model_validate_json(sized.model_dump_json()) == sized


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("20..50", SizeRange(min=20, max=50)),
        (" 2.5 .. 5e1 px ", SizeRange(min=2.5, max=50)),
        ("50..200um", SizeRange(min=50, max=200, unit="um")),
        ("50..200µm", SizeRange(min=50, max=200, unit="um")),
    ],
)
def test_sizes_are_typed_as_people_read_them(text: str, wanted: SizeRange) -> None:
    assert as_size(text, "--size") == wanted
    assert as_size(bin_words(wanted, None), "--size") == wanted


def test_contrasts_are_typed_without_a_unit() -> None:
    assert as_contrast("0..0.2", "--contrast") == strength(0, 0.2)
    assert bin_words(None, strength(0.05, 0.2)) == "contrast 0.05..0.2"


@pytest.mark.parametrize(
    ("read", "text", "complaint"),
    [
        (as_size, "2-9", r"--of '2-9' is no range; give one such as 20\.\.50"),
        (as_size, "9..2", "min must be below max"),
        (as_contrast, "0.1..0.2px", "is no range"),
        (as_contrast, "0.1..1e.2", "is no range"),
    ],
)
def test_what_is_no_range_is_refused(read: Callable[[str, str], object], text: str, complaint: str) -> None:
    with pytest.raises(typer.BadParameter, match=complaint):
        read(text, "--of")


def test_the_client_sends_the_wishes_of_each_defect() -> None:
    size, contrast = {"min": 2, "max": 3, "unit": "um"}, {"min": 0.1, "max": 0.2}
    one = augment(Subject(b"image", b"mask", "scratch"), {"size": size, "contrast": strength(0.1, 0.2)}, None)
    assert {name: json.loads(one.form[name]) for name in ("size", "contrast")} == {
        "size": size,
        "contrast": contrast,
    }

    defects = [Defect("scratch", UPLOADS[1], size=size), Defect("dent", UPLOADS[2], contrast=contrast)]
    several = augment(Subject(UPLOADS[0], defects=defects), {}, None)
    assert isinstance(several.json, dict)
    assert several.json["defects"] == [
        {"defect_type": "scratch", "size": size, "mask": UPLOADS[1]},
        {"defect_type": "dent", "contrast": contrast, "mask": UPLOADS[2]},
    ]
