"""Synthetic images say that they are, to readers that are not ours."""

from __future__ import annotations

import io
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from service.images.decoding import decode
from service.images.encoding import encode_png, encode_tiff
from tests.service.images import files
from tests.service.images.test_encoding import canonical

_TYPE = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
_COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"

KINDS = pytest.mark.parametrize(
    "pixels",
    [files.noise(19, 23, dtype="uint16"), files.noise(19, 23, 3, dtype="uint8")],
    ids=lambda pixels: f"{pixels.shape}-{pixels.dtype}",
)


def source_type(packet: bytes | str) -> str | None:
    """What a packet says; it is read as XML."""
    text = packet.decode() if isinstance(packet, bytes) else packet
    root = ElementTree.fromstring(text)
    return next((one.get(_TYPE) for one in root.iter() if one.get(_TYPE)), None)


@KINDS
def test_a_png_says_so(pixels: NDArray[Any]) -> None:
    data = encode_png(canonical(pixels, dpi=(300, 200)), synthetic=True)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert source_type(image.info["xmp"]) == _COMPOSITE
    assert encode_png(canonical(pixels, dpi=(300, 200)), synthetic=True) == data
    np.testing.assert_array_equal(decode(data).pixels, pixels)


@KINDS
def test_a_tiff_says_so(pixels: NDArray[Any]) -> None:
    data = encode_tiff(canonical(pixels, dpi=(300, 200)), synthetic=True)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        assert source_type(bytes(file.pages[0].tags[700].value)) == _COMPOSITE
        np.testing.assert_array_equal(file.asarray(), pixels)
    assert encode_tiff(canonical(pixels, dpi=(300, 200)), synthetic=True) == data
    np.testing.assert_array_equal(decode(data).pixels, pixels)


@KINDS
def test_others_say_nothing(pixels: NDArray[Any]) -> None:
    with Image.open(io.BytesIO(encode_png(canonical(pixels)))) as image:
        image.load()
        assert "xmp" not in image.info
    with tifffile.TiffFile(io.BytesIO(encode_tiff(canonical(pixels)))) as file:
        assert 700 not in file.pages[0].tags
