"""Normal images with what belongs to them, read from ZIPs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from flawsmith.contract.datasets import Alignment
from flawsmith.contract.specs import Align
from service.alignment.places import Place, carried
from service.images.decoding import read_canonical
from service.images.door import DECODING, AdmittedFiles, Caller, Door
from service.images.errors import DecoderLostError
from service.normals.reading import NormalImage, NormalSet
from service.samples.errors import SampleError
from service.samples.limits import SampleLimits
from tests.service.alignment import photos as alignment
from tests.service.images import files
from tests.service.normals.sent import normals, read
from tests.service.samples.sets import EMPTY, HEIGHT, OF_CLASSES, WIDTH, mask, mask_pixels, photo

BROKEN = photo(77)[:300]
EMPTY_ON_PART = alignment.file(np.zeros((180, 240), np.bool_))
PLAIN = alignment.file(np.full((180, 240), 99, np.uint8))
OTHER = alignment.file(alignment.lit(np.random.default_rng(0).random((180, 240)), 5))


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


@pytest.mark.parametrize("field", ["masks", "regions", "excludes"])
def test_a_mask_of_several_classes_is_refused_by_name(tmp_path: Path, field: str) -> None:
    sent = {field: {"0.png": mask(), "1.png": OF_CLASSES}}
    with pytest.raises(SampleError, match=r"1\.png.*too dark: its brightest value is 2") as caught:
        read(tmp_path, normals=normals("0.png", "1.png"), **sent)
    assert caught.value.field == field


@pytest.mark.parametrize("field", ["regions", "excludes"])
def test_one_bound_of_several_classes_for_all_images_is_refused(tmp_path: Path, field: str) -> None:
    sent = {field: OF_CLASSES}
    with pytest.raises(SampleError, match="too dark: its brightest value is 2") as caught:
        read(tmp_path, normals=normals("0.png"), **sent)
    assert caught.value.field == field


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


REGION = alignment.file(alignment.drawn())
MOVED = Place(-30, 20, 0)


def aligned(
    tmp_path: Path, photos: dict[str, bytes], align: Align = "shift", rotation: float | None = None, **sent: Any
) -> NormalSet:
    """What is read of photos of the made-up part, with a region drawn on a reference unless others are sent."""
    files = {"reference": alignment.file(alignment.part()), "regions": REGION} | sent
    return read(tmp_path, normals=photos, align=align, max_rotation=rotation, **files)


def parts(**places: Place) -> dict[str, bytes]:
    """Photos of the part under other lights, by name."""
    return {
        f"{name}.png": alignment.file(alignment.part(place, light))
        for light, (name, place) in enumerate(places.items())
    }


def test_a_region_on_a_reference_is_carried_over_to_each_image(tmp_path: Path) -> None:
    photos = parts(a=MOVED, b=Place(15, 5)) | {"c.png": alignment.file(alignment.part())}
    found = aligned(tmp_path, photos, excludes=alignment.file(alignment.drawn() & (np.arange(240) < 160)))

    images = by_name(found.images)
    assert found.left_out == []
    for name, place in (("a.png", MOVED), ("b.png", Place(15, 5)), ("c.png", Place())):
        how = images[name].alignment
        assert how is not None
        assert (how.x_px, how.y_px, how.angle_deg) == pytest.approx((place.x, place.y, 0), abs=0.3)
        assert how.residual_px < 1
        expected = np.roll(alignment.drawn(), (int(place.y), int(place.x)), (0, 1))
        union = pixels(images[name].region) | expected
        assert (pixels(images[name].region) & expected).sum() > 0.9 * union.sum()
        assert not (pixels(images[name].region) & pixels(images[name].exclude)).sum() > 0.3 * union.sum()
        assert images[name].has_room
    assert images["c.png"].alignment == Alignment(x_px=0, y_px=0, angle_deg=0, residual_px=0)
    assert np.array_equal(pixels(images["c.png"].region), alignment.drawn())


def test_what_enters_the_frame_where_the_reference_shows_nothing_is_excluded(tmp_path: Path) -> None:
    corner = np.zeros((180, 240), np.bool_)
    corner[:9, :9] = True
    (image,) = aligned(tmp_path, parts(a=Place(-40, 0)), regions={}, excludes=alignment.file(corner)).images

    assert pixels(image.exclude)[:, -39:].all()
    assert not pixels(image.exclude)[20:, :190].any()


def test_a_part_that_is_turned_takes_its_mask_with_it(tmp_path: Path) -> None:
    sent = {
        "masks": alignment.file(alignment.drawn()),
        "regions": alignment.file(alignment.drawn() * False + True),
    }
    (image,) = aligned(tmp_path, parts(a=Place(4, -3, -150)), "rigid", **sent).images

    assert image.alignment is not None
    assert image.alignment.angle_deg == pytest.approx(-150, abs=0.3)
    assert set(np.unique(read_canonical(image.mask.read_bytes()).pixels)) == {0, 255}  # type: ignore[union-attr]
    expected = carried(alignment.drawn(), Place(4, -3, -150), beyond=False)
    assert (pixels(image.mask) & expected).sum() > 0.9 * (pixels(image.mask) | expected).sum()


def test_what_does_not_register_is_left_out_and_says_why(tmp_path: Path) -> None:
    blank = alignment.lit(np.full((180, 240), 0.4), 3)
    edge = np.zeros((180, 240), np.bool_)
    edge[80:100, 226:238] = True
    photos = parts(a=MOVED, gone=Place(25, 0), turned=Place(0, 0, 60)) | {
        "blank.png": alignment.file(blank),
        "small.png": alignment.file(alignment.part(height=90, width=120)),
    }
    found = aligned(tmp_path, photos, regions=alignment.file(edge))

    assert [one.name for one in found.images] == ["a.png"]
    reasons = {one.name: one.reason for one in found.left_out}
    assert "what both show does not agree" in reasons["blank.png"]
    assert "does not agree" in reasons["turned.png"]
    assert "nothing of the region of the reference is within its frame" in reasons["gone.png"]
    assert reasons["small.png"] == "it is 120×90, and the reference 240×180."
    assert found.warnings[0].startswith("normal images left out (4): blank.png, gone.png, small.png")


def test_what_an_image_names_itself_stays_as_it_is(tmp_path: Path) -> None:
    own = alignment.file(np.roll(alignment.drawn(), -50, 1))
    sent = {"regions": {"own.png": own}, "excludes": REGION}
    images = by_name(aligned(tmp_path, parts(a=MOVED, own=Place(15, 5)), **sent).images)

    assert images["a.png"].region is None
    assert np.array_equal(pixels(images["own.png"].region), np.roll(alignment.drawn(), -50, 1))
    assert images["own.png"].alignment is not None, "its exclude is the reference's"


def test_unaligned_a_reference_holds_where_it_lies(tmp_path: Path) -> None:
    found = aligned(tmp_path, parts(a=MOVED, b=Place()), "none", masks=REGION)

    for image in found.images:
        assert np.array_equal(pixels(image.region), alignment.drawn())
        assert np.array_equal(pixels(image.mask), alignment.drawn())
        assert image.alignment is None


@pytest.mark.parametrize(
    ("sent", "field", "words"),
    [
        ({"regions": mask()}, "regions", ("regions, mask of reference", "64×48", "240×180")),
        ({"regions": EMPTY_ON_PART}, "regions", ("nothing is set in it",)),
        ({"regions": {}}, "reference", ("nothing is drawn on it", "not as a ZIP")),
        ({"reference": BROKEN}, "reference", ("reference: ",)),
        ({"reference": photo(), "regions": mask()}, "reference", ("64×48, and no normal image is", "240×180")),
        ({"reference": PLAIN}, "reference", ("too little to register",)),
        ({"reference": OTHER}, "align", ("none of 1 normal images can be laid on the reference", "a.png")),
    ],
)
def test_a_reference_that_does_not_fit_is_refused(
    tmp_path: Path, sent: dict[str, Any], field: str, words: tuple[str, ...]
) -> None:
    with pytest.raises(SampleError) as caught:
        aligned(tmp_path, parts(a=MOVED), **sent)

    assert caught.value.field == field
    assert all(word in caught.value.detail for word in words), caught.value.detail


def test_behind_an_image_that_breaks_the_process_others_are_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = Door.answers

    async def fragile(
        door: Door, requests: list[dict[str, Any]], program: str = DECODING
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Dies over images that lie in folders called ``00001``; registers the others."""
        for request in requests:
            if program != DECODING and request["folder"].endswith("00001"):
                raise DecoderLostError("Decoding the file broke the decoder.", "image")
            async with aclosing(answers(door, [request], program)) as alone:
                yield await anext(alone)

    monkeypatch.setattr(Door, "answers", fragile)
    found = aligned(tmp_path, parts(a=MOVED, b=MOVED, c=MOVED))

    assert [one.name for one in found.images] == ["a.png", "c.png"]
    assert [(one.name, one.reason) for one in found.left_out] == [
        ("b.png", "Decoding the file broke the decoder.")
    ]
