"""CSV files as spreadsheets and inspection software write them."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
_NUMBER = re.compile(r"[+-]?([0-9]+([.,][0-9]*)?|[.,][0-9]+)([eE][+-]?[0-9]+)?")


class TableError(ValueError):
    """The file cannot be used; the message says where and what to do."""


def fault(line: int, column: str, what: str) -> TableError:
    """An error in one cell."""
    return TableError(f"line {line}, column {column}: {what}")


@dataclass(frozen=True)
class Table:
    """What a file holds.

    Attributes:
        header: names of its columns, in lower case.
        lines: of each further line that is not empty its number in the file, from 1, and its cells, as many as
            there are columns, without blanks around them.
    """

    header: tuple[str, ...]
    lines: tuple[tuple[int, tuple[str, ...]], ...]


def read_table(path: Path, is_known: Callable[[str], bool]) -> Table:
    """Read a file in UTF-8, with or without a byte order mark, whose first line names its columns.

    Args:
        is_known: whether a name, in lower case, is that of a column that is looked for: commas, semicolons or tabs
            part the cells, whichever finds the most of them.

    Raises:
        TableError: it is not such a file.
        OSError: it cannot be read.
    """
    text = _text(path)
    first = text.lstrip().partition("\n")[0]
    found = {delimiter: _cells(first, delimiter, strict=False) for delimiter in _DELIMITERS}
    delimiter = max(
        found, key=lambda one: sum(is_known(name.lower()) for _, names in found[one] for name in names)
    )
    lines = _cells(text, delimiter, strict=True)
    if not lines:
        raise TableError("the file is empty; its first line names the columns")
    header = [name.lower() for name in lines[0][1]]
    while header and not header[-1]:
        header.pop()
    for line, cells in lines[1:]:
        if not any(cells[len(header) :]):
            del cells[len(header) :]
        if len(cells) != len(header):
            raise TableError(
                f"line {line} has {len(cells)} cells, the first line has {len(header)}; give each line as many, "
                f"and put quotes around what holds a {_DELIMITERS[delimiter]}"
            )
    return Table(tuple(header), tuple((line, tuple(cells)) for line, cells in lines[1:]))


@dataclass
class Numbers:
    """Reads numbers with decimal points or decimal commas, but not with both."""

    _first: dict[str, int] = field(default_factory=dict)

    def read(self, text: str, line: int, column: str) -> float:
        """A number.

        Raises:
            TableError: it is none, or not a finite one.
        """
        if not _NUMBER.fullmatch(text):
            raise fault(line, column, f"{repr(text) if text else 'nothing'} is not a number; write one like 0.93")
        for mark in ",.":
            if mark in text:
                self._first.setdefault(mark, line)
        value = float(text.replace(",", "."))
        if not math.isfinite(value):
            raise fault(line, column, f"{text} is too large; write a number like 0.93")
        return value

    def check(self) -> None:
        """Look back on all that was read.

        Raises:
            TableError: some had decimal commas, some decimal points.
        """
        if len(self._first) > 1:
            raise TableError(
                f"line {self._first[',']} has a decimal comma, line {self._first['.']} a decimal point; use one "
                "of them in the whole file, and nothing between thousands"
            )


def _text(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise TableError("the file is not text in UTF-8; save it as CSV with UTF-8 encoding")
    return text


def _cells(text: str, delimiter: str, *, strict: bool) -> list[tuple[int, list[str]]]:
    """Numbers and cells of lines that are not empty."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=strict)
    found = []
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                found.append((reader.line_num, stripped))
    except csv.Error as error:
        raise TableError(f"line {reader.line_num} is not CSV: {error}; check its quotes") from None
    return found
