"""Cut, damaged and made-up files end in an ImageError or an image: never in anything else."""

from __future__ import annotations

import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.images.decoding import decode, open_source
from service.images.errors import ImageError
from service.images.limits import Limits
from tests.service.images import files

SMOOTH = files.smooth(48, 64)
SENT = {
    "png": files.pil(SMOOTH, "PNG", icc_profile=files.srgb(), dpi=(300, 300)),
    "png16": files.png(files.noise(20, 20, 3, dtype="uint16")),
    "jpeg": files.pil(SMOOTH, "JPEG", icc_profile=files.srgb(), exif=b"Exif\0\0" + files.exif(6, gps=True)),
    "progressive jpeg": files.pil(SMOOTH, "JPEG", progressive=True),
    "tiff": files.tiff(SMOOTH, photometric="rgb"),
    "deflated tiff": files.tiff(
        files.noise(48, 64, dtype="uint16"), compression="zlib", predictor=True, rowsperstrip=8
    ),
    "tiled tiff": files.tiff(SMOOTH, photometric="rgb", tile=(16, 16), compression="lzw"),
    "jpeg tiff": files.tiff(SMOOTH, photometric="rgb", compression="jpeg", rowsperstrip=16),
    "fax tiff": files.pil(files.noise(48, 64) > 127, "TIFF", compression="group4"),
    "bmp": files.pil(SMOOTH, "BMP"),
    "palette bmp": files.pil(files.Image.fromarray(SMOOTH).quantize(16), "BMP"),
    "webp": files.pil(SMOOTH, "WEBP"),
    "lossless webp": files.pil(SMOOTH, "WEBP", lossless=True, exif=files.exif(3)),
}
EACH = pytest.mark.parametrize("name", SENT)


def harmless(data: bytes) -> bool:
    """Whether the file was taken; anything but an image or an ImageError escapes."""
    try:
        image = decode(data, Limits(max_side=2000, max_pixels=10**6))
    except ImageError:
        return False
    assert image.pixels.shape[:2] == (image.info.height, image.info.width)
    return True


@EACH
def test_cut_at_many_lengths(name: str) -> None:
    data = SENT[name]
    lengths = sorted({*range(min(64, len(data))), *range(64, len(data), max(1, len(data) // 150)), len(data) - 1})
    for length in lengths:
        taken = harmless(data[:length])
        # JPEG may lack its end marker; a TIFF may begin with its pixels and end with padding.
        if length < len(data) - 2:
            assert not taken or name in ("jpeg", "progressive jpeg", "jpeg tiff", "fax tiff"), (name, length)
    assert harmless(data)


@pytest.mark.parametrize("name", ["jpeg", "progressive jpeg"])
def test_half_a_jpeg_is_not_filled_up(name: str) -> None:
    with pytest.raises(ImageError, match="damaged or cut off"):
        decode(SENT[name][: len(SENT[name]) * 9 // 10])


@EACH
def test_damaged_bytes(name: str) -> None:
    rng = np.random.default_rng(7)
    for _ in range(150):
        data = bytearray(SENT[name])
        for place in rng.integers(0, min(len(data), rng.choice([64, 1000, 10**6])), rng.integers(1, 5)):
            data[place] = rng.integers(0, 256)
        harmless(bytes(data))


@pytest.mark.parametrize("name", ["png", "png16"])
def test_a_damaged_png_is_always_noticed(name: str) -> None:
    data = bytearray(SENT[name])
    for place in range(8, len(data), max(1, len(data) // 97)):
        data[place] ^= 0x10
        with pytest.raises(ImageError):
            decode(bytes(data))
        data[place] ^= 0x10


MAGIC = [
    b"\x89PNG\r\n\x1a\n",
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    b"\xff\xd8\xff",
    b"\xff\xd8\xff\xe0\0\x10JFIF\0",
    b"\xff\xd8\xff\xc0\0\x11\x08",
    b"II*\0",
    b"MM\0*",
    b"II*\0\x08\0\0\0\x05\0",
    b"II+\0\x08\0\0\0",
    b"BM",
    b"BM" + struct.pack("<IHHI", 100, 0, 0, 54) + struct.pack("<I", 40),
    b"RIFF\x20\0\0\0WEBP",
    b"RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0",
    b"RIFF\x20\0\0\0WEBPVP8L\x10\0\0\0\x2f",
    b"RIFF\x20\0\0\0WEBPVP8 \x10\0\0\0",
    b"",
]


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(magic=st.sampled_from(MAGIC), rest=st.binary(max_size=300))
def test_random_bytes_after_a_magic_number(magic: bytes, rest: bytes) -> None:
    harmless(magic + rest)


TAGS = (254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 282, 284, 317, 322, 323, 338, 339)


@settings(max_examples=300, deadline=None)
@given(
    entries=st.lists(
        st.tuples(
            st.sampled_from(
                [254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 282, 284, 317, 322, 323, 338, 339]
            ),
            st.sampled_from([1, 3, 4, 5, 12, 16]),
            st.sampled_from([0, 1, 2, 3, 1000, 2**31]),
            st.integers(0, 2**32 - 1) | st.integers(0, 16),
        ),
        max_size=14,
    )
)
def test_random_tiff_tags(entries: list[tuple[int, int, int, int]]) -> None:
    directory = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    harmless(b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + directory + bytes(200))


@settings(max_examples=300, deadline=None)
@given(
    width=st.integers(0, 40),
    height=st.integers(0, 40),
    depth=st.integers(0, 17),
    colour=st.integers(0, 7),
    interlace=st.integers(0, 2),
    extra=st.lists(
        st.tuples(
            st.sampled_from([b"PLTE", b"tRNS", b"iCCP", b"pHYs", b"eXIf", b"acTL", b"tIME"]),
            st.binary(max_size=12),
        ),
        max_size=3,
    ),
    rows=st.integers(0, 5000),
)
def test_random_png_chunks_with_right_checksums(
    width: int,
    height: int,
    depth: int,
    colour: int,
    interlace: int,
    extra: list[tuple[bytes, bytes]],
    rows: int,
) -> None:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(bytes(rows))), (b"IEND", b"")]
    harmless(files.SIGNATURE + b"".join(files.chunk(*one) for one in chunks))


# Decompression bombs


def bombs() -> dict[str, bytes]:
    side = 60_000
    header = struct.pack(">IIBBBBB", side, side, 16, 6, 0, 0, 0)
    png = files.SIGNATURE + b"".join(
        files.chunk(*one) for one in [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(100_000))), (b"IEND", b"")]
    )
    jpeg = bytearray(files.pil(SMOOTH, "JPEG"))
    struct.pack_into(">HH", jpeg, jpeg.index(b"\xff\xc0") + 5, side, side)
    bmp = bytearray(files.pil(SMOOTH, "BMP"))
    struct.pack_into("<ii", bmp, 18, side, side)
    tiff = bytearray(files.tiff(SMOOTH, photometric="rgb", rowsperstrip=2**16))
    for tag in (256, 257):
        place = tiff.index(struct.pack("<H", tag), 8)
        struct.pack_into("<HII", tiff, place + 2, 4, 1, side)
    webp = b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + b"\xff\xff\0" * 2 + bytes(60)
    return {"png": png, "jpeg": bytes(jpeg), "bmp": bytes(bmp), "tiff": bytes(tiff), "webp": webp}


@pytest.mark.parametrize("name", ["png", "jpeg", "bmp", "tiff", "webp"])
def test_a_huge_header_over_little_data_costs_nothing(name: str) -> None:
    data = bombs()[name]
    decode(SENT[name])  # loads the format's modules
    tracemalloc.start()
    with pytest.raises(ImageError):
        open_source(data, Limits())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 2**20


@pytest.mark.parametrize("name", ["png", "jpeg", "bmp", "webp"])
def test_a_bomb_is_told_its_size(name: str) -> None:
    with pytest.raises(ImageError, match="at most 16,384 a side"):
        open_source(bombs()[name], Limits())


def test_a_profile_that_unpacks_to_gigabytes_is_left_out() -> None:
    body = b"x\0\0" + zlib.compress(bytes(2**26), 9)
    assert decode(files.png(SMOOTH, (b"iCCP", body))).icc_profile is None


def test_a_strip_that_unpacks_to_far_more_than_it_should() -> None:
    packed = zlib.compress(bytes(2**26), 1)
    data = bytearray(files.tiff(np.zeros((8, 8), np.uint8), compression="zlib", rowsperstrip=8))
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    for entry in range(count):
        place = directory + 2 + 12 * entry
        tag = struct.unpack_from("<H", data, place)[0]
        if tag in (273, 279):
            struct.pack_into("<HII", data, place + 2, 4, 1, len(data) if tag == 273 else len(packed))
    with pytest.raises(ImageError, match="damaged"):
        decode(bytes(data) + packed)


def test_a_tiff_whose_pages_run_in_a_circle() -> None:
    data = bytearray(files.tiff(SMOOTH, photometric="rgb"))
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    struct.pack_into("<I", data, directory + 2 + 12 * count, directory)
    assert not harmless(bytes(data)) or decode(bytes(data)).pixels.shape == (48, 64, 3)


def test_strips_that_are_missing_are_noticed() -> None:
    data = bytearray(files.tiff(files.noise(48, 64), rowsperstrip=8))
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    for entry in range(count):
        place = directory + 2 + 12 * entry
        if struct.unpack_from("<H", data, place)[0] == 279:
            (lengths,) = struct.unpack_from("<I", data, place + 8)
            struct.pack_into("<H" if struct.unpack_from("<H", data, place + 2)[0] == 3 else "<I", data, lengths, 0)
    with pytest.raises(ImageError, match="lacks parts"):
        decode(bytes(data))


def test_no_module_of_images_needs_a_web_framework_or_torch() -> None:
    import subprocess
    import sys

    modules = ["child", "door", "decoding", "encoding", "masks", "tiff", "png", "jpeg", "bmp", "webp"]
    lines = ["import sys", *(f"import service.images.{name}" for name in modules)]
    lines.append("assert not {'fastapi', 'starlette', 'torch', 'redis'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)
