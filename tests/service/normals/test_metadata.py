"""What is said of normal images, as CSV and as JSON lines."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from service.normals.metadata import Metadata, read_metadata, without_pixel_size
from service.normals.names import NormalNames
from service.samples.errors import SampleError

NAMES = ["a/1.png", "b/1.png", "b/2.jpg", "3.tif", "Pr\u00fcfling.png"]


def read(folder: Path, text: str | bytes) -> dict[str, Metadata]:
    path = folder / "table"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_metadata(path, NormalNames(NAMES))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("begin", ["", "\ufeff"])
def test_a_table_names_images_by_path_or_file_name(tmp_path: Path, delimiter: str, begin: str) -> None:
    rows = ["file,lot,serial", "a/1.png,007,x", '2.jpg,"8 ""b""",', "", "3.tif,,"]
    found = read(tmp_path, begin + "\r\n".join(rows).replace(",", delimiter))

    assert found == {"a/1.png": {"lot": "007", "serial": "x"}, "b/2.jpg": {"lot": '8 "b"'}, "3.tif": {}}


def test_blanks_around_values_do_not_count(tmp_path: Path) -> None:
    rows = [" file , lot,serial", "a/1.png,L7 ,x y", " b/1.png , L7,  ", "3.tif,\tL7,", " , ,", '2.jpg," L7 ",']
    found = read(tmp_path, "\n".join(rows))

    assert {name: said["lot"] for name, said in found.items()} == dict.fromkeys(
        ["a/1.png", "b/1.png", "3.tif", "b/2.jpg"], "L7"
    )
    assert [said.get("serial") for said in found.values()] == ["x y", None, None, None]


def test_columns_without_a_name_are_left_out(tmp_path: Path) -> None:
    wide = 70 * ","
    for text in (
        "file,lot,,\n3.tif,A,,\n",
        f"file,,lot,{wide}\n3.tif,?,A{wide}{wide}\n",
        "file,lot, \n3.tif,A,?\n",
    ):
        assert read(tmp_path, text) == {"3.tif": {"lot": "A"}}


@pytest.mark.parametrize("name", ["Pr\u00fcfling.png", "Pru\u0308fling.png"])
def test_names_match_however_their_accents_are_spelled(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, f"file,lot\n{name},7\n") == {"Pr\u00fcfling.png": {"lot": "7"}}
    assert NormalNames([name]).named("Pr\u00fcfling.png") == [name]
    assert NormalNames(["Pr\u00fcfling.png"]).with_mask(name.replace(".", "_mask.")) == ["Pr\u00fcfling.png"]


def test_json_lines_keep_what_values_are(tmp_path: Path) -> None:
    found = read(
        tmp_path, '{"file": "b\\\\1.png", "lot": 7, "tags": ["x\u2028y"]}\n\n{"lot": null, "file": "3.tif"}\n'
    )

    assert found == {"b/1.png": {"lot": 7, "tags": ["x\u2028y"]}, "3.tif": {"lot": None}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,lot\n1.png,2\n", ("no column file", "name, lot", "CSV with a header")),
        ("", ("no column file", "nothing")),
        ("file,lot\n1.png,2\n", ("line 2", "1.png", "a/1.png, b/1.png", "path")),
        ("file,lot\n4.png,2\n5.png,2\n3.tif,1\n", ("2 rows", "4.png, 5.png", "leave")),
        ("file,lot\n3.tif,2\n3.tif,3\n", ("line 3", "3.tif", "before it")),
        ("file,lot\n,2\n", ("line 2", "no file")),
        (f"file,lot\n{1001 * 'x'},2\n", ("1 rows", "xxx")),
        ("file,lot\n3.tif,2,3\n", ("line 2", "3 values", "2 columns")),
        ("file,lot,lot\n3.tif,2,3\n", ("lot", "twice")),
        ('file,lot\n3.tif,"2\n', ("no CSV",)),
        ('{"file": "3.tif"\n', ("line 1", "not JSON")),
        ('{"file": "3.tif"}\n[3]\n', ("line 2", "no JSON object")),
        ('{"file": 3}\n', ("line 1", "no file")),
        ('{"file": "3.tif", "x": NaN}\n', ("line 1", "finite")),
        ('{"file": "3.tif", "x": "' + 17000 * "a" + '"}\n', ("line 1", "16384 bytes")),
        ("file," + ",".join(map(str, range(65))) + "\n3.tif,1\n", ("65 columns beside file", "at most 64")),
        (json.dumps({"file": "3.tif"} | {str(key): 1 for key in range(65)}), ("line 1", "65", "at most 64")),
        (b"file,lot\n3.tif,\xff\n", ("UTF-8",)),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_line(
    tmp_path: Path, text: str | bytes, words: tuple[str, ...]
) -> None:
    with pytest.raises(SampleError) as caught:
        read(tmp_path, text)

    assert caught.value.field == "normals_metadata"
    assert all(word.lower() in caught.value.detail.lower() for word in words), caught.value.detail


def test_a_header_of_very_many_columns_is_refused_at_once(tmp_path: Path) -> None:
    began = time.process_time()
    with pytest.raises(SampleError, match="the header has 100,000 columns beside file"):
        read(tmp_path, "file," + ",".join(map(str, range(100_000))) + "\n")
    assert time.process_time() - began < 10  # comparing each with each takes minutes


@pytest.mark.parametrize(("value", "size"), [("12.5", 12.5), (3, 3.0), (0.5, 0.5)])
def test_the_size_of_a_pixel_is_a_number(value: str | float, size: float) -> None:
    assert without_pixel_size({"lot": 1, "pixel_size_um": value}, "f", "x") == ({"lot": 1}, size)


@pytest.mark.parametrize("value", ["", "a", "nan", "inf", 0, -1, 2e6, True, None, [3], 10**400])
def test_what_is_no_size_of_a_pixel_is_refused(value: object) -> None:
    with pytest.raises(SampleError, match=r"pixel_size_um of part\.png must be a number greater than 0") as caught:
        without_pixel_size({"pixel_size_um": value}, "normals.3.metadata", "part.png")  # type: ignore[dict-item]
    assert caught.value.field == "normals.3.metadata"
