"""ZIPs from outside: nothing leads out of them, and none takes more than it may."""

from __future__ import annotations

import hashlib
import stat
import struct
import unicodedata
import zipfile
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from service.samples.archive import Archive
from service.samples.errors import SampleError
from service.samples.limits import SampleLimits
from tests.service.samples.sets import zipped


def opened(path: Path, limits: SampleLimits | None = None, max_file_bytes: int = 10**9) -> Archive:
    return Archive(path, limits or SampleLimits(), "samples", max_file_bytes)


def refused(path: Path, says: str, limits: SampleLimits | None = None) -> None:
    with pytest.raises(SampleError, match=says) as caught:
        opened(path, limits)
    assert caught.value.field == "samples"


def test_files_are_listed_and_read_in_order(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"b/2.png": b"two", "b/": b"", "a/1.png": b"one"})
    with opened(path) as archive:
        assert archive.names == ["b/2.png", "a/1.png"]
        assert archive.read("a/1.png", 3) == b"one"
        assert archive.extract("b/2.png", tmp_path / "out") == hashlib.sha256(b"two").hexdigest()
    assert (tmp_path / "out").read_bytes() == b"two"


@pytest.mark.parametrize("name", ["./a/1.png", "a//1.png", "a/./1.png", "a/1.png"])
def test_a_path_has_one_name_however_it_is_written(tmp_path: Path, name: str) -> None:
    with opened(zipped(tmp_path / "a.zip", {"./": b"", name: b"one"})) as archive:
        assert archive.names == ["a/1.png"]
        assert archive.size("a/1.png") == 3
        assert archive.read("a/1.png", 3) == b"one"


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("says_utf8", [True, False])
def test_letters_with_accents_are_the_same_from_all_archivers(
    tmp_path: Path, form: Literal["NFC", "NFD"], says_utf8: bool
) -> None:
    name = unicodedata.normalize(form, "Prüfling.png")
    blank = "_" * len(name.encode())
    path = zipped(tmp_path / "a.zip", {name if says_utf8 else blank: b"one"})
    path.write_bytes(path.read_bytes().replace(blank.encode(), name.encode()))
    with opened(path) as archive:
        assert archive.names == ["Prüfling.png"]
        assert archive.read("Prüfling.png", 3) == b"one"


def test_names_of_code_page_437_are_left_as_they_are(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"Pr_fling.png": b"one"})
    path.write_bytes(path.read_bytes().replace(b"Pr_", b"Pr\x81"))
    with opened(path) as archive:
        assert archive.read("Prüfling.png", 3) == b"one"


def test_what_file_managers_leave_behind_is_not_there(tmp_path: Path) -> None:
    names = ("__MACOSX/._1.png", ".DS_Store", "a/Thumbs.db", "a/.hidden/1.png", "a/desktop.ini", "a/1.png")
    with opened(zipped(tmp_path / "a.zip", dict.fromkeys(names, b"x"))) as archive:
        assert archive.names == ["a/1.png"]


@pytest.mark.parametrize(
    "name",
    [
        "../1.png",
        "a/../../1.png",
        "/etc/passwd",
        "C:/1.png",
        "a\\1.png",
        "..\\1.png",
        "//server/1.png",
        "./C:/1.png",
    ],
)
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    refused(zipped(tmp_path / "a.zip", {"ok.png": b"x", name: b"x"}), "leads out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_names_that_no_folder_has_are_refused(tmp_path: Path) -> None:
    refused(zipped(tmp_path / "a.zip", {"a/" * 500 + "1.png": b"x"}), r"a/a/.* has more than 1,000 characters")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        entry = zipfile.ZipInfo("x")
        entry.filename = ""
        with archive.open(entry, "w") as file:
            file.write(b"x")
    refused(tmp_path / "b.zip", "no name")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    entry = zipfile.ZipInfo("masks/1.png")
    entry.create_system = 3
    entry.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    refused(tmp_path / "a.zip", r"masks/1\.png is a link or a device")


def test_the_same_name_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a/1.png", b"x")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a/1.png", b"y")
    refused(tmp_path / "a.zip", r"a/1\.png is in the ZIP twice")


@pytest.mark.parametrize("names", [("a/1.png", "./a/1.png"), ("\u00fc.png", "u\u0308.png")])
def test_two_that_come_to_have_the_same_name_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    refused(zipped(tmp_path / "a.zip", dict.fromkeys(names, b"x")), r"\.png is in the ZIP twice")


def test_encrypted_files_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a/1.png": b"x"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    refused(path, "without a password")


def test_other_methods_than_deflate_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a/1.png", b"x" * 1000)
    refused(tmp_path / "a.zip", "Deflate")


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"not a zip at all" * 100, b"PK\x05\x06"])
def test_what_is_no_zip_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(data)
    refused(tmp_path / "a.zip", "no ZIP")


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.98])
def test_a_zip_that_is_cut_off_is_refused(tmp_path: Path, kept: float) -> None:
    path = zipped(tmp_path / "a.zip", {f"{i}.png": bytes(range(256)) * 20 for i in range(20)})
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    refused(path, "damaged or cut off")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a/1.png": bytes(range(256)) * 20, "a/2.png": b"x"})
    data = bytearray(path.read_bytes())
    data[60:80] = bytes(20)
    path.write_bytes(data)
    with opened(path) as archive, pytest.raises(SampleError, match=r"a/1\.png is damaged"):
        archive.extract("a/1.png", tmp_path / "out")


def test_a_file_over_its_limit_ends_at_it(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a.png": bytes(5_000_000)})
    with opened(path, max_file_bytes=1_500_000) as archive, pytest.raises(SampleError, match=r"a\.png is over"):
        archive.extract("a.png", tmp_path / "out")
    assert (tmp_path / "out").stat().st_size <= 1_500_000


def test_a_bomb_of_many_files_ends_at_the_limit_of_all(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {f"{i}.png": bytes(2_000_000) for i in range(10)})
    limits = SampleLimits(max_bytes=5_000_000)
    with opened(path, limits) as archive:
        archive.extract("0.png", tmp_path / "out")
        archive.extract("1.png", tmp_path / "out")
        with pytest.raises(SampleError, match="more than 5,000,000 bytes unpacked"):
            archive.extract("2.png", tmp_path / "out")


def test_a_bomb_is_known_by_its_ratio(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a.png": bytes(80_000_000)})
    with opened(path) as archive, pytest.raises(SampleError, match="200 times its size"):
        archive.extract("a.png", tmp_path / "out")
    assert (tmp_path / "out").stat().st_size < 70_000_000


def test_a_file_that_says_less_than_it_holds_is_damaged(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a.png": bytes(3_000_000)})
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = struct.pack("<L", 100)
    path.write_bytes(data)
    with opened(path) as archive, pytest.raises(SampleError, match=r"a\.png is damaged"):
        archive.extract("a.png", tmp_path / "out")


def test_whatever_is_damaged_the_set_is_read_or_refused(tmp_path: Path) -> None:
    whole = zipped(tmp_path / "whole.zip", {"images/1.png": b"one" * 9, "masks/1.png": b"two" * 9}).read_bytes()
    rng = np.random.default_rng(0)
    refusals = 0
    for _ in range(400):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            data[place : place + rng.integers(0, 5)] = rng.choice([b"\0" * 4, b"\xff" * 4, b"", rng.bytes(1)])
        (tmp_path / "a.zip").write_bytes(data)
        try:
            with opened(tmp_path / "a.zip") as archive:
                for name in archive.names:
                    archive.read(name, 1000)
        except SampleError:
            refusals += 1
    assert 200 < refusals < 400


def test_too_many_entries_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {f"{i}.png": b"" for i in range(11)})
    refused(path, "more than 10 entries", SampleLimits(max_entries=10))


def test_a_directory_too_long_to_be_read_is_not_read(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {f"{i}/{'x' * 60000}.png": b"" for i in range(80)})
    refused(path, "more than 100 entries", SampleLimits(max_entries=100))
