"""Label images: ``masks/{split}/{name}.png`` beside ``images/{split}/``, and the names of their numbers.

So HALCON's semantic segmentation reads a data set (``read_dl_dataset_segmentation``), and others do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from service.exports.layout import DataSet, Example
from service.exports.members import Member, Text


class Classes:
    """Labels of good parts are 0 everywhere."""

    about = (
        "Label images: masks/{train,val,test}/, 8-bit grey PNG called like the images: the number of a class "
        "where a defect is, else 0. classes.json and classes.txt name the numbers."
    )

    def __init__(self, dataset: DataSet) -> None:
        self._classes = {0: "background"} | dataset.classes
        self._spool = dataset.spool

    def add(self, example: Example) -> Iterator[Member]:
        yield Member(mask_file(example), example.label or example.blank)

    def texts(self) -> Iterator[tuple[str, Text]]:
        listed = [{"id": number, "name": name} for number, name in self._classes.items()]
        as_json, as_lines = self._spool.text(), self._spool.text()
        as_json.write(json.dumps(listed, indent=2) + "\n")
        for number, name in self._classes.items():
            as_lines.write(f"{number} {name}\n")
        yield "classes.json", as_json
        yield "classes.txt", as_lines


def mask_file(example: Example) -> str:
    """Where its label image lies."""
    return f"masks/{example.row.split}/{example.stem}.png"
