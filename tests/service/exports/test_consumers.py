"""Every layout as its consumers read it: the pixels that they see are those that were made."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools.coco import COCO

from flawsmith.contract.specs import SPLITS, DatasetFormat
from service.samples.archive import Archive
from service.samples.folders import mvtec
from service.samples.layouts import Names
from service.samples.limits import SampleLimits
from service.samples.recognising import recognise
from service.samples.shapes import drawn
from service.store.folder import FolderStorage
from tests.service.exports import made
from tests.service.exports.archives import archive_of
from tests.service.exports.made import CLASSES, Made


def extracted(folder: Path, items: Sequence[Made], *formats: DatasetFormat) -> Path:
    """The archive of a data set, opened in a folder."""
    storage = FolderStorage(folder / "storage")
    data = archive_of(storage, made.keep(storage, items), *formats)
    with zipfile.ZipFile(data) as archive:
        assert archive.testzip() is None
        archive.extractall(folder / "data")
    return folder / "data"


@pytest.fixture(scope="module")
def items() -> list[Made]:
    return made.zoo()


@pytest.fixture(scope="module")
def folder(items: list[Made], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All formats of every kind of item."""
    return extracted(tmp_path_factory.mktemp("zoo"), items)


def of_side(items: Sequence[Made], split: str) -> dict[str, Made]:
    return {one.name: one for one in made.exported(items) if one.split == split}


def read(path: Path) -> np.ndarray:
    """Pixels as OpenCV reads them, in the order of channels that they were made with."""
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert pixels is not None, path
    return pixels[..., ::-1] if pixels.ndim == 3 else pixels


@pytest.mark.parametrize("split", SPLITS)
def test_images_are_those_that_were_made_and_no_others(items: list[Made], folder: Path, split: str) -> None:
    wanted = of_side(items, split)
    images = {path.stem: path for path in (folder / "images" / split).iterdir()}

    assert images.keys() == wanted.keys()
    for name, path in images.items():
        assert path.suffix == (".tif" if wanted[name].tiff else ".png")
        pixels = read(path)
        assert pixels.dtype == wanted[name].pixels.dtype
        assert np.array_equal(pixels, wanted[name].pixels)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools itself
@pytest.mark.parametrize("split", SPLITS)
def test_coco_run_lengths_are_the_masks(items: list[Made], folder: Path, split: str) -> None:
    wanted = of_side(items, split)
    coco = COCO(folder / "annotations" / f"instances_{split}.json")

    assert {one["id"]: one["name"] for one in coco.loadCats(coco.getCatIds())} == {
        number: name for name, number in CLASSES.items()
    }
    assert sorted(coco.imgs) == list(range(1, len(wanted) + 1))
    assert sorted(coco.anns) == list(range(1, len(coco.anns) + 1))
    assert {Path(image["file_name"]).stem for image in coco.imgs.values()} == wanted.keys()
    for number, image in coco.imgs.items():
        assert (folder / "images" / split / image["file_name"]).is_file()
        one = wanted[Path(image["file_name"]).stem]
        found = np.zeros(one.pixels.shape[:2], np.uint8)
        assert (image["height"], image["width"]) == found.shape
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=[number])):
            region = coco.annToMask(annotation).astype(bool)
            assert annotation["area"] == region.sum()
            assert annotation["bbox"] == list(cv2.boundingRect(region.astype(np.uint8)))
            assert cv2.connectedComponents(region.astype(np.uint8), connectivity=8)[0] == 2
            found[region] = annotation["category_id"]
        assert np.array_equal(found, one.classes)


def test_yolo_outlines_are_the_masks_or_are_listed(items: list[Made], folder: Path) -> None:
    described = yaml.safe_load((folder / "data.yaml").read_text())
    listed = dict(line.split() for line in (folder / "yolo-inexact.txt").read_text().splitlines())

    assert described["names"] == {0: "scratch", 1: "dent", 2: "pit"}
    numbers = list(CLASSES.values())
    for split in SPLITS:
        assert described[split] == f"images/{split}"
        wanted = of_side(items, split)
        labels = {path.stem: path for path in (folder / "labels" / split).iterdir()}
        assert labels.keys() == wanted.keys()
        for name, path in labels.items():
            one = wanted[name]
            height, width = one.pixels.shape[:2]
            found = np.zeros((height, width), np.uint8)
            for line in path.read_text().splitlines():
                index, *shares = line.split()
                outline = np.array(shares, np.float64).reshape(-1, 2)
                assert len(outline) >= 3
                assert outline.min() >= 0
                assert outline.max() <= 1
                corners = np.floor(outline * [width, height]).astype(np.int32)
                cv2.fillPoly(found, [corners], numbers[int(index)])
            if not one.defects:
                assert path.read_bytes() == b""
            union = np.count_nonzero((found > 0) | (one.classes > 0))
            iou = float(np.count_nonzero((found == one.classes) & (found > 0)) / union) if union else 1.0
            key = f"labels/{split}/{name}.txt"
            assert (key in listed) is (iou < 0.98), (name, iou)
            if key in listed:
                assert float(listed[key]) == pytest.approx(iou, abs=1e-4)
    assert list(listed) == ["labels/train/a-ring.txt"], "a hole is what outlines cannot say"


@pytest.mark.parametrize("split", SPLITS)
def test_label_images_hold_numbers_of_classes(items: list[Made], folder: Path, split: str) -> None:
    wanted = of_side(items, split)
    names = {entry["id"]: entry["name"] for entry in json.loads((folder / "classes.json").read_text())}

    assert names == {0: "background", 2: "scratch", 5: "dent", 9: "pit"}
    lines = (folder / "classes.txt").read_text().splitlines()
    assert lines == [f"{number} {name}" for number, name in names.items()]
    labels = {path.stem: path for path in (folder / "masks" / split).iterdir()}
    assert labels.keys() == wanted.keys()
    for name, path in labels.items():
        with Image.open(path) as opened:
            assert opened.mode == "L"
            assert np.array_equal(np.asarray(opened), wanted[name].classes)
        assert np.array_equal(read(path), wanted[name].classes)


def test_json_lines_name_images_and_masks_that_are_there(items: list[Made], folder: Path) -> None:
    types: set[str] = set()
    for split in SPLITS:
        wanted = of_side(items, split)
        lines = [json.loads(line) for line in (folder / f"{split}.jsonl").read_text().splitlines()]
        assert [Path(line["file_name"]).stem for line in lines] == list(wanted)
        for line in lines:
            one = wanted[Path(line["file_name"]).stem]
            types.add(json.dumps({key: type(value).__name__ for key, value in line.items()}))
            assert (folder / line["file_name"]).is_file()
            assert np.array_equal(read(folder / line["mask_file_name"]) == 255, one.mask)
            assert line["labels"] == ([name for name, _ in one.defects] or ["good"])
            assert line["is_defect"] is bool(one.defects)
            assert json.loads(line["metadata"]) == one.metadata
    assert len(types) == 1, "loaders want the same columns of the same types on every side"


def test_mvtec_folders_tell_the_types(items: list[Made], folder: Path) -> None:
    root = folder / "mvtec" / "parts"
    images = {f"{path.relative_to(root).parent}/{path.name[9:]}": path for path in root.glob("t*/*/*")}
    masks = {
        f"{path.relative_to(root).parent}/{path.name[9:]}": path for path in (root / "ground_truth").glob("*/*")
    }
    wanted = {one.name: one for one in made.exported(items)}

    assert images.keys() == {
        "train/good/a-normal.png",
        "test/good/a-control.png",
        "test/good/b-normal.png",
        "test/good/c-normal.tif",
        "test/scratch/a-scratch.png",
        "test/dent/a-ring.png",
        "test/dent/d-dent.png",
        "test/scratch+dent/b-both.png",
        "test/good/d-crop-normal.png",
        "test/dent+pit/d-crop.png",
        "test/scratch/d-eight.tif",
        "test/dent/d-both.png",
        "test/pit/b-twice.png",
        "test/pit/c-points.tif",
    }
    for path in images.values():
        assert np.array_equal(read(path), wanted[path.stem[9:]].pixels)
    assert masks.keys() == {
        f"ground_truth/{name.split('/')[1]}/{path.stem[9:]}_mask.png"
        for name, path in images.items()
        if "/good/" not in name
    }
    for path in masks.values():
        found = read(path)
        assert set(np.unique(found)) == {0, 255}
        assert np.array_equal(found == 255, wanted[path.stem[9:].removesuffix("_mask")].mask)


def test_samples_are_read_from_the_mvtec_layout(items: list[Made], tmp_path: Path) -> None:
    folder = extracted(tmp_path, items, "mvtec")
    names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]

    layout = mvtec(Names([name for name in names if name.endswith((".png", ".tif"))]))

    assert layout is not None
    assert layout.notes == [], "nothing is left out"
    assert layout.classes() == {
        "dent": 3,
        "dent+pit": 1,
        "pit": 2,
        "scratch": 2,
        "scratch+dent": 1,
    }
    assert sum(not image.regions for image in layout.images) == 5


@pytest.mark.parametrize("formats", [(), ("coco",), ("coco", "yolo", "classes", "jsonl")])
def test_samples_are_read_from_an_archive_as_it_is(
    items: list[Made], tmp_path: Path, formats: tuple[DatasetFormat, ...]
) -> None:
    storage = FolderStorage(tmp_path / "storage")
    path = tmp_path / "data.zip"
    path.write_bytes(archive_of(storage, made.keep(storage, items), *formats).getvalue())

    with Archive(path, SampleLimits(), "samples", 10**8) as archive:
        layout = recognise(archive, SampleLimits())

    assert layout.kind == "coco"
    wanted = {f"images/{one.split}/{one.name}": one for one in made.exported(items)}
    found = {image.name.rpartition(".")[0]: image for image in layout.images if image.name.startswith("images/")}
    assert found.keys() == wanted.keys()
    for name, image in found.items():
        shapes = [region.shape for region in image.regions if region.shape is not None]
        mask = wanted[name].mask
        assert np.array_equal(drawn(shapes, *mask.shape), mask)
    assert not [note for note in layout.notes if "does not have" in note or "several" in note]


def test_images_and_masks_of_mvtec_sort_alike(tmp_path: Path) -> None:
    """Some readers join them by place in sorted lists, and names that begin others sort otherwise before ``_``."""
    names = ["p", "p1", "p10", "p-1", "p_1", "p_1_2", "P", "p.1", "p+1", "pa", "p2"]
    items = [Made(name, defects=[("dent", made.box(1, 1, 4, 4))]) for name in names]
    root = extracted(tmp_path, items, "mvtec") / "mvtec" / "parts"

    images = sorted(str(path) for path in (root / "test").glob("*/*.png"))
    masks = sorted(str(path) for path in (root / "ground_truth").glob("*/*.png"))

    assert [f"{Path(name).stem}_mask" for name in images] == [Path(name).stem for name in masks]
    assert len(images) == len(names)
