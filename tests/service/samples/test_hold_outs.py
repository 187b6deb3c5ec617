"""Hold-outs: read as samples are, with their classes as labels and without a word on teaching."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.samples.errors import SampleError
from service.samples.limits import SampleLimits
from tests.service.samples.sets import mask, normals, pairs, photo, read

TWO_MASKS = {
    "test/pit/0.png": photo(0),
    "ground_truth/pit/0_mask.png": mask(),
    "test/burr/1.png": photo(1),
    "ground_truth/burr/1_mask.png": mask(),
}


def test_classes_are_labels_and_stay_apart(tmp_path: Path) -> None:
    found = read(tmp_path, TWO_MASKS | {"test/good/2.png": photo(2)}, hold_out=True)

    assert {one.source: one.label for one in found.samples} == {"test/pit/0.png": "pit", "test/burr/1.png": "burr"}
    assert found.normals[0].label is None
    assert found.report.classes == {"burr": 1, "pit": 1}
    assert found.warnings == []
    assert found.advice == []


def test_an_image_of_several_classes_is_called_by_all_of_them(tmp_path: Path) -> None:
    shapes = [
        {"label": label, "shape_type": "rectangle", "points": [[left, 5], [left + 9, 20]]}
        for label, left in (("pit", 4), ("burr", 30))
    ]
    content = {
        "0.png": photo(0),
        "0.json": {"shapes": shapes, "imagePath": "0.png", "imageWidth": 64, "imageHeight": 48},
    }

    assert [one.label for one in read(tmp_path, content, hold_out=True).samples] == ["burr, pit"]


def test_one_defective_photo_is_a_hold_out_too(tmp_path: Path) -> None:
    assert read(tmp_path, pairs(1) | normals(1), hold_out=True).warnings == []


def test_good_photos_that_are_too_many_are_thinned(tmp_path: Path) -> None:
    limits = SampleLimits(max_normals=2)
    found = read(tmp_path, pairs(1) | normals(4), limits=limits, hold_out=True)

    assert len(found.normals) == 2
    assert found.warnings == ["of 4 normal images 2 are taken, evenly spread"]


def test_what_is_wrong_with_it_is_said_of_the_hold_out(tmp_path: Path) -> None:
    with pytest.raises(SampleError, match=r"at most 1 are accepted. Leave some out.") as caught:
        read(tmp_path, pairs(2), limits=SampleLimits(max_samples=1), hold_out=True)
    assert caught.value.field == "hold_out"


def test_without_some_photos_the_report_is_of_the_others(tmp_path: Path) -> None:
    whole = read(tmp_path, pairs(2) | normals(2), hold_out=True)
    assert whole.without(set(), "they are known") is whole
    out = {whole.samples[0].group, whole.normals[1].group}
    left = whole.without(out, "they are known")

    assert [one.source for one in left.samples] == ["images/001.png"]
    assert [one.source for one in left.normals] == ["good/000.png"]
    assert [entry.source for entry in left.report.samples] == ["images/001.png"]
    assert (left.report.normals, left.report.sizes[0].count) == (1, 2)
    assert left.warnings == ["left out, for they are known (2): images/000.png, good/001.png"]
    assert left.report.warnings == left.warnings
    assert len(whole.samples) == 2
