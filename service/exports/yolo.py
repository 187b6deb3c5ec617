"""YOLO segmentation: ``labels/{split}/{name}.txt`` beside ``images/{split}/``, and ``data.yaml``.

A line is a class, counted from 0, and an outline as shares of width and height:
https://docs.ultralytics.com/datasets/segment/.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from flawsmith.contract.specs import SPLITS, Split
from service.exports.layout import DataSet, Example
from service.exports.members import Member, Text, Written

LEAST_IOU = 0.98
"""Of the pixels within outlines with those of the mask; items below are listed."""
_LEAST_POINTS = 3  # a shorter line would be read as a box


class Yolo:
    """Classes are counted in the order of their numbers, those without an item too."""

    about = (
        "YOLO segmentation: data.yaml and labels/{train,val,test}/, a line a region; labels of good parts are "
        "empty files. Outlines cannot say holes: items whose outlines meet their mask by less than an "
        f"intersection over union of {LEAST_IOU} are listed in yolo-inexact.txt with that number, and are kept."
    )

    def __init__(self, dataset: DataSet) -> None:
        self._names = list(dataset.classes.values())
        self._index = {name: index for index, name in enumerate(self._names)}
        self._inexact, self._yaml = dataset.spool.text(), dataset.spool.text()
        self._sides: set[Split] = set()

    def add(self, example: Example) -> Iterator[Member]:
        split = example.row.split
        self._sides.add(split)
        annotations = example.annotations
        lines = [
            f"{self._index[example.types[region.defect]]} {_outline(polygon, example.width, example.height)}\n"
            for region in (annotations.regions if annotations else ())
            for polygon in region.polygons
        ]
        if annotations and annotations.polygon_iou < LEAST_IOU:
            self._inexact.write(f"labels/{split}/{example.stem}.txt {annotations.polygon_iou:.4f}\n")
        yield Member(f"labels/{split}/{example.stem}.txt", Written("".join(lines)))

    def texts(self) -> Iterator[tuple[str, Text]]:
        self._yaml.write("# Paths are relative to the folder of this file.\n")
        for split in SPLITS:
            if split in self._sides:
                self._yaml.write(f"{split}: images/{split}\n")
            elif split != "test" and self._sides:
                stands_in = next(one for one in ("test", *SPLITS) if one in self._sides)
                self._yaml.write(
                    f"# No image is on the side {split}; trainers want one, so name your own instead.\n"
                    f"{split}: images/{stands_in}\n"
                )
        self._yaml.write("names:\n" if self._names else "names: {}\n")
        for index, name in enumerate(self._names):
            self._yaml.write(f"  {index}: {json.dumps(name)}\n")
        yield "data.yaml", self._yaml
        yield "yolo-inexact.txt", self._inexact


def _outline(polygon: Sequence[float], width: int, height: int) -> str:
    """``polygon`` (x, y, x, y, … in pixels) as shares; one of less than three points repeats its last one."""
    last = list(polygon[-2:])
    points = [*polygon, *(last * (_LEAST_POINTS - len(polygon) // 2))]
    shares = (value / (height if at % 2 else width) for at, value in enumerate(points))
    return " ".join(f"{share:.6f}" for share in shares)
