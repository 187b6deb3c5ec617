"""Sets of samples as they are taken: what is done with good ones, poor ones and bad ones."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.data import data_folder
from service.images.decoding import decode, read_canonical
from service.images.door import Door
from service.images.encoding import encode_png
from service.images.limits import Limits
from service.samples.errors import SampleError
from service.samples.limits import SampleLimits
from service.samples.reading import SampleSet, Uploaded, read_pairs
from tests.service.images import files
from tests.service.samples.sets import (
    EMPTY,
    HEIGHT,
    OF_CLASSES,
    WIDTH,
    mask,
    mask_pixels,
    normals,
    pairs,
    photo,
    read,
)
from tests.service.samples.test_layouts import CVAT


def codes(found: SampleSet) -> list[str]:
    return [advice.code for advice in found.advice]


def refused(folder: Path, content: dict[str, bytes], says: str, **options: SampleLimits | str) -> SampleError:
    with pytest.raises(SampleError, match=says) as caught:
        read(folder, content, **options)  # type: ignore[arg-type]
    assert list((folder / "door").iterdir()) == []
    return caught.value


def test_a_set_becomes_canonical_images_and_masks(tmp_path: Path) -> None:
    content = pairs(6) | normals(3)
    found = read(tmp_path, content)
    assert [one.source for one in found.samples] == [f"images/{number:03d}.png" for number in range(6)]
    assert [one.source for one in found.normals] == [f"good/{number:03d}.png" for number in range(3)]
    for number, one in enumerate(found.samples):
        sent = content[one.source]
        assert one.sha256 == hashlib.sha256(sent).hexdigest()
        np.testing.assert_array_equal(read_canonical(one.image.read_bytes()).pixels, decode(sent).pixels)
        assert one.mask is not None
        np.testing.assert_array_equal(read_canonical(one.mask.read_bytes()).pixels, mask_pixels(left=number))
        assert one.mask_pixels == 240
    assert all(one.mask is None for one in found.normals)
    assert len({one.group for one in found.samples + found.normals}) == 9
    assert found.warnings == []
    assert found.advice == []
    assert not (tmp_path / "set" / "sent").exists()


def test_the_report_says_what_was_found(tmp_path: Path) -> None:
    content = {
        "test/crack/1.png": photo(1),
        "test/stain/2.png": photo(2),
        "ground_truth/crack/1_mask.png": mask(),
        "ground_truth/stain/2_mask.png": mask(),
        "train/good/3.png": photo(3, 40, 40),
    }
    report = read(tmp_path, content, label="crack").report
    assert report.layout == "mvtec"
    assert report.label == "crack"
    assert report.classes == {"crack": 1, "stain": 1}
    assert [(one.source, one.width, one.height, one.mask_pixels) for one in report.samples] == [
        ("test/crack/1.png", WIDTH, HEIGHT, 240)
    ]
    assert report.normals == 1
    assert {(size.width, size.height): size.count for size in report.sizes} == {(WIDTH, HEIGHT): 1, (40, 40): 1}
    assert report.model_validate_json(report.model_dump_json()) == report


def test_normal_images_may_come_in_a_zip_of_their_own(tmp_path: Path) -> None:
    more = {f"line/{number}.png": photo(2000 + number) for number in range(3)} | {"line/0_mask.png": mask()}
    found = read(tmp_path, pairs(5) | normals(1), more)
    assert [one.source for one in found.normals] == ["good/000.png", "line/0.png", "line/1.png", "line/2.png"]
    assert "no-normals" not in codes(found)


def test_of_a_zip_of_normal_images_in_mvtec_layout_the_good_ones_are_taken(tmp_path: Path) -> None:
    more = {"test/crack/1.png": photo(201), "train/good/1.png": photo(202), "test/good/2.png": photo(203)}
    assert [one.source for one in read(tmp_path, pairs(5), more).normals] == [
        "train/good/1.png",
        "test/good/2.png",
    ]


def test_a_bad_zip_of_normal_images_is_named(tmp_path: Path) -> None:
    with pytest.raises(SampleError, match="no image") as caught:
        read(tmp_path, pairs(2), {"notes.txt": b"x"})
    assert caught.value.field == "normals"


def test_shapes_are_drawn_at_the_size_of_the_photo(tmp_path: Path) -> None:
    content = {f"images/sub/{number}.png": photo(number, 10, 12) for number in range(1, 5)}
    found = read(tmp_path, content | {"annotations.xml": CVAT.encode()})
    assert [one.mask_pixels for one in found.samples] == [11, 16]
    assert [one.source for one in found.normals] == ["images/sub/3.png"]
    assert "boxes" in codes(found)
    (boxes,) = [advice for advice in found.advice if advice.code == "boxes"]
    assert boxes.samples == ["images/sub/2.png"]


ON_A_SIZE = ["coco", "runs", "cvat", "labelme"]


def on_a_size(kind: str, width: Any, height: Any) -> dict[str, bytes]:
    """An annotation of ``1.png``, a box of 8 pixels, that was made on a photo of this size."""
    image, polygon = {"id": 1, "file_name": "1.png"}, [1, 1, 5, 1, 5, 3, 1, 3]
    categories: Any = [{"id": 1, "name": "dent"}]
    match kind:
        case "coco":
            one: Any = {"image_id": 1, "category_id": 1, "segmentation": [polygon]}
            image |= {"width": width, "height": height}
            text = json.dumps({"images": [image], "annotations": [one], "categories": categories})
        case "runs":
            counts = [height + 1, 8, height * width - height - 9]
            one = {"image_id": 1, "category_id": 1, "segmentation": {"size": [height, width], "counts": counts}}
            text = json.dumps({"images": [image], "annotations": [one], "categories": categories})
        case "labelme":
            corners = list(zip(polygon[::2], polygon[1::2], strict=True))
            said = {"imagePath": "1.png", "imageWidth": width, "imageHeight": height}
            text = json.dumps(said | {"shapes": [{"label": "dent", "points": corners}]})
        case _:
            sides = "" if width is None else f'width="{width}" height="{height}"'
            box = '<box label="dent" xtl="1" ytl="1" xbr="5" ybr="3"/>'
            text = f'<annotations><image name="1.png" {sides}>{box}</image></annotations>'
    return {"a.xml" if kind == "cvat" else "1.json": text.encode()}


@pytest.mark.parametrize("kind", ON_A_SIZE)
def test_annotations_of_another_size_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    for number, (width, height) in enumerate([(WIDTH // 2, HEIGHT // 2), (WIDTH, HEIGHT - 1), (HEIGHT, HEIGHT)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        content = {"1.png": photo(), "good/2.png": photo(2)} | on_a_size(kind, width, height)
        says = (
            rf"1\.png: its annotation was made on an image of {width}×{height}, and the image is {WIDTH}×{HEIGHT} "
        )
        assert refused(folder, content, says).field == "samples"


@pytest.mark.parametrize("kind", ON_A_SIZE)
def test_a_photo_that_is_turned_by_its_exif_orientation_was_annotated_as_it_is_seen(
    tmp_path: Path, kind: str
) -> None:
    turned = files.pil(files.noise(WIDTH, HEIGHT, 3), "PNG", exif=files.exif(6))
    assert len(read(tmp_path, {"1.png": turned} | on_a_size(kind, WIDTH, HEIGHT)).samples) == 1
    other = tmp_path / "other"
    other.mkdir()
    refused(other, {"1.png": turned} | on_a_size(kind, HEIGHT, WIDTH), "EXIF orientation applied")


@pytest.mark.parametrize("kind", ["coco", "cvat", "labelme"])
@pytest.mark.parametrize("side", [None, 0])
def test_annotations_need_not_say_of_what_size_they_are(tmp_path: Path, kind: str, side: int | None) -> None:
    (sample,) = read(tmp_path, {"1.png": photo()} | on_a_size(kind, side, side)).samples
    assert sample.mask_pixels == 8


@pytest.mark.parametrize("kind", ["coco", "cvat", "labelme"])
def test_sizes_that_are_no_numbers_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    refused(tmp_path, {"1.png": photo()} | on_a_size(kind, "wide", 4), r"^(1\.json|a\.xml)")


def test_several_masks_of_an_image_are_one(tmp_path: Path) -> None:
    content = {
        "test/logical/5.png": photo(),
        "ground_truth/logical/5/0.png": mask(left=0, width=10),
        "ground_truth/logical/5/1.png": mask(left=30, width=10),
        "ground_truth/logical/5/2.png": EMPTY,
    }
    (one,) = read(tmp_path, content).samples
    assert one.mask is not None
    assert one.mask_pixels == 240
    expected = mask_pixels(left=0, width=10) | mask_pixels(left=30, width=10)
    np.testing.assert_array_equal(read_canonical(one.mask.read_bytes()).pixels, expected)


def test_several_masks_of_an_image_have_its_size(tmp_path: Path) -> None:
    content = {
        "test/logical/5.png": photo(),
        "ground_truth/logical/5/0.png": mask(),
        "ground_truth/logical/5/1.png": mask(of=(40, 60)),
    }
    refused(tmp_path, content, r"5/1\.png, mask of test/logical/5\.png: The mask is 60×40 and the image 64×48")


# None, one, many


def test_no_sample_is_refused_with_the_remedy(tmp_path: Path) -> None:
    error = refused(tmp_path, normals(3), "images/ and masks/")
    assert error.field == "samples"


def test_an_empty_zip_is_refused_with_the_remedy(tmp_path: Path) -> None:
    refused(tmp_path, {}, "images/ and masks/")


def test_one_pair_is_taken_with_a_warning(tmp_path: Path) -> None:
    found = read(tmp_path, pairs(1))
    assert len(found.samples) == 1
    assert any("one sample alone" in warning for warning in found.warnings)
    assert codes(found) == ["few-pairs", "no-normals"]


def test_few_pairs_are_taken_with_advice(tmp_path: Path) -> None:
    found = read(tmp_path, pairs(3))
    assert found.warnings == []
    assert "few-pairs" in codes(found)


def test_as_many_samples_as_are_accepted_and_no_more(tmp_path: Path) -> None:
    content = {}
    for number in range(70):
        content[f"images/{number}.png"] = files.png(files.noise(16, 16, seed=number))
        content[f"masks/{number}.png"] = mask(2, 2, 10, 10, of=(16, 16))
    limits = SampleLimits(max_samples=70)
    assert len(read(tmp_path, content, limits=limits).samples) == 70
    content["images/70.png"], content["masks/70.png"] = content["images/0.png"], content["masks/0.png"]
    other = tmp_path / "other"
    other.mkdir()
    error = refused(other, content, "71 images with defects; at most 70", limits=limits)
    assert error.field == "samples"
    assert list((other / "set" / "sent").iterdir()) == []


def test_of_too_many_normal_images_some_are_taken_evenly(tmp_path: Path) -> None:
    found = read(tmp_path, pairs(5) | normals(9), limits=SampleLimits(max_normals=3))
    assert [one.source for one in found.normals] == ["good/000.png", "good/003.png", "good/006.png"]
    assert any("of 9 normal images 3 are taken" in warning for warning in found.warnings)


def test_too_many_pixels_of_samples_are_refused_and_of_normal_images_left_out(tmp_path: Path) -> None:
    limits = SampleLimits(max_pixels=6 * HEIGHT * WIDTH)
    found = read(tmp_path, pairs(5) | normals(3), limits=limits)
    assert len(found.normals) == 1
    assert any("2 normal images are left out" in warning for warning in found.warnings)
    other = tmp_path / "other"
    other.mkdir()
    refused(other, pairs(7), r"images/006\.png", limits=limits)


# Wrong ones


def test_a_mask_of_another_size_is_refused_by_name(tmp_path: Path) -> None:
    content = pairs(3) | {"masks/001.png": mask(of=(40, 60))}
    error = refused(tmp_path, content, r"masks/001\.png, mask of images/001\.png: The mask is 60×40")
    assert error.field == "samples"


def test_a_file_that_is_no_image_is_refused_by_name(tmp_path: Path) -> None:
    refused(tmp_path, pairs(3) | {"images/002.png": b"GIF89a"}, r"images/002\.png: The file is GIF")
    other = tmp_path / "other"
    other.mkdir()
    refused(other, pairs(3) | {"masks/002.png": b"x"}, r"masks/002\.png, mask of images/002\.png")


def test_empty_masks_make_normal_images_with_a_warning(tmp_path: Path) -> None:
    found = read(tmp_path, pairs(5) | {"masks/002.png": EMPTY})
    assert len(found.samples) == 4
    assert [one.source for one in found.normals] == ["images/002.png"]
    assert any("images/002.png" in warning and "normal" in warning for warning in found.warnings)


def test_masks_of_several_classes_are_refused_by_name(tmp_path: Path) -> None:
    refused(
        tmp_path,
        pairs(5) | {"masks/002.png": OF_CLASSES},
        r"masks/002\.png, mask of images/002\.png: The mask is too dark: its brightest value is 2, ",
    )


def test_empty_masks_alone_are_refused(tmp_path: Path) -> None:
    content = {name: EMPTY if name.startswith("masks") else data for name, data in pairs(3).items()}
    refused(tmp_path, content, "every mask of the set is empty")


def test_copies_are_left_out_with_a_warning(tmp_path: Path) -> None:
    content = pairs(5)
    content |= {"images/a.png": content["images/000.png"], "masks/a.png": content["masks/000.png"]}
    content |= {"good/a.png": content["images/001.png"], "good/b.png": photo(99), "good/c.png": photo(99)}
    found = read(tmp_path, content)
    assert len(found.samples) == 5
    assert [one.source for one in found.normals] == ["good/b.png"]
    told = "\n".join(found.warnings)
    assert all(name in told for name in ("images/a.png", "good/a.png", "good/c.png"))


def test_one_image_with_different_masks_is_one_group(tmp_path: Path) -> None:
    content = pairs(5) | {"images/a.png": pairs(1)["images/000.png"], "masks/a.png": mask(top=30)}
    found = read(tmp_path, content)
    groups = {one.source: one.group for one in found.samples}
    assert groups["images/a.png"] == groups["images/000.png"]
    assert len(set(groups.values())) == 5
    (advice,) = [advice for advice in found.advice if advice.code == "duplicates"]
    assert advice.samples == ["images/000.png", "images/a.png"]


def test_masks_that_vanish_and_masks_that_are_inverted_are_told(tmp_path: Path) -> None:
    content = pairs(5) | {"masks/001.png": mask(height=2, width=3), "masks/002.png": mask(0, 0, 48, 50)}
    advice = {advice.code: advice.samples for advice in read(tmp_path, content | normals(1)).advice}
    assert advice == {"small-masks": ["images/001.png"], "large-masks": ["images/002.png"]}


def test_mixed_sizes_and_kinds_are_told(tmp_path: Path) -> None:
    grey = {"images/a.png": files.png(files.noise(96, 128)), "masks/a.png": mask(of=(96, 128))}
    found = read(tmp_path, pairs(5) | grey | normals(1))
    assert codes(found) == ["mixed-sizes", "mixed-modes"]
    assert "64 to 128" in found.advice[0].detail


def test_a_warning_of_many_files_is_said_once(tmp_path: Path) -> None:
    soft = files.pil(mask_pixels(), "JPEG", quality=90)
    content = {f"images/{number}.png": photo(number) for number in range(8)}
    content |= {f"masks/{number}.jpg": soft for number in range(8)}
    (warning,) = read(tmp_path, content).warnings
    assert "images/4.png and 3 more" in warning
    assert "loss" in warning


def test_real_sets_are_read_as_they_come(tmp_path: Path) -> None:
    data = data_folder()
    if data is None:
        pytest.skip("the real images are not here: set FLAWSMITH_DATA to their folder")
    for name, kind in (("magnetic_tile", "blowhole"), ("bsdata_ballscrew", "pitting")):
        root = data / name
        chosen = [*sorted(root.glob(f"test/{kind}/*"))[:3], *sorted(root.glob("test/good/*"))[:2]]
        chosen += [root / "ground_truth" / kind / f"{path.stem}_mask.png" for path in chosen[:3]]
        folder = tmp_path / name
        folder.mkdir()
        found = read(folder, {f"{name}/{path.relative_to(root)}": path.read_bytes() for path in chosen})
        assert found.report.classes == {kind: 3}
        assert len(found.normals) == 2
        assert found.warnings == []


# Uploads


def test_uploads_make_a_set_too(tmp_path: Path) -> None:
    def uploaded(name: str, data: bytes) -> Uploaded:
        image = decode(data)
        path = tmp_path / name
        path.write_bytes(encode_png(image))
        return Uploaded(path, image.info, hashlib.sha256(data).hexdigest())

    door = Door(Limits(), byte_budget=10**9, max_children=2, timeout_s=60)

    def run(sent: list[tuple[Uploaded, Uploaded]], folder: str) -> SampleSet:
        (tmp_path / folder).mkdir()
        return asyncio.run(
            read_pairs(sent, [uploaded("n", photo(77))], tmp_path / folder, door, SampleLimits(max_samples=5))
        )

    sent = [
        (
            uploaded(f"i{number}", photo(number)),
            uploaded(f"m{number}", files.pil(mask_pixels(), "JPEG", quality=95)),
        )
        for number in range(5)
    ]
    found = run(sent, "a")
    assert [one.source for one in found.samples] == [f"samples.{number}" for number in range(5)]
    assert [one.source for one in found.normals] == ["normals.0"]
    assert found.samples[0].image == sent[0][0].path
    assert found.samples[0].sha256 == sent[0][0].sha256
    assert found.samples[0].mask_pixels > 200
    assert any("loss" in warning for warning in found.warnings)
    with pytest.raises(SampleError, match="at most 5") as caught:
        run([*sent, sent[0]], "b")
    assert caught.value.field == "samples"
    with pytest.raises(SampleError, match="size") as caught:
        run([sent[0], (sent[1][0], uploaded("bad", mask(of=(40, 60))))], "c")
    assert caught.value.field == "samples.1.mask"
    with pytest.raises(SampleError, match="defect"):
        run([], "d")
