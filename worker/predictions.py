"""Scores that someone's own detectors gave a hold-out, read from a CSV file."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.evaluation.images import ImageOutcomes
from models.evaluation.trace import Trace, trace
from worker.tables import Numbers, TableError, fault, read_table

GOOD = frozenset({"", "good", "ok", "normal"})
"""What `type` says of a good part, in lower case."""

_PLAIN = ("image", "type", "group", "area", "control_of")
_NEEDED = ("image", "type")
_SCORES = re.compile(r"(without|with)(_[0-9]+)?")
_HEADER = "the first line names the columns: image, type, without, with; group, area and control_of may be added"
_NAMED = 5


@dataclass(frozen=True)
class Predictions:
    """What was read.

    Attributes:
        without, with_them: one or more detectors each, asked about the same images in the same order.
        trace: of the detectors with synthetic data; None where the file has no controls.
        unread: columns that mean nothing here.
    """

    without: tuple[ImageOutcomes, ...]
    with_them: tuple[ImageOutcomes, ...]
    trace: Trace | None
    unread: tuple[str, ...]


@dataclass(frozen=True)
class _Row:
    """One image; `scores` are by column."""

    line: int
    image: str
    group: str
    type: str | None
    area: float
    control_of: str | None
    scores: Mapping[str, float]


def read_predictions(path: Path) -> Predictions:
    """Read a file with one line of an image.

    Raises:
        TableError: what it says cannot be judged.
        OSError: it cannot be read.
    """
    table = read_table(path, _is_known)
    without, with_them = _columns(table.header)
    numbers = Numbers()
    rows = [
        _row(line, dict(zip(table.header, cells, strict=True)), without, with_them, numbers)
        for line, cells in table.lines
    ]
    numbers.check()
    named: dict[str, _Row] = {}
    for row in rows:
        if row.image in named:
            before = named[row.image].line
            raise fault(row.line, "image", f"{row.image!r} is in line {before}, too; give each a name of its own")
        named[row.image] = row
    images = [row for row in rows if row.control_of is None]
    _check_kinds(images)
    asked = tuple(_outcomes(images, name) for name in with_them)
    return Predictions(
        without=tuple(_outcomes(images, name) for name in without),
        with_them=asked,
        trace=_trace(rows, named, asked, with_them),
        unread=tuple(name for name in table.header if name and not _is_known(name)),
    )


def _is_known(name: str) -> bool:
    return name in _PLAIN or _SCORES.fullmatch(name) is not None


def _columns(header: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of the columns with scores without synthetic data, and with."""
    for name, count in Counter(header).items():
        if count > 1 and _is_known(name):
            raise TableError(f"column {name} is there {count} times; keep one")
    for name in _NEEDED:
        if name not in header:
            raise TableError(f"column {name} is missing; {_HEADER}")
    found: dict[str, list[str]] = {"without": [], "with": []}
    for name in header:
        if match := _SCORES.fullmatch(name):
            found[match[1]].append(name)
    for kind, names in found.items():
        if not names:
            data = "real data alone" if kind == "without" else "synthetic data, too"
            raise TableError(
                f"column {kind} is missing: scores of the detector that was trained on {data}; those of several "
                f"trainings are {kind}_1, {kind}_2, …"
            )
    return found["without"], found["with"]


def _row(
    line: int, cells: Mapping[str, str], without: Sequence[str], with_them: Sequence[str], numbers: Numbers
) -> _Row:
    image = cells["image"]
    if not image:
        raise fault(line, "image", "it is empty; give every image a name")
    type_ = cells["type"] if cells["type"].lower() not in GOOD else None
    control_of = cells.get("control_of") or None
    if control_of and type_:
        raise fault(line, "type", f"a control shows no defect, so not {type_!r} either; leave it empty")
    area = 0.0 if type_ is None else math.nan
    if type_ and cells.get("area"):
        area = numbers.read(cells["area"], line, "area")
        if area <= 0:
            raise fault(line, "area", "it is above 0 for a defect; leave it empty where it is not known")
    return _Row(
        line=line,
        image=image,
        group=cells.get("group") or image,
        type=type_,
        area=area,
        control_of=control_of,
        scores={
            name: numbers.read(cells[name], line, name)
            for name in (with_them if control_of else (*without, *with_them))
        },
    )


def _check_kinds(images: Sequence[_Row]) -> None:
    types = sorted({row.type for row in images if row.type})
    if not types:
        raise TableError("column type: there is no defective image; name the defect that an image shows")
    if all(row.type for row in images):
        raise TableError(
            f"column type: there is no good image, only {', '.join(types[:_NAMED])}"
            f"{', …' if len(types) > _NAMED else ''}; leave it empty for good parts, or write good"
        )


def _outcomes(images: Sequence[_Row], column: str) -> ImageOutcomes:
    return ImageOutcomes(
        image=np.array([row.scores[column] for row in images], np.float64),
        types=tuple(row.type for row in images),
        areas=np.array([row.area for row in images], np.float64),
        groups=tuple(row.group for row in images),
    )


def _trace(
    rows: Sequence[_Row], named: Mapping[str, _Row], asked: Sequence[ImageOutcomes], columns: Sequence[str]
) -> Trace | None:
    pairs = []
    for row in rows:
        if row.control_of is None:
            continue
        original = named.get(row.control_of)
        if original is None:
            what = "is no image of this file; name the one that the control was drawn on"
            raise fault(row.line, "control_of", f"{row.control_of!r} {what}")
        if original.control_of or original.type:
            what = f"(line {original.line}) is a {'control' if original.control_of else 'defective image'} itself"
            raise fault(row.line, "control_of", f"{row.control_of!r} {what}; name a good part's image")
        pairs.append((row, original))
    if not pairs:
        return None
    controls, originals = (
        np.array([[row.scores[name] for row in some] for name in columns], np.float64)
        for some in zip(*pairs, strict=True)
    )
    return trace(asked, controls, originals, [original.group for _, original in pairs])
