"""What is said of each normal image: a table as CSV, or JSON lines."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import JsonValue

from flawsmith.contract.augmentations import check_metadata
from service.normals.names import NormalNames
from service.samples.errors import SampleError
from service.samples.layouts import clipped, listed

FIELD = "normals_metadata"
FILE = "file"
"""The column, or key, that names the normal image."""
PIXEL_SIZE = "pixel_size_um"
MAX_BYTES = 64_000_000
MAX_KEYS = 64
MAX_PIXEL_SIZE_UM = 1e6

Metadata = dict[str, JsonValue]

_DELIMITERS = ",;\t"
_EXPECTED = (
    f"Send CSV with a header, or JSON lines, whose column or key {FILE} names each image by its path in the ZIP."
)


def read_metadata(path: Path, names: NormalNames) -> dict[str, Metadata]:
    """What a table says of each normal image that it names, by the image's name.

    Values of CSV are texts without blanks around them; empty ones and columns without a name are left out.

    Raises:
        SampleError: it cannot be read, a row names no image or one that another row names, or says too much.
    """
    if path.stat().st_size > MAX_BYTES:
        raise _error(f"the file is over {MAX_BYTES:,} bytes", "Leave out columns that nobody needs.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _error(
            f"the file is not UTF-8 ({error.reason} at byte {error.start})", "Save it as UTF-8."
        ) from error
    rows = _lines(text) if text.lstrip().startswith("{") else _table(text)
    found: dict[str, Metadata] = {}
    strangers = []
    for at, row in rows:
        reference = row.pop(FILE, None)
        if not isinstance(reference, str) or not reference:
            raise _error(f"{at} has no {FILE}")
        meant = names.named(reference)
        if not meant:
            strangers.append(reference)
            continue
        if len(meant) > 1:
            raise _error(
                f"{at} names {clipped(reference)}, and {listed(meant)} are called so",
                "Name it by its path in the ZIP.",
            )
        if meant[0] in found:
            raise _error(f"{at} names {clipped(reference)}, which a row before it names", "Keep one of the rows.")
        found[meant[0]] = _checked(row, at)
    if strangers:
        raise _error(
            f"{len(strangers)} rows name images that are not among the normal ones: {listed(strangers)}",
            "Leave the rows out, or add the images to the ZIP of normals.",
        )
    return found


def without_pixel_size(metadata: Mapping[str, JsonValue], field: str, of: str) -> tuple[Metadata, float | None]:
    """The metadata but for the size of a pixel, and that, in µm.

    Args:
        field: of the request that errors name.
        of: what the image is called.

    Raises:
        SampleError: it is there and is no number above 0, 1e6 at most.
    """
    rest = dict(metadata)
    if PIXEL_SIZE not in rest:
        return rest, None
    value = rest.pop(PIXEL_SIZE)
    try:
        size = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        size = math.nan
    if not 0 < size <= MAX_PIXEL_SIZE_UM:
        raise SampleError(
            field,
            f"{PIXEL_SIZE} of {clipped(of)} must be a number greater than 0 and at most {MAX_PIXEL_SIZE_UM:g}, "
            f"the edge of a pixel on the part in µm; got {clipped(json.dumps(value))}",
        )
    return rest, size


def _lines(text: str) -> Iterator[tuple[str, Metadata]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _error(f"line {number} is not JSON") from error
        if not isinstance(row, dict):
            raise _error(f"line {number} is no JSON object")
        yield f"line {number}", row


def _table(text: str) -> Iterator[tuple[str, Metadata]]:
    header_line = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=header_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [column.strip() for column in next(reader, [])]
        named = [column for column in header if column]
        if FILE not in named:
            raise _error(f"the header has no column {FILE}; it has {listed(named) if named else 'nothing'}")
        if len(named) > MAX_KEYS + 1:
            raise _error(
                f"the header has {len(named) - 1:,} columns beside {FILE}; at most {MAX_KEYS} are kept",
                "Leave some out.",
            )
        twice = {column for column, count in Counter(named).items() if count > 1}
        if twice:
            raise _error(f"the header has {listed(sorted(twice))} twice", "Give each column a name of its own.")
        for cells in reader:
            at = f"line {reader.line_num}"
            row = [cell.strip() for cell in cells]
            if not any(row):
                continue
            if any(row[len(header) :]):
                raise _error(f"{at} has {len(row)} values, and the header {len(header)} columns")
            yield at, {column: value for column, value in zip(header, row, strict=False) if column and value}
    except csv.Error as error:
        raise _error(f"line {reader.line_num} is no CSV ({error})") from error


def _checked(row: Metadata, at: str) -> Metadata:
    if len(row) > MAX_KEYS:
        raise _error(f"{at} says {len(row)} things of an image; at most {MAX_KEYS} are kept", "Leave some out.")
    try:
        check_metadata(row)
    except ValueError as error:
        raise _error(f"what {at} says {error}", "Leave some out.") from error
    return row


def _error(what: str, remedy: str = _EXPECTED) -> SampleError:
    return SampleError(FIELD, f"{what}. {remedy}")
