"""What we write, other decoders read back exactly."""

from __future__ import annotations

import io
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from flawsmith.contract.uploads import ImageInfo
from service.images.canonical import MODES, CanonicalImage, channels, pixels_sha256
from service.images.decoding import decode, read_canonical
from service.images.encoding import encode_mask_png, encode_png, encode_tiff
from tests.service.images import files


def canonical(
    pixels: NDArray[Any], icc_profile: bytes | None = None, dpi: tuple[float, float] | None = None
) -> CanonicalImage:
    info = ImageInfo(
        width=pixels.shape[1],
        height=pixels.shape[0],
        mode=MODES[channels(pixels)],
        bit_depth=16 if pixels.dtype == np.uint16 else 8,
        source_format="png",
        lossy=False,
        has_icc_profile=icc_profile is not None,
        dpi=dpi,
        pixels_sha256=pixels_sha256(pixels),
    )
    return CanonicalImage(pixels, info, icc_profile)


ALL = pytest.mark.parametrize(
    "pixels",
    [
        files.noise(*shape, dtype=dtype)
        for dtype in ("uint8", "uint16")
        for shape in ((19, 23), (19, 23, 2), (19, 23, 3), (19, 23, 4), (1, 1), (1, 9, 3), (9, 1, 4))
    ],
    ids=lambda pixels: f"{pixels.shape}-{pixels.dtype}",
)


@ALL
def test_png_read_by_another_decoder(pixels: NDArray[Any]) -> None:
    read = files.second_opinion(encode_png(canonical(pixels)))
    assert read.dtype == pixels.dtype
    if channels(pixels) == 2:  # OpenCV shows grey and alpha as RGBA
        read = read[..., [0, 3]]
    np.testing.assert_array_equal(read, pixels)


@ALL
def test_png_comes_back_as_it_went(pixels: NDArray[Any]) -> None:
    image = canonical(pixels, files.grey_profile() if channels(pixels) < 3 else files.srgb(), (300, 200))
    again = read_canonical(encode_png(image))
    np.testing.assert_array_equal(again.pixels, pixels)
    assert again.pixels.dtype == pixels.dtype
    assert again.icc_profile == image.icc_profile
    assert again.info == image.info


@ALL
def test_tiff_read_by_another_decoder(pixels: NDArray[Any]) -> None:
    data = encode_tiff(canonical(pixels))
    np.testing.assert_array_equal(imagecodecs.tiff_decode(data), pixels)  # libtiff
    if channels(pixels) in (1, 3):  # of alpha in TIFF, OpenCV makes something else
        np.testing.assert_array_equal(files.second_opinion(data).reshape(pixels.shape), pixels)
    np.testing.assert_array_equal(decode(data).pixels, pixels)


@ALL
def test_tiff_tags(pixels: NDArray[Any]) -> None:
    profile = files.grey_profile() if channels(pixels) < 3 else files.srgb()
    data = encode_tiff(canonical(pixels, profile, (300, 150)))
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tags = file.pages[0].tags
        assert len(file.pages) == 1
        assert tags.valueof(262) == (1 if channels(pixels) < 3 else 2)
        assert tags.valueof(259) == 8
        assert tags.valueof(34675) == profile
        assert tags.valueof(338) == ((2,) if channels(pixels) in (2, 4) else None)
        assert tags.valueof(305) is None
        assert tags.valueof(306) is None
    image = decode(data)
    assert image.icc_profile == profile
    assert image.info.dpi == (300, 150)
    if pixels.dtype == np.uint8:
        with Image.open(io.BytesIO(data)) as second:
            assert second.mode == {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels(pixels)]
            assert second.info["icc_profile"] == profile
            np.testing.assert_array_equal(np.asarray(second), pixels)


def test_png_metadata_read_by_another_decoder() -> None:
    data = encode_png(canonical(files.noise(9, 9, 3), files.srgb(), (300, 150)))
    with Image.open(io.BytesIO(data)) as second:
        second.load()
        assert second.info["icc_profile"] == files.srgb()
        assert second.info["dpi"] == pytest.approx((300, 150), abs=0.02)


def test_the_same_image_gives_the_same_bytes() -> None:
    pixels = files.noise(64, 64, 3, dtype="uint16")
    for encode in (encode_png, encode_tiff):
        first = encode(canonical(pixels, files.srgb(), (72, 72)))
        assert encode(canonical(pixels.copy(), files.srgb(), (72, 72))) == first


def test_an_image_larger_than_a_data_chunk() -> None:
    pixels = files.noise(2100, 2100, 4)
    data = encode_png(canonical(pixels))
    assert data.count(b"IDAT") >= 2
    np.testing.assert_array_equal(files.second_opinion(data), pixels)


def test_flat_images_become_small() -> None:
    pixels = np.full((1000, 1000, 3), 77, np.uint8)
    assert len(encode_png(canonical(pixels))) < 30_000
    assert len(encode_tiff(canonical(pixels))) < 60_000


def test_views_are_written_as_seen() -> None:
    pixels = files.noise(20, 30, 4, dtype="uint16")[::-2, ::3]
    np.testing.assert_array_equal(read_canonical(encode_png(canonical(pixels))).pixels, pixels)
    np.testing.assert_array_equal(decode(encode_tiff(canonical(pixels))).pixels, pixels)
    assert pixels_sha256(pixels) == pixels_sha256(pixels.copy())


@pytest.mark.parametrize("dpi", [(0.01, 0.01), (1e8, 1e8), (72.0, 72.0)])
def test_extreme_resolutions(dpi: tuple[float, float]) -> None:
    image = canonical(files.noise(5, 5), dpi=dpi)
    assert read_canonical(encode_png(image)).info.dpi == pytest.approx(dpi, rel=0.001, abs=0.02)
    assert decode(encode_tiff(image)).info.dpi == pytest.approx(dpi, rel=0.001)


def test_masks_are_black_and_white() -> None:
    mask = files.noise(19, 23) > 127
    read = files.second_opinion(encode_mask_png(mask))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, np.where(mask, 255, 0))
