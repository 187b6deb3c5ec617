"""Normal images with what belongs to them, read from ZIPs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.images.decoding import read_canonical
from service.images.door import AdmittedFiles, Caller, Door
from service.images.errors import DecoderLostError
from service.normals.reading import NormalImage
from service.samples.errors import SampleError
from service.samples.limits import SampleLimits
from tests.service.images import files
from tests.service.normals.sent import normals, read
from tests.service.samples.sets import EMPTY, HEIGHT, WIDTH, mask, mask_pixels, photo

BROKEN = photo(77)[:300]


def pixels(path: Path | None) -> NDArray[np.bool_]:
    assert path is not None
    return np.asarray(read_canonical(path.read_bytes()).pixels > 0)


def by_name(images: list[NormalImage]) -> dict[str, NormalImage]:
    return {one.name: one for one in images}


def test_images_of_any_folders_are_taken_in_the_order_of_their_names(tmp_path: Path) -> None:
    found = read(tmp_path, normals=normals("b/good/2.png", "a/1.png", "3.png") | {"notes.txt": b"x"})

    assert [one.name for one in found.images] == ["3.png", "a/1.png", "b/good/2.png"]
    assert (found.left_out, found.warnings) == ([], [])
    first = found.images[1]
    assert first.info.model_dump(include={"width", "height", "mode"}) == {
        "width": WIDTH,
        "height": HEIGHT,
        "mode": "rgb",
    }
    assert (first.mask, first.region, first.exclude, first.has_room) == (None, None, None, True)
    assert read_canonical(first.image.read_bytes()).info.pixels_sha256 == first.info.pixels_sha256


def test_what_cannot_be_read_and_what_is_there_twice_is_left_out_with_a_reason(tmp_path: Path) -> None:
    sent = normals("0.png", "1.png", "2.png") | {
        "1-broken.png": BROKEN,
        "2-text.jpg": b"no image",
        "2-twice.png": photo(0),
        "3-large.bmp": b"BM" + bytes(70_000),
    }
    found = read(tmp_path, normals=sent, most_bytes=60_000)

    assert [one.name for one in found.images] == ["0.png", "1.png", "2.png"]
    reasons = {one.name: one.reason for one in found.left_out}
    assert set(reasons) == {"1-broken.png", "2-text.jpg", "2-twice.png", "3-large.bmp"}
    assert "same pixels as 0.png" in reasons["2-twice.png"]
    assert "70,002 bytes" in reasons["3-large.bmp"]
    assert found.warnings[0].startswith("normal images left out (4): 1-broken.png, 2-text.jpg")


def test_behind_an_image_that_breaks_the_decoder_others_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    admit = Door.admit_several

    async def fragile(
        door: Door, callers: Sequence[Caller], folders: Sequence[Path], *, go_on: bool = False
    ) -> AsyncGenerator[AdmittedFiles, None]:
        """Dies over images that are called ``1`` on disk; decodes the others."""
        for caller, folder in zip(callers, folders, strict=True):
            if caller.image is not None and caller.image.name == "1":
                raise DecoderLostError("Decoding the file broke the decoder.", "image")
            async with aclosing(admit(door, [caller], [folder], go_on=go_on)) as alone:
                yield await anext(alone)

    monkeypatch.setattr(Door, "admit_several", fragile)
    found = read(tmp_path, normals=normals("a.png", "b.png", "c.png"))

    assert [one.name for one in found.images] == ["a.png", "c.png"]
    assert [(one.name, one.reason) for one in found.left_out] == [
        ("b.png", "Decoding the file broke the decoder.")
    ]


def test_where_none_can_be_read_the_first_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        SampleError, match=r"none of the 2 normal images can be read; the first one, a\.png: "
    ) as caught:
        read(tmp_path, normals={"a.png": BROKEN, "b.png": b"x"})
    assert caught.value.field == "normals"


@pytest.mark.parametrize(
    ("sent", "limits", "words"),
    [
        ({"a.txt": b"x"}, SampleLimits(), "holds no image"),
        (normals("a.png", "b.png"), SampleLimits(max_normals=1), "there are 2 normal images; at most 1"),
        (normals("a.png", "b.png"), SampleLimits(max_pixels=WIDTH * HEIGHT), "more pixels together"),
        (b"no zip", SampleLimits(), "no ZIP"),
        ({"../a.png": photo()}, SampleLimits(), "leads out of the ZIP"),
    ],
)
def test_a_set_over_its_limits_is_refused(tmp_path: Path, sent: Any, limits: SampleLimits, words: str) -> None:
    with pytest.raises(SampleError, match=words) as caught:
        read(tmp_path, normals=sent, limits=limits)
    assert caught.value.field == "normals"


def test_masks_and_bounds_belong_by_path_and_masks_are_cut_to_bounds(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        normals=normals("a/1.jpg", "b/1.png", "b/2.png", "3.png"),
        masks={"a/1_mask.png": mask(), "b/1.png": mask(left=30), "masks/2_mask.bmp": mask(), "b/3.png": EMPTY},
        regions={"a/1.png": mask(left=20)},
        excludes={"x/2.png": mask(left=0, width=20)},
    )

    images = by_name(found.images)
    assert np.array_equal(pixels(images["a/1.jpg"].mask), mask_pixels(left=20, width=12) > 0)
    assert np.array_equal(pixels(images["a/1.jpg"].region), mask_pixels(left=20) > 0)
    assert np.array_equal(pixels(images["b/1.png"].mask), mask_pixels(left=30) > 0)
    assert np.array_equal(pixels(images["b/2.png"].mask), mask_pixels(left=20, width=12) > 0)
    assert images["3.png"].mask is None
    assert all(one.has_room for one in images.values())
    assert any("nothing of the mask is left" in text and "(1): 3.png" in text for text in found.warnings)


def test_one_region_holds_for_all_images_of_its_size(tmp_path: Path) -> None:
    sent = normals("a.png", "b.png") | {"c.png": photo(9, height=40, width=40)}
    found = read(tmp_path, normals=sent, regions=mask(), excludes=mask(width=4))

    images = by_name(found.images)
    for name in ("a.png", "b.png"):
        assert np.array_equal(pixels(images[name].region), mask_pixels() > 0)
        assert np.array_equal(pixels(images[name].exclude), mask_pixels(width=4) > 0)
    assert (images["c.png"].region, images["c.png"].exclude) == (None, None)
    assert any(text.startswith("regions: the image is 64×48 and holds for 2 of 3") for text in found.warnings)


def test_where_bounds_leave_nothing_no_mask_can_be_drawn(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        normals=normals("a.png", "b.png", "c.png"),
        masks={"a.png": mask(), "b.png": mask()},
        regions={"a.png": EMPTY, "b.png": mask()},
        excludes={"b.png": mask(), "c.png": EMPTY},
    )

    assert [one.has_room for one in found.images] == [False, False, True]
    assert [one.mask for one in found.images] == [None, None, None]
    assert found.images[2].exclude is None
    assert any("leave no pixel of the image" in text and "(2): a.png, b.png" in text for text in found.warnings)


@pytest.mark.parametrize("kind", ["masks", "regions", "excludes"])
@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"c.png": mask()}, ("c.png", "belong to no normal image", "part/7_mask.png")),
        ({"x/d.png": mask()}, ("x/d.png", "may belong to y/d.png, z/d.png")),
        ({"a.png": mask(), "a_mask.png": mask()}, ("a.png and a_mask.png both belong to a.png",)),
        ({"a.png": mask(of=(40, 40))}, ("a.png", "40", "64")),
        ({"a.png": BROKEN}, ("a.png, mask of a.png",)),
        ({"a.txt": b"x"}, ("holds no image",)),
    ],
)
def test_what_belongs_to_no_image_or_does_not_fit_is_refused(
    tmp_path: Path, kind: str, sent: dict[str, bytes], words: tuple[str, ...]
) -> None:
    with pytest.raises(SampleError) as caught:
        read(tmp_path, normals=normals("a.png", "b.png", "y/d.png", "z/d.png"), **{kind: sent})

    assert caught.value.field == kind
    assert all(word in caught.value.detail for word in words), caught.value.detail


def test_one_region_of_no_images_size_and_one_mask_for_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SampleError, match="the image is 40×40, and no normal image is; they are 64×48"):
        read(tmp_path, normals=normals("a.png"), regions=mask(of=(40, 40), height=9))
    (tmp_path / "more").mkdir()
    with pytest.raises(SampleError, match="no ZIP") as caught:
        read(tmp_path / "more", normals=normals("a.png"), masks=mask())
    assert caught.value.field == "masks"


def test_what_belongs_to_an_image_that_is_left_out_is_left_out_with_it(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        normals=normals("a.png") | {"b.png": BROKEN, "c.png": photo(0)},
        masks={"b.png": mask(of=(40, 40)), "c.png": mask()},
        normals_metadata=b"file,lot\nb.png,1\nc.png,2\na.png,3\n",
    )

    assert [(one.name, one.mask, one.metadata) for one in found.images] == [("a.png", None, {"lot": "3"})]


def test_metadata_go_with_their_images_and_the_size_of_a_pixel_apart(tmp_path: Path) -> None:
    table = b"file,lot,pixel_size_um\na.png,1,12.5\nb.png,2,\n"
    found = read(tmp_path, normals=normals("a.png", "b.png"), normals_metadata=table)

    assert [(one.metadata, one.pixel_size_um) for one in found.images] == [
        ({"lot": "1"}, 12.5),
        ({"lot": "2"}, None),
    ]


def test_warnings_of_images_are_said_once_for_all(tmp_path: Path) -> None:
    sent = {
        f"{number}.jpg": files.pil(files.noise(HEIGHT, WIDTH, 3, seed=number), "JPEG", quality=90)
        for number in range(3)
    }
    found = read(tmp_path, normals=sent)

    assert len(found.images) == 3
    assert all(text.startswith("0.jpg, 1.jpg, 2.jpg: image: ") for text in found.warnings)
