"""Scores in CSV files: what is read, and what is refused with where and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from worker.predictions import Predictions, read_predictions
from worker.tables import TableError

FILE = """image,group,type,area,without_1,without_2,with,control_of
a.png,1,,,0.1,0.2,0.15,
b.png,1,good,,0.3,0.1,.2,
c.png,2,scratch,40,0.7,0.9,9e-1,
d.png,,Dent,,0.4,1,0.8,
e.png,,OK,,0.25,0.2,+0.1,
f.png,,,,,,0.6,a.png
"""


def read(folder: Path, text: str, encoding: str = "utf-8") -> Predictions:
    path = folder / "scores.csv"
    path.write_bytes(text.encode(encoding))
    return read_predictions(path)


def test_every_column_is_read(tmp_path: Path) -> None:
    found = read(tmp_path, FILE)
    assert (len(found.without), len(found.with_them), found.unread) == (2, 1, ())
    for one in (*found.without, *found.with_them):
        assert one.types == (None, None, "scratch", "Dent", None)
        assert one.groups == ("1", "1", "2", "d.png", "e.png")
        assert one.areas == pytest.approx([0, 0, 40, np.nan, 0], nan_ok=True)
        assert one.defective.tolist() == [False, False, True, True, False]
    assert found.without[1].image == pytest.approx([0.2, 0.1, 0.9, 1, 0.2])
    assert found.with_them[0].image == pytest.approx([0.15, 0.2, 0.9, 0.8, 0.1])
    assert found.trace is not None
    assert (found.trace.controls, found.trace.originals, found.trace.groups) == (1, 0.5, 1)


def test_a_file_without_controls_has_no_trace(tmp_path: Path) -> None:
    assert read(tmp_path, FILE.rpartition("f.png")[0]).trace is None


@pytest.mark.parametrize(
    ("change", "encoding"),
    [
        (lambda text: text, "utf-8-sig"),
        (lambda text: text.replace("\n", "\r\n"), "utf-8"),
        (lambda text: text.replace(",", ";"), "utf-8"),
        (lambda text: text.replace(",", ";").replace("0.", "0,"), "utf-8-sig"),
        (lambda text: text.replace(",", "\t").replace("0.", "0,"), "utf-8"),
        (lambda text: text.replace(",", " , ") + "\n\n,,,,,,,\n", "utf-8"),
        (lambda text: text.replace("\n", ",,\n"), "utf-8"),
        (lambda text: '"' + text.strip().replace(",", '";"').replace("\n", '"\n"') + '"\n', "utf-8"),
        (lambda text: text.replace("image,group,type", "Image,GROUP,Type"), "utf-8"),
        (lambda text: "\n" + text.replace(",", ";"), "utf-8"),
    ],
    ids=[
        "mark",
        "crlf",
        "semicolons",
        "commas",
        "tabs",
        "blanks",
        "wide",
        "quotes",
        "capitals",
        "blank line first",
    ],
)
def test_what_spreadsheets_make_of_it_says_the_same(
    change: Callable[[str], str], encoding: str, tmp_path: Path
) -> None:
    changed = (
        change(FILE) if "0," not in change("0.5") else change(FILE).replace(";.2", ";,2").replace("\t.2", "\t,2")
    )
    found, plain = read(tmp_path, changed, encoding), read(tmp_path, FILE)
    assert found.trace == plain.trace
    for one, other in zip((*found.without, *found.with_them), (*plain.without, *plain.with_them), strict=True):
        assert np.array_equal(one.image, other.image)
        assert (one.types, one.groups) == (other.types, other.groups)


def test_columns_that_mean_nothing_are_named(tmp_path: Path) -> None:
    assert read(tmp_path, FILE.replace("area", "Aera")).unread == ("aera",)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("image,", "file,", r"column image is missing; the first line names the columns: image, type"),
        ("type,area", "kind,area", r"column type is missing"),
        ("without_1,without_2", "before_1,before_2", r"column without is missing: .*real data alone; .*without_1"),
        (",with,", ",after,", r"column with is missing: .*synthetic data, too"),
        ("area", "type", r"column type is there 2 times; keep one"),
        ("0.7,", "n/a,", r"line 4, column without_1: 'n/a' is not a number; write one like 0\.93"),
        ("0.9,9e-1", "NaN,9e-1", r"line 4, column without_2: 'NaN' is not a number"),
        ("9e-1", "inf", r"line 4, column with: 'inf' is not a number"),
        ("9e-1", "9e999", r"line 4, column with: 9e999 is too large"),
        ("0.4,1", "0.4,", r"line 5, column without_2: nothing is not a number"),
        (",,0.6,", ",,,", r"line 7, column with: nothing is not a number"),
        ("0.4", '"0,4"', r"line 5 has a decimal comma, line 2 a decimal point; use one of them"),
        ("0.4", '"1,234.5"', r"line 5, column without_1: '1,234.5' is not a number"),
        ("b.png", "a.png", r"line 3, column image: 'a.png' is in line 2, too; give each a name of its own"),
        ("b.png", "", r"line 3, column image: it is empty"),
        ("0.6,a.png", "0.6,x.png", r"line 7, column control_of: 'x.png' is no image of this file"),
        ("0.6,a.png", "0.6,c.png", r"line 7, column control_of: 'c.png' \(line 4\) is a defective image itself"),
        ("0.6,a.png", "0.6,f.png", r"line 7, column control_of: 'f.png' \(line 7\) is a control itself"),
        ("f.png,,,", "f.png,,dent,", r"line 7, column type: a control shows no defect, so not 'dent'"),
        ("scratch,40", "scratch,0", r"line 4, column area: it is above 0"),
        ("scratch,40", "scratch,big", r"line 4, column area: 'big' is not a number"),
        ("0.7,0.9,9e-1,", "0.7,0.9", r"line 4 has 6 cells, the first line has 8; .*what holds a comma"),
        ("a.png,1,,,", '"a.png,1,,,', r"line \d is not CSV: .*; check its quotes"),
        (FILE, "", r"the file is empty"),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_is_refused_with_line_column_and_remedy(
    old: str, new: str, said: str, tmp_path: Path
) -> None:
    assert old in FILE
    with pytest.raises(TableError, match=said):
        read(tmp_path, FILE.replace(old, new, 1))


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        (("", "good"), r"there is no defective image"),
        (("0", "1"), r"there is no good image, only 0, 1; leave it empty"),
    ],
)
def test_both_kinds_of_images_are_needed(kinds: tuple[str, str], said: str, tmp_path: Path) -> None:
    lines = [f"{number},{kind},1,2" for number, kind in enumerate(kinds)]
    with pytest.raises(TableError, match=f"column type: {said}"):
        read(tmp_path, "\n".join(["image,type,without,with", *lines]))


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_other_encodings_are_refused_with_the_remedy(encoding: str, tmp_path: Path) -> None:
    with pytest.raises(TableError, match="save it as CSV with UTF-8 encoding"):
        read(tmp_path, FILE.replace("Dent", "Größe"), encoding)
