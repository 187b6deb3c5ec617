"""What a set holds is told by its content, whatever tool made it."""

from __future__ import annotations

import json
import time
import unicodedata
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from service.samples import annotations, recognising
from service.samples.archive import Archive
from service.samples.coco import coco
from service.samples.cvat import cvat
from service.samples.errors import SampleError
from service.samples.folders import normal_images
from service.samples.labelme import labelme
from service.samples.layouts import FoundImage, Layout, Names
from service.samples.limits import SampleLimits
from service.samples.recognising import recognise_normals
from service.samples.references import Reference, meant
from service.samples.shapes import drawn
from tests.service.samples.sets import layout, zipped
from tests.service.samples.test_shapes import packed

X = b"x"
"""No layout is told by what is in an image."""


def masks(found: Layout) -> dict[str, list[str | None]]:
    return {image.name: [region.mask for region in image.regions] for image in found.images}


def pixels(image: FoundImage, height: int = 10, width: int = 12) -> int:
    shapes = [region.shape for region in image.regions if region.shape is not None]
    return int(drawn(shapes, height, width).sum())


def test_mvtec_layout(tmp_path: Path) -> None:
    names = [
        "bottle/ground_truth/crack/000_mask.png",
        "bottle/ground_truth/stain/000_mask.png",
        "bottle/test/crack/000.png",
        "bottle/test/good/000.png",
        "bottle/test/stain/000.jpg",
        "bottle/train/good/000.png",
        "bottle/license.txt",
    ]
    found = layout(tmp_path, dict.fromkeys(names, X))
    assert found.kind == "mvtec"
    assert masks(found) == {
        "bottle/test/crack/000.png": ["bottle/ground_truth/crack/000_mask.png"],
        "bottle/test/stain/000.jpg": ["bottle/ground_truth/stain/000_mask.png"],
        "bottle/test/good/000.png": [],
        "bottle/train/good/000.png": [],
    }
    assert found.classes() == {"crack": 1, "stain": 1}
    assert found.notes == []


@pytest.mark.parametrize("above", ["./", "a//", "./a/./"])
def test_paths_may_be_written_in_any_way(tmp_path: Path, above: str) -> None:
    for number, names in enumerate(
        [
            ["ground_truth/crack/000_mask.png", "test/crack/000.png", "train/good/001.png"],
            ["masks/000.png", "images/000.png", "good/001.png"],
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        found = layout(folder, dict.fromkeys([above + name for name in names], X))
        root = above.replace("./", "").replace("//", "/")
        assert masks(found) == {f"{root}{names[1]}": [f"{root}{names[0]}"], f"{root}{names[2]}": []}


NFC, NFD = "Prüfling", unicodedata.normalize("NFD", "Prüfling")


@pytest.mark.parametrize(("image", "mask"), [(NFC, NFD), (NFD, NFC)])
def test_names_match_however_their_accents_are_spelled(tmp_path: Path, image: str, mask: str) -> None:
    found = layout(tmp_path, dict.fromkeys([f"images/{image}.png", f"masks/{mask}.png"], X))
    assert masks(found) == {f"images/{NFC}.png": [f"masks/{NFC}.png"]}
    said = coco_file(images=[{"id": 1, "file_name": f"{mask}.png"}])
    found = layout(tmp_path, {f"{image}.png": X, f"{mask}.json": said})
    assert [image.name for image in found.images] == [f"{NFC}.png"]
    found = layout(tmp_path, dict.fromkeys([f"ground_truth/{image}/1_mask.png", f"test/{mask}/1.png"], X))
    assert [len(found.only(label).images) for label in (image, mask)] == [1, 1]


def test_mvtec_layout_with_several_masks_of_an_image(tmp_path: Path) -> None:
    names = ["ground_truth/logical/005/000.png", "ground_truth/logical/005/001.png", "test/logical/005.png"]
    found = layout(tmp_path, dict.fromkeys(names, X))
    assert masks(found) == {"test/logical/005.png": names[:2]}


def test_what_has_no_partner_is_left_out_and_told(tmp_path: Path) -> None:
    names = [
        "ground_truth/crack/000_mask.png",
        "ground_truth/crack/009_mask.png",
        "test/crack/000.png",
        "test/crack/001.png",
        "extra/001.png",
    ]
    found = layout(tmp_path, dict.fromkeys(names, X))
    assert list(masks(found)) == ["test/crack/000.png"]
    assert [note.partition(":")[2].strip() for note in found.notes] == [
        "test/crack/001.png",
        "ground_truth/crack/009_mask.png",
        "extra/001.png",
    ]


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/001.jpg", "masks/001.png"),
        ("images/001.jpg", "masks/001_mask.png"),
        ("line 3/Images/a/001.jpg", "line 3/Masks/a/001.png"),
        ("001.jpg", "masks/001.png"),
        ("001.jpg", "001_mask.png"),
        ("a/001.JPG", "a/001-MASK.PNG"),
        ("img/001.tif", "labels/001.bmp"),
        ("images/001.png", "ground_truth/001.png"),
    ],
)
def test_pairs(tmp_path: Path, image: str, mask: str) -> None:
    found = layout(tmp_path, dict.fromkeys([mask, image, "good/002.png"], X))
    assert found.kind == "pairs"
    assert masks(found) == {image: [mask], "good/002.png": []}
    assert found.classes() == {}


def test_two_images_of_one_mask_are_refused(tmp_path: Path) -> None:
    names = ["images/001.jpg", "images/001.png", "masks/001.png"]
    with pytest.raises(SampleError, match=r"images/001\.jpg, images/001\.png"):
        layout(tmp_path, dict.fromkeys(names, X))


@pytest.mark.parametrize("names", [["a.txt"], ["images/1.png", "images/2.png"], ["masks/1.zip"]])
def test_without_defects_the_layouts_are_explained(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(SampleError, match="images/ and masks/") as caught:
        layout(tmp_path, dict.fromkeys(names, X))
    assert caught.value.field == "samples"


def test_archives_in_the_archive_and_strange_files_are_left_out_and_told(tmp_path: Path) -> None:
    names = ["images/1.png", "masks/1.png", "more.zip", "a/old.tar.gz", "1.heic", "notes.txt", "results.csv"]
    found = layout(tmp_path, dict.fromkeys(names, X))
    assert len(found.images) == 1
    assert [note.partition(":")[2].strip() for note in found.notes] == ["more.zip, a/old.tar.gz", "1.heic"]


def coco_file(**changes: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "1.png"}, {"id": 2, "file_name": "2.png"}],
        "categories": [{"id": 7, "name": "scratch"}, {"id": 8, "name": "dent"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 7, "segmentation": [[0, 0, 4, 0, 4, 2, 0, 2]]},
            {"id": 2, "image_id": 1, "category_id": 8, "segmentation": [[6, 6, 8, 6, 8, 8, 6, 8]]},
        ],
    } | changes


@pytest.mark.parametrize("folder", ["", "images/", "data/images/"])
def test_coco(tmp_path: Path, folder: str) -> None:
    content = {f"{folder}1.png": X, f"{folder}2.png": X, "annotations/instances.json": coco_file()}
    found = layout(tmp_path, content)
    assert found.kind == "coco"
    assert [image.name for image in found.images] == [f"{folder}1.png", f"{folder}2.png"]
    assert [pixels(image) for image in found.images] == [12, 0]
    assert found.classes() == {"dent": 1, "scratch": 1}


def test_coco_by_runs_packed_runs_and_boxes(tmp_path: Path) -> None:
    lengths = [30, 5, 85]
    shapes: list[dict[str, Any]] = [
        {"segmentation": {"size": [10, 12], "counts": lengths}},
        {"segmentation": {"size": [10, 12], "counts": packed(lengths)}},
        {"segmentation": [], "bbox": [1, 2, 5, 1]},
        {"bbox": [1, 2, 5, 1]},
    ]
    for number, shape in enumerate(shapes):
        annotation = {"image_id": 1, "category_id": 7} | shape
        found = layout(tmp_path, {"1.png": X, "2.png": X, "a.json": coco_file(annotations=[annotation])})
        assert pixels(found.images[0]) == 5
        assert [region.is_box for region in found.images[0].regions] == [number >= 2]


def test_coco_images_that_are_not_there_are_told(tmp_path: Path) -> None:
    found = layout(tmp_path, {"1.png": X, "3.png": X, "a.json": coco_file()})
    assert [image.name for image in found.images] == ["1.png"]
    assert any("2.png" in note for note in found.notes)
    assert any("3.png" in note and "no annotation" in note for note in found.notes)


@pytest.mark.parametrize(
    "changes",
    [
        {"annotations": [{"image_id": 9, "segmentation": []}]},
        {"annotations": [{"image_id": 1, "category_id": 7}]},
        {"annotations": [{"image_id": 1, "category_id": 7, "segmentation": [[1, 2, 3]]}]},
        {"annotations": [{"image_id": 1, "category_id": 7, "segmentation": {"size": [1], "counts": [1]}}]},
        {"annotations": [{"image_id": 1, "segmentation": {"size": [4, 4], "counts": 5}}]},
        {"annotations": [{"image_id": 1, "segmentation": {"size": [float("inf"), 4], "counts": [1]}}]},
        {"annotations": [{"image_id": 1, "bbox": [10**400, 1, 2, 3]}]},
        {"annotations": [{"image_id": 1, "bbox": ["x" * 1000, 1, 2, 3]}]},
        {"annotations": [[]]},
        {"images": [5]},
        {"images": [{"id": [], "file_name": "1.png"}]},
        {"categories": {"a": 1}},
        {"categories": None},
    ],
)
def test_coco_that_is_none_is_refused_by_name(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(SampleError, match=r"coco/a\.json") as caught:
        layout(tmp_path, {"coco/1.png": X, "coco/a.json": coco_file(**changes)})
    assert len(caught.value.detail) < 300


NESTED: list[Any] = []
for _ in range(5000):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    "changes",
    [
        {"categories": [{"id": 7, "name": NESTED}]},
        {"images": [{"id": 1, "file_name": NESTED}]},
        {"annotations": [{"id": NESTED, "image_id": 1, "bbox": [1, 1, 2, 2]}]},
        {"annotations": [{"image_id": 1, "segmentation": [[NESTED]]}]},
    ],
)
def test_coco_whose_texts_are_nested_too_deep_is_refused_by_name(changes: dict[str, Any]) -> None:
    with pytest.raises(SampleError, match=r"a\.json is not as COCO wants it \(RecursionError"):
        coco({"a.json": coco_file(**changes)}, Names(["1.png"]))


BOXED = '<image name="1.png"><box label="dent" xtl="1" ytl="1" xbr="3" ybr="3"/></image>'


def test_many_entries_of_one_image_take_no_longer_than_others() -> None:
    count = 30_000
    images = [{"id": number, "file_name": "1.png"} for number in range(count)]
    annotations = [{"image_id": number, "bbox": [1, 1, 2, 2]} for number in range(count)]
    strange = "".join(f'<k{number} label="a"/>' for number in range(count))
    root = ElementTree.fromstring(
        f'<annotations><image name="2.png">{strange}</image>{count * BOXED}</annotations>'
    )
    names = Names(["1.png", "2.png"])
    began = time.process_time()
    found = coco({"a.json": coco_file(images=images, annotations=annotations)}, names)
    assert [len(image.regions) for image in found.images] == [count]
    assert [len(image.regions) for image in cvat({"a.xml": root}, names).images] == [count]
    assert time.process_time() - began < 20  # copying for each what was found before takes a minute


def labelme_file(*shapes: dict[str, Any], image: str = "1.png") -> dict[str, Any]:
    return {"version": "5.5.0", "imagePath": image, "shapes": list(shapes), "imageData": "eA=="}


def test_labelme(tmp_path: Path) -> None:
    polygon = {"label": "scratch", "shape_type": "polygon", "points": [[0, 0], [4, 0], [4, 2], [0, 2]]}
    box = {"label": "dent", "shape_type": "rectangle", "points": [[6, 6], [8, 8]]}
    circle = {"label": "dent", "shape_type": "circle", "points": [[8, 5], [8, 3]]}
    point = {"label": "dent", "shape_type": "point", "points": [[6, 6]]}
    found = layout(
        tmp_path,
        {
            "a/1.png": X,
            "a/1.json": labelme_file(polygon),
            "a/2.png": X,
            "a/2.json": labelme_file(box, point, image="C:\\photos\\2.png"),
            "a/3.png": X,
            "a/3.json": labelme_file(image="..\\a\\3.png"),
            "a/4.png": X,
            "a/4.json": labelme_file(point, image="4.png"),
            "a/5.png": X,
            "a/5.json": labelme_file(circle, image="5.png"),
        },
    )
    assert found.kind == "labelme"
    assert {image.name: pixels(image) for image in found.images} == {
        "a/1.png": 8,
        "a/2.png": 4,
        "a/3.png": 0,
        "a/5.png": 12,
    }
    assert any("2 shapes of the kind point" in note for note in found.notes)
    assert found.classes() == {"dent": 2, "scratch": 1}


@pytest.mark.parametrize(
    "shape",
    [
        {"shape_type": "polygon", "points": [[0, 0], [1, 1], [2, 0]]},
        {"label": "a", "shape_type": "polygon", "points": [[0, 0], [1, 1]]},
        {"label": "a", "shape_type": "polygon", "points": [[0], [1], [2]]},
        {"label": "a", "shape_type": "polygon", "points": 5},
        {"label": "a", "shape_type": "circle", "points": [[1, 1]]},
        {"label": "a", "shape_type": "circle", "points": [[10**400, 1], [2, 2]]},
        {"label": "a", "shape_type": "circle", "points": [["x" * 1000, 1], [2, 2]]},
        {"label": "a", "shape_type": "rectangle", "points": []},
        5,
    ],
)
def test_labelme_that_is_none_is_refused_by_name(tmp_path: Path, shape: Any) -> None:
    with pytest.raises(SampleError, match=r"a/1\.json: shape 0") as caught:
        layout(tmp_path, {"a/1.png": X, "a/1.json": labelme_file(shape)})
    assert len(caught.value.detail) < 300


@pytest.mark.parametrize("at", ["label", "shape_type"])
def test_labelme_whose_texts_are_nested_too_deep_is_refused_by_name(at: str) -> None:
    shape = {"label": "a", "shape_type": "polygon", "points": [[0, 0], [1, 1], [2, 0]], at: NESTED}
    with pytest.raises(SampleError, match=r"a\.json: shape 0 is not as LabelMe writes it"):
        labelme({"a.json": labelme_file(shape)}, Names(["1.png"]))


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <image id="0" name="sub/1.png" width="12" height="10">
    <polygon label="scratch" points="0.00,0.00;4.00,0.00;4.00,2.00;0.00,2.00" z_order="0"></polygon>
    <mask label="dent" rle="1, 2, 2, 1" left="1" top="5" width="3" height="2"></mask>
    <tag label="seen" source="manual"></tag>
  </image>
  <image id="1" name="sub/2.png" width="12" height="10">
    <box label="dent" xtl="1.0" ytl="1.0" xbr="3.0" ybr="3.0"></box>
    <ellipse label="dent" cx="8" cy="5" rx="2" ry="2"></ellipse>
  </image>
  <image id="2" name="sub/3.png" width="12" height="10"></image>
  <image id="3" name="sub/4.png" width="12" height="10"><polyline label="dent" points="1,1;2,2"></polyline></image>
</annotations>
"""


def test_cvat(tmp_path: Path) -> None:
    content: dict[str, bytes | str] = {f"images/sub/{number}.png": X for number in range(1, 5)}
    found = layout(tmp_path, content | {"annotations.xml": CVAT})
    assert found.kind == "cvat"
    assert {image.name: pixels(image) for image in found.images} == {
        "images/sub/1.png": 8 + 3,
        "images/sub/2.png": 4 + 12,
        "images/sub/3.png": 0,
    }
    assert [region.is_box for image in found.images for region in image.regions] == [False, False, True, False]
    assert any("1 shapes of the kind polyline" in note for note in found.notes)


def test_cvat_turns_boxes_and_ellipses(tmp_path: Path) -> None:
    turned = CVAT.replace('<box label="dent" xtl="1.0" ytl="1.0" xbr="3.0" ybr="3.0">', TURNED_BOX)
    turned = turned.replace('<ellipse label="dent" cx="8" cy="5" rx="2" ry="2">', TURNED_ELLIPSE)
    image = layout(tmp_path, {"sub/2.png": X, "annotations.xml": turned}).images[0]
    box, ellipse = (drawn([region.shape], 10, 12) for region in image.regions if region.shape is not None)
    for mask, (left, top, right, bottom) in ((box, (2, 0, 4, 6)), (ellipse, (7, 2, 9, 8))):
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        assert (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) == (left, top, right, bottom)


TURNED_BOX = '<box label="dent" xtl="0.00" ytl="2.00" xbr="6.00" ybr="4.00" rotation="90.00">'
TURNED_ELLIPSE = '<ellipse label="dent" cx="8.00" cy="5.00" rx="3.20" ry="1.00" rotation="270.00">'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('rle="1, 2, 2, 1"', 'rle="1, x"'),
        ('rle="1, 2, 2, 1"', ""),
        ("4.00,2.00", "4.00"),
        ('label="scratch"', ""),
        ('xtl="1.0"', 'xtl="inf"'),
        ('xtl="1.0"', 'xtl="1.0" rotation="left"'),
        ('width="3"', 'width="' + 5000 * "9" + '"'),
    ],
)
def test_cvat_that_is_none_is_refused_by_name(tmp_path: Path, old: str, new: str) -> None:
    with pytest.raises(SampleError, match=r"annotations\.xml: a \w+ on sub/\d\.png"):
        layout(tmp_path, {"sub/1.png": X, "sub/2.png": X, "annotations.xml": CVAT.replace(old, new)})


BOMB = """<?xml version="1.0"?>
<!DOCTYPE annotations [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<annotations><image name="&b;"/></annotations>
"""


@pytest.mark.parametrize(
    "text", [BOMB, "<annotations>", "", "<annotations>\x00</annotations>", BOMB.encode("utf-16")]
)
def test_broken_xml_and_entities_are_refused_by_name(tmp_path: Path, text: str | bytes) -> None:
    with pytest.raises(SampleError, match=r"a\.xml is no valid XML"):
        layout(tmp_path, {"1.png": X, "a.xml": text})


@pytest.mark.parametrize("text", ["{", "[" * 100_000, '{"images": NaN', b"\xff\xfe"])
def test_broken_json_is_refused_by_name(tmp_path: Path, text: str | bytes) -> None:
    with pytest.raises(SampleError, match=r"a\.json is no valid JSON"):
        layout(tmp_path, {"1.png": X, "a.json": text})


def test_annotations_with_absurdly_many_values_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SampleError, match="more than 4,000,000 values"):
        layout(tmp_path, {"1.png": np.random.default_rng(0).bytes(200_000), "a.json": "[" + "[],[1]," * 1_000_000})


def test_annotations_too_large_together_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = json.dumps(coco_file())
    monkeypatch.setattr(annotations, "MAX_BYTES", 2 * len(file))
    content = {"1.png": X, "2.png": X, "a.json": file, "b.json": file}
    layout(tmp_path, content)
    for name in ("c.json", "c.xml"):
        with pytest.raises(
            SampleError, match=rf"up to {name} the annotations take more than [\d,]+ bytes"
        ) as caught:
            layout(tmp_path, content | {name: "[{}]" if name == "c.json" else "<a/>"})
        assert caught.value.field == "samples"


def test_photos_in_annotations_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annotations, "MAX_BYTES", 1000)
    content: dict[str, Any] = {}
    for name in ("1", "2", "3"):
        content[f"{name}.png"] = X
        content[f"{name}.json"] = labelme_file(image=f"{name}.png") | {"imageData": 5000 * "A"}
    content["4.json"] = {"imageData": 5000 * ["A"]}
    with pytest.raises(SampleError, match=r"up to 4\.json"):
        layout(tmp_path, content)
    content["4.json"] = {"imageData": None}
    assert layout(tmp_path, content).kind == "labelme"


def test_of_coco_only_what_is_read_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[dict[str, dict[str, Any]]] = []

    def spied(documents: dict[str, dict[str, Any]], names: Names) -> Layout:
        kept.append(documents)
        return coco(documents, names)

    monkeypatch.setattr(recognising, "coco", spied)
    layout(tmp_path, {"1.png": X, "2.png": X, "a.json": coco_file(info=["x"], licenses=[])})
    assert kept == [{"a.json": coco_file()}]


def test_json_of_other_tools_is_passed_over(tmp_path: Path) -> None:
    content: dict[str, Any] = {
        "images/1.png": X,
        "masks/1.png": X,
        "settings.json": {"images": 5},
        "a.xml": "<a/>",
    }
    assert layout(tmp_path, content).kind == "pairs"


def test_annotations_count_before_folders(tmp_path: Path) -> None:
    content: dict[str, Any] = {"images/1.png": X, "masks/1.png": X, "good/2.png": X, "a.json": coco_file()}
    found = layout(tmp_path, content)
    assert found.kind == "coco"
    assert [image.name for image in found.images] == ["images/1.png", "good/2.png"]
    assert any("masks/1.png" in note for note in found.notes)


def test_a_label_picks_one_class(tmp_path: Path) -> None:
    found = layout(tmp_path, {"1.png": X, "2.png": X, "a.json": coco_file()})
    scratch = found.only("scratch")
    assert [pixels(image) for image in scratch.images] == [8, 0]
    assert any("1 images show other classes beside scratch" in note for note in scratch.notes)
    every = found.only(None)
    assert [pixels(image) for image in every.images] == [12, 0]
    assert any("dent (1), scratch (1)" in note for note in every.notes)


def test_images_with_other_defects_alone_are_neither_samples_nor_normal(tmp_path: Path) -> None:
    names = ["ground_truth/a/1_mask.png", "ground_truth/b/1_mask.png", "test/a/1.png", "test/b/1.png"]
    assert [image.name for image in layout(tmp_path, dict.fromkeys(names, X)).only("b").images] == ["test/b/1.png"]


def test_a_label_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(SampleError, match="no class hole: it has dent, scratch") as caught:
        layout(tmp_path, {"1.png": X, "2.png": X, "a.json": coco_file()}).only("hole")
    assert caught.value.field == "label"
    with pytest.raises(SampleError, match="names none"):
        layout(tmp_path, {"images/1.png": X, "masks/1.png": X}).only("hole")


def test_references_are_found_by_the_end_of_their_path_unless_two_fit() -> None:
    names = Names(["a/1.png", "b/1.png", "b/2.png"])
    assert names.find("b/1.png", "x/a.json") == "b/1.png"
    assert names.find("/home/me/photos/2.png", "a.json") == "b/2.png"
    assert names.find("1.png", "a.json") is None
    assert names.find("1.png", "a/a.json") == "a/1.png"
    assert names.find("", "a.json") is None
    assert names.find("../../1.png", "a/a.json") is None
    assert names.find(3000 * "x/" + "b/2.png", "a.json") is None


def test_many_names_alike_are_found_as_fast_as_others() -> None:
    names = Names([f"a/{number}/x.png" for number in range(20_000)])
    began = time.process_time()
    for number in range(5_000):
        assert names.find(f"b/{number}/x.png", "c/d.json") is None
        assert names.find(f"../{number}/x.png", "c/d.json") == f"a/{number}/x.png"
    assert time.process_time() - began < 15  # looking at each of them for each reference takes a minute or more


def test_images_that_are_not_there_leave_those_called_alike_alone(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "cam1/1.png"}, {"id": 2, "file_name": "cam2/1.png"}]
    shape = {"label": "a", "points": [[0, 0], [4, 0], [4, 2], [0, 2]]}
    lot = '<annotations><image name="cam1/1.png">{}</image><image name="cam2/1.png"/></annotations>'
    for number, said in enumerate(
        (
            {"a.json": coco_file(images=images)},
            {"a.xml": lot.format('<box label="dent" xtl="1" ytl="1" xbr="3" ybr="3"/>')},
            {"cam1/1.json": labelme_file(shape), "cam2/1.json": labelme_file()},
        )
    ):
        for above in ("", "data/"):
            folder = tmp_path / f"{number}{above}"
            folder.mkdir(parents=True)
            content: dict[str, Any] = {"cam2/1.png": X, "good/9.png": X} | said
            found = layout(folder, {above + name: data for name, data in content.items()})
            assert {image.name: image.regions for image in found.images} == {
                f"{above}cam2/1.png": (),
                f"{above}good/9.png": (),
            }
            assert any("the ZIP does not have them: " in note and "1.png (of" in note for note in found.notes)


def test_the_closest_reference_means_an_image() -> None:
    names = Names(["x/cam2/1.png"])
    for far, near in (
        ("/home/me/cam1/1.png", "/home/me/cam2/1.png"),
        ("1.png", "C:\\photos\\cam2\\1.png"),
        ("cam3/1.png", "1.png"),
        ("x/cam2/cam1/1.png", "x/cam2/1.png"),
    ):
        for these in ([far, near], [near, far]):
            images, notes = meant([Reference(path, "a.json") for path in these], names)
            assert images == ["x/cam2/1.png" if path == near else None for path in these]
            assert notes == [f"left out, for the ZIP does not have them: {far} (of a.json)"]


def test_where_no_reference_is_closer_they_are_refused(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "cam1/1.png"}, {"id": 2, "file_name": "cam3/1.png"}]
    with pytest.raises(SampleError, match=r"cam2/1\.png may be what annotations call cam1/1\.png, cam3/1\.png"):
        layout(tmp_path, {"cam2/1.png": X, "a.json": coco_file(images=images)})


def test_several_files_may_say_what_is_on_an_image(tmp_path: Path) -> None:
    content: dict[str, Any] = {
        "photos/1.png": X,
        "a/scratches.json": coco_file(images=[{"id": 1, "file_name": "../photos/1.png"}]),
        "a/dents.json": coco_file(images=[{"id": 1, "file_name": "../photos/1.png"}]),
    }
    (image,) = layout(tmp_path, content).images
    assert len(image.regions) == 4
    images, notes = meant([Reference("1.png", "b/a.json"), Reference("b/1.png", "a.json")], Names(["b/1.png"]))
    assert (images, notes) == (["b/1.png", "b/1.png"], [])


@pytest.mark.parametrize("above", ["", "data/"])
@pytest.mark.parametrize("photos", ["images/{}/1.png", "{}/1.png"])
@pytest.mark.parametrize("said", ["annotations/instances_{}.json", "instances_{}.json"])
def test_coco_names_images_by_split(tmp_path: Path, above: str, photos: str, said: str) -> None:
    train = coco_file(images=[{"id": 1, "file_name": "1.png"}])
    content = {photos.format("train"): X, photos.format("val"): X, "masks/train/1.png": X, "masks/val/1.png": X}
    content = {above + name: data for name, data in content.items()}
    content |= {above + said.format("train"): train}
    content |= {above + said.format("val"): train | {"annotations": []}}
    found = layout(tmp_path, content)
    assert {image.name: len(image.regions) for image in found.images} == {
        above + photos.format("train"): 2,
        above + photos.format("val"): 0,
    }
    del content[above + photos.format("train")]
    found = layout(tmp_path, content)
    assert {image.name: len(image.regions) for image in found.images} == {above + photos.format("val"): 0}


def test_an_image_and_its_mask_may_have_one_name(tmp_path: Path) -> None:
    content = {"data/cam/1.png": X, "data/masks/1.png": X, "data/labels/1.png": X, "a/b/c.json": coco_file()}
    found = layout(tmp_path, content)
    assert [image.name for image in found.images] == ["data/cam/1.png"]


def test_what_may_mean_several_images_is_told(tmp_path: Path) -> None:
    content = {"a/1.png": X, "b/1.png": X, "2.png": X, "c/d/x.json": coco_file()}
    found = layout(tmp_path, content)
    assert [image.name for image in found.images] == ["2.png"]
    assert found.notes[0] == (
        "left out, for each may be any of several images that are called so: 1.png (of c/d/x.json)"
    )


@pytest.mark.parametrize("photos", ["images/{}.jpg", "Photos/a/{}.jpg", "{}.jpg"])
@pytest.mark.parametrize("suffix", ["_label", "_seg", "_gt", "-mask"])
def test_photos_may_be_called_as_masks_are(tmp_path: Path, photos: str, suffix: str) -> None:
    above = "a/" if "/a/" in photos else ""
    both = ("front", "back") if photos == "{}.jpg" else ("front", "back", "back" + suffix)
    stems = [stem + suffix for stem in both] + ["back"] * (len(both) - 2)
    content = {photos.format(stem): X for stem in stems} | {f"masks/{above}{stem}.png": X for stem in stems}
    found = layout(tmp_path, content)
    assert masks(found) == {photos.format(stem): [f"masks/{above}{stem}.png"] for stem in stems}
    assert found.notes == []


def test_masks_may_lie_beside_photos_in_a_folder_of_photos(tmp_path: Path) -> None:
    names = ["images/001.jpg", "images/001_mask.png", "images/pipe_seg.jpg", "images/pipe_seg_mask.png"]
    found = layout(tmp_path, dict.fromkeys(names, X))
    assert masks(found) == {names[0]: [names[1]], names[2]: [names[3]]}


def test_mvtec_photos_may_be_called_as_masks_are(tmp_path: Path) -> None:
    names = [
        "test/a/1_label.png",
        "ground_truth/a/1_label.png",
        "test/b/1_seg.png",
        "ground_truth/b/1_seg_mask.png",
    ]
    assert masks(layout(tmp_path, dict.fromkeys(names, X))) == {names[0]: [names[1]], names[2]: [names[3]]}


@pytest.mark.parametrize(
    ("names", "photos", "notes"),
    [
        (["n/front_label.jpg", "n/back.jpg", "pipe_seg.png"], 3, []),
        (["n/1.jpg", "n/1_mask.png"], 1, ["called like masks: n/1_mask.png"]),
        (["images/1.jpg", "images/1_mask.png"], 1, ["called like masks: images/1_mask.png"]),
        (["images/1.jpg", "images/1_gt.jpg", "masks/1.png"], 2, ["called like masks: masks/1.png"]),
        (
            ["train/good/1.png", "ground_truth/good/1_mask.png", "test/a/1.png"],
            1,
            ["called like masks: ground_truth/good/1_mask.png", "in no folder of good parts: test/a/1.png"],
        ),
    ],
)
def test_of_normal_images_masks_are_left_out_and_told(names: list[str], photos: int, notes: list[str]) -> None:
    found, told = normal_images(Names(names))
    assert found == names[:photos]
    assert [note.removeprefix("left out, for they are ") for note in told] == notes


def test_masks_alone_are_no_normal_images(tmp_path: Path) -> None:
    with (
        Archive(
            zipped(tmp_path / "normals.zip", {"labels/1.jpg": X}), SampleLimits(), "normals", 10**8
        ) as archive,
        pytest.raises(SampleError, match="the ZIP holds images alone that are called like masks"),
    ):
        recognise_normals(archive)
