"""The door: a process for each admission, bounded in number, memory and time."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.images.decoding import decode, read_canonical
from service.images.door import Admitted, AdmittedFiles, Caller, Door
from service.images.encoding import encode_png
from service.images.errors import DecoderLostError, DoorBusyError, DoorError, ImageError
from service.images.limits import Limits
from tests.service.images import files

RGB = files.noise(30, 40, 3)
MASK = files.noise(30, 40) > 127
MASK_PNG = files.pil(MASK, "PNG")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "door"
    folder.mkdir()
    return folder


@pytest.fixture
def door(folder: Path) -> Door:
    return Door(Limits(), byte_budget=2 * 10**9, max_children=2, timeout_s=60, folder=folder)


def admit(door: Door, *arguments: Any, **options: Any) -> Admitted:
    """Run one admission; the door must keep nothing of it."""

    async def run() -> Admitted:
        return await door.admit(*arguments, **options)

    try:
        return asyncio.run(run())
    finally:
        assert door._folder is not None
        assert list(door._folder.iterdir()) == []
        assert door._reserved == 0


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a shell script in the place of the decoding process; ``$4`` is its request."""

    def replace(script: str) -> None:
        path = tmp_path / "child.sh"
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(stat.S_IRWXU)
        monkeypatch.setattr("service.images.decoders.sys.executable", str(path))

    return replace


# What comes through


def test_an_image_alone(door: Door) -> None:
    data = files.pil(files.smooth(30, 40), "JPEG", exif=b"Exif\0\0" + files.exif(6))
    admitted = admit(door, data)
    here = decode(data)
    assert admitted.info == here.info
    assert admitted.info is not None
    assert (admitted.info.width, admitted.info.height, admitted.info.lossy) == (30, 40, True)
    assert admitted.png == encode_png(here)
    assert (admitted.mask_png, admitted.mask_pixels, admitted.warnings) == (None, None, [])


@pytest.mark.parametrize("as_path", [False, True])
def test_an_image_with_its_mask(door: Door, tmp_path: Path, as_path: bool) -> None:
    sent: list[Any] = [files.tiff(RGB.astype(np.uint16) * 257, photometric="rgb"), MASK_PNG]
    if as_path:
        for number, data in enumerate(sent):
            sent[number] = tmp_path / f"sent-{number}"
            sent[number].write_bytes(data)
    admitted = admit(door, *sent)
    assert admitted.png is not None
    assert admitted.mask_png is not None
    np.testing.assert_array_equal(files.second_opinion(admitted.png), RGB.astype(np.uint16) * 257)
    np.testing.assert_array_equal(files.second_opinion(admitted.mask_png), np.where(MASK, 255, 0))
    assert admitted.mask_pixels == MASK.sum()
    assert admitted.warnings == ["mask: 1-bit pixels were expanded to 8-bit grey"]
    assert not as_path or all(path.exists() for path in sent)


def test_warnings_say_which_file_they_mean(door: Door) -> None:
    grey = files.pil(MASK, "BMP")
    mask = files.pil(np.where(MASK, 255, 0).astype(np.uint8), "JPEG")
    warnings = admit(door, grey, mask).warnings
    assert warnings[0] == "image: 1-bit pixels were expanded to 8-bit grey"
    assert warnings[1].startswith("mask: compressed with loss (jpeg)")


def test_an_earlier_upload_passes_as_it_is(door: Door) -> None:
    image = decode(files.pil(RGB, "JPEG"))
    stored = encode_png(image)
    admitted = admit(door, stored, MASK_PNG, image_info=image.info)
    assert admitted.png == stored
    assert admitted.info == image.info
    assert admitted.mask_pixels == MASK.sum()
    assert admit(door, stored, image_info=image.info).png == stored


def test_an_earlier_upload_may_be_the_mask(door: Door) -> None:
    values = np.full((30, 40), 3, np.uint8)
    values[5:9, 5:9] = 200
    stored = files.png(values)
    lossless = admit(door, files.png(RGB), stored, mask_lossy=False)
    assert (lossless.mask_pixels, lossless.warnings) == (16, [])
    lossy = admit(door, files.png(RGB), stored, mask_lossy=True)
    assert lossy.mask_pixels == 16
    assert lossy.warnings[0].startswith("mask: compressed with loss")
    faint = files.png(np.minimum(values, 100))
    assert admit(door, files.png(RGB), faint, mask_lossy=False).mask_pixels == 16
    with pytest.raises(ImageError, match="brightest value is 100"):
        admit(door, files.png(RGB), faint, mask_lossy=True)


def test_a_canonical_mask_may_be_larger_than_an_upload(folder: Path) -> None:
    noise = files.noise(30, 40)
    door = Door(Limits(max_bytes=500), byte_budget=10**9, max_children=1, timeout_s=60, folder=folder)
    info = decode(files.png(RGB)).info
    mask = files.png(noise)
    assert len(mask) > 500
    assert admit(door, None, mask, image_info=info, mask_lossy=False).mask_pixels == (noise >= 128).sum()
    with pytest.raises(ImageError, match="at most 500"):
        admit(door, None, mask, image_info=info)


def test_twenty_megapixels_of_16_bit_colour(door: Door) -> None:
    rows = np.arange(4000, dtype=np.uint16)[:, None, None] * 16
    pixels = rows + np.arange(5000, dtype=np.uint16)[None, :, None] + np.array([0, 9, 99], np.uint16)
    admitted = admit(door, files.png(pixels), files.png(np.full((4000, 5000), 255, np.uint8)))
    assert admitted.png is not None
    np.testing.assert_array_equal(read_canonical(admitted.png).pixels, pixels)
    assert admitted.mask_pixels == 20_000_000


def test_a_start_is_quick() -> None:
    """The modules of a decoding process, without pixels to decode: a few tenths of a second of work."""
    command = "import time, service.images.child, service.images.png; print(time.process_time())"
    runs = [subprocess.run([sys.executable, "-c", command], capture_output=True, check=True) for _ in range(2)]
    assert min(float(run.stdout) for run in runs) < 1


# What does not


@pytest.mark.parametrize(
    ("image", "mask", "field", "message"),
    [
        (b"", None, "image", "empty"),
        (b"nonsense", MASK_PNG, "image", "not an image of a kind that is accepted"),
        (files.png(RGB), b"nonsense", "mask", "not an image of a kind that is accepted"),
        (files.png(RGB), files.png(np.zeros((30, 40), np.uint8)), "mask", "mask is empty"),
        (files.png(RGB), files.png(np.ones((40, 30), np.uint8)), "mask", "mask is 30×40 and the image 40×30"),
        (files.pil(np.zeros((10, 30_000), np.uint8), "PNG"), None, "image", "at most 16,384 a side"),
        (files.pil(files.smooth(48, 64), "JPEG")[:700], MASK_PNG, "image", "damaged"),
    ],
)
def test_a_refusal_names_the_file_and_the_remedy(
    door: Door, image: bytes, mask: bytes | None, field: str, message: str
) -> None:
    with pytest.raises(ImageError, match=message) as caught:
        admit(door, image, mask)
    assert caught.value.field == field


def test_nothing_to_admit(door: Door) -> None:
    with pytest.raises(ValueError, match="nothing to admit"):
        admit(door, None)


# Bounds


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is bounded by /proc and RLIMIT_AS")
def test_memory_beyond_the_estimate_is_refused(
    door: Door, monkeypatch: pytest.MonkeyPatch, child: Callable[[str], None]
) -> None:
    program = (
        "import sys; sys.argv[0] = ''\n"
        "from service.images import child\n"
        "child.decode_source = lambda source: bytearray(3 * 10**8)\n"
        "child.main()"
    )
    child(f'exec {sys.executable} -c "{program}" "$4"')
    with pytest.raises(
        ImageError, match=r"far more memory than its size calls for\. Save the image again"
    ) as caught:
        admit(door, files.png(RGB))
    assert caught.value.field == "image"


def test_a_decode_that_takes_too_long(folder: Path, child: Callable[[str], None]) -> None:
    child('echo \'{"field": "mask"}\'; exec sleep 60')
    door = Door(Limits(), byte_budget=10**9, max_children=1, timeout_s=0.5, folder=folder)
    started = time.monotonic()
    with pytest.raises(ImageError, match=r"longer than 0\.5 s\. Save the image again") as caught:
        admit(door, files.png(RGB), MASK_PNG)
    assert caught.value.field == "mask"
    assert time.monotonic() - started < 10


def test_a_decoder_that_is_killed(door: Door, child: Callable[[str], None]) -> None:
    child('echo \'{"field": "image"}\'; kill -9 $$')
    with pytest.raises(ImageError, match=r"broke the decoder \(signal 9\)\. Save the image again") as caught:
        admit(door, files.png(RGB))
    assert caught.value.field == "image"


@pytest.mark.parametrize("script", ["echo what happened >&2; exit 3", "echo what happened >&2"])
def test_a_fault_of_ours_is_not_the_file_s(door: Door, child: Callable[[str], None], script: str) -> None:
    child(script)
    with pytest.raises(DoorError, match="what happened"):
        admit(door, files.png(RGB))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="writes to a file that is always full")
def test_a_full_disk_is_told_as_one(door: Door, child: Callable[[str], None]) -> None:
    program = (
        "import sys; sys.argv[0] = ''\n"
        "from service.images import child\n"
        "child.IMAGE_PNG = '/dev/full'\n"
        "child.main()"
    )
    child(f'exec {sys.executable} -c "{program}" "$4"')
    with pytest.raises(OSError, match="No space left") as caught:
        admit(door, files.png(RGB))
    assert caught.value.errno == errno.ENOSPC


def test_an_image_beyond_the_whole_budget(folder: Path) -> None:
    door = Door(Limits(), byte_budget=10**6, max_children=1, timeout_s=60, folder=folder)
    with pytest.raises(ImageError, match=r"MB of memory; this service sets aside 1 MB\. Crop"):
        admit(door, files.png(RGB))


WAITING = """
echo '{"field": "image"}'
echo '{"bytes_needed": 60}'
read leave
touch "$(dirname "$0")/started-$$"
while [ ! -e "$(dirname "$0")/release" ]; do sleep 0.05; done
echo png > "$(dirname "$4")/image.png"
echo '{"done": {}}'
"""


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


def test_beyond_the_budget_the_door_is_busy(tmp_path: Path, folder: Path, child: Callable[[str], None]) -> None:
    child(WAITING)
    door = Door(Limits(), byte_budget=100, max_children=4, timeout_s=60, folder=folder)

    async def run() -> None:
        first = asyncio.create_task(door.admit(b"x"))
        await until(lambda: bool(list(tmp_path.glob("started-*"))))
        with pytest.raises(DoorBusyError) as caught:
            await door.admit(b"x")
        assert caught.value.retry_after >= 1
        (tmp_path / "release").touch()
        assert (await first).png == b"png\n"
        assert (await door.admit(b"x")).png == b"png\n"

    asyncio.run(run())
    assert list(folder.iterdir()) == []


def test_no_more_children_than_allowed(tmp_path: Path, folder: Path, child: Callable[[str], None]) -> None:
    child(WAITING)
    door = Door(Limits(), byte_budget=10**6, max_children=2, timeout_s=60, folder=folder)

    async def run() -> None:
        tasks = [asyncio.create_task(door.admit(b"x")) for _ in range(5)]
        await until(lambda: len(list(tmp_path.glob("started-*"))) == 2)
        await asyncio.sleep(0.3)
        assert len(list(tmp_path.glob("started-*"))) == 2
        (tmp_path / "release").touch()
        await asyncio.gather(*tasks)

    asyncio.run(run())
    assert len(list(tmp_path.glob("started-*"))) == 5


def test_waiting_for_a_turn_has_an_end(tmp_path: Path, folder: Path, child: Callable[[str], None]) -> None:
    child(WAITING)
    door = Door(Limits(), byte_budget=10**6, max_children=1, timeout_s=5, folder=folder)

    async def run() -> None:
        first = asyncio.create_task(door.admit(b"x"))
        await until(lambda: bool(list(tmp_path.glob("started-*"))))
        door.timeout_s = 0.2
        with pytest.raises(DoorBusyError):
            await door.admit(b"x")
        (tmp_path / "release").touch()
        await first

    asyncio.run(run())


def test_a_canceled_admission_leaves_nothing(tmp_path: Path, folder: Path, child: Callable[[str], None]) -> None:
    child(WAITING)
    door = Door(Limits(), byte_budget=100, max_children=1, timeout_s=60, folder=folder)

    async def run() -> None:
        task = asyncio.create_task(door.admit(b"x"))
        await until(lambda: bool(list(tmp_path.glob("started-*"))))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        (pid,) = (int(path.name.partition("-")[2]) for path in tmp_path.glob("started-*"))
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert door._reserved == 0
        (tmp_path / "release").touch()
        await door.admit(b"x")

    asyncio.run(run())
    assert list(folder.iterdir()) == []


def test_the_child_sees_no_secrets(
    door: Door, tmp_path: Path, child: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAWSMITH_S3_SECRET_ACCESS_KEY", "hush")
    child(f'env > {tmp_path}/seen; ls -ld "$(dirname "$4")" >> {tmp_path}/seen')
    with pytest.raises(DoorError):
        admit(door, files.png(RGB))
    seen = (tmp_path / "seen").read_text(encoding="utf-8")
    assert "hush" not in seen
    assert "PYTHONPATH" in seen
    assert "drwx------" in seen


def test_many_at_once(door: Door) -> None:
    images = [files.noise(30, 40, 3, seed=seed) for seed in range(6)]

    async def run() -> list[Admitted]:
        return await asyncio.gather(*(door.admit(files.png(image), MASK_PNG) for image in images))

    for image, admitted in zip(images, asyncio.run(run()), strict=True):
        assert admitted.png is not None
        np.testing.assert_array_equal(read_canonical(admitted.png).pixels, image)


# Several together


def admit_several(
    door: Door, folder: Path, callers: list[Caller], *, go_on: bool = False
) -> tuple[list[AdmittedFiles], ImageError | None]:
    """Who was admitted, and what ended it; the door must keep nothing of it."""
    folders = [folder / str(number) for number in range(len(callers))]
    for each in folders:
        each.mkdir(parents=True)
    admitted: list[AdmittedFiles] = []

    async def run() -> ImageError | None:
        try:
            async with aclosing(door.admit_several(callers, folders, go_on=go_on)) as several:
                async for one in several:
                    admitted.append(one)
        except ImageError as error:
            return error
        return None

    error = asyncio.run(run())
    assert door._folder is not None
    assert list(door._folder.iterdir()) == []
    assert door._reserved == 0
    return admitted, error


def on_disk(folder: Path, data: bytes) -> Path:
    path = folder / f"sent-{len(list(folder.glob('sent-*')))}"
    path.write_bytes(data)
    return path


def test_several_come_in_by_one_process(door: Door, tmp_path: Path) -> None:
    images = [on_disk(tmp_path, files.png(files.noise(30, 40, 3, seed=seed))) for seed in range(3)]
    mask, empty = on_disk(tmp_path, MASK_PNG), on_disk(tmp_path, files.png(np.zeros((30, 40), np.uint8)))
    callers = [Caller(images[0], mask), Caller(images[1], None), Caller(images[2], empty), Caller(None, mask)]
    admitted, error = admit_several(door, tmp_path / "in", callers)
    assert error is None
    assert [one.mask_pixels for one in admitted] == [MASK.sum(), None, 0, MASK.sum()]
    for seed, one in enumerate(admitted[:3]):
        assert one.image is not None
        np.testing.assert_array_equal(
            read_canonical(one.image.read_bytes()).pixels, files.noise(30, 40, 3, seed=seed)
        )
    assert admitted[3].image is None
    assert admitted[3].mask is not None
    np.testing.assert_array_equal(read_canonical(admitted[3].mask.read_bytes()).pixels > 0, MASK)


def test_of_several_the_bad_one_is_known(door: Door, tmp_path: Path) -> None:
    image, mask = on_disk(tmp_path, files.png(RGB)), on_disk(tmp_path, MASK_PNG)
    small = on_disk(tmp_path, files.pil(MASK[:20], "PNG"))
    admitted, error = admit_several(door, tmp_path / "in", [Caller(image, mask), Caller(image, small)])
    assert len(admitted) == 1
    assert error is not None
    assert error.field == "mask"
    assert "40×20" in error.detail


def test_behind_a_bad_one_others_come_in_where_that_is_asked_for(tmp_path: Path, folder: Path) -> None:
    door = Door(Limits(), byte_budget=10**8, max_children=1, timeout_s=60, folder=folder)
    image, broken = on_disk(tmp_path, files.png(RGB)), on_disk(tmp_path, files.png(RGB)[:200])
    large = on_disk(tmp_path, files.png(np.zeros((4000, 4000), np.uint8)))
    callers = [Caller(broken, None), Caller(image, None), Caller(large, None), Caller(image, None)]
    admitted, error = admit_several(door, tmp_path / "in", callers, go_on=True)

    assert error is None
    assert [one.error is None for one in admitted] == [False, True, False, True]
    assert admitted[0].image is None
    assert admitted[2].error is not None
    assert "MB of memory" in admitted[2].error.detail
    for one in (admitted[1], admitted[3]):
        assert one.image is not None
        np.testing.assert_array_equal(read_canonical(one.image.read_bytes()).pixels, RGB)


def test_a_decoder_that_is_lost_ends_the_admission_even_so(
    door: Door, tmp_path: Path, child: Callable[[str], None]
) -> None:
    child('echo \'{"field": "image"}\'; kill -9 $$')
    image = on_disk(tmp_path, files.png(RGB))
    admitted, error = admit_several(door, tmp_path / "in", [Caller(image, None)] * 2, go_on=True)

    assert admitted == []
    assert isinstance(error, DecoderLostError)


def test_several_wait_for_memory_that_others_give_back(
    tmp_path: Path, folder: Path, child: Callable[[str], None]
) -> None:
    child(WAITING)
    door = Door(Limits(), byte_budget=100, max_children=4, timeout_s=60, folder=folder)
    (tmp_path / "in").mkdir()

    async def run() -> None:
        first = asyncio.create_task(door.admit(b"x"))
        await until(lambda: bool(list(tmp_path.glob("started-*"))))
        several = door.admit_several([Caller(tmp_path / "x", None)], [tmp_path / "in"])
        second = asyncio.create_task(anext(several))
        await asyncio.sleep(0.3)
        assert not second.done()
        (tmp_path / "release").touch()
        await first
        assert (await second).image == tmp_path / "in" / "image.png"
        await several.aclose()

    asyncio.run(run())
    assert door._reserved == 0
