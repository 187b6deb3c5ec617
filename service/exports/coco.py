"""COCO: ``annotations/instances_{split}.json`` beside ``images/{split}/``.

Keys and run lengths are those of https://cocodataset.org/#format-data; a region is an annotation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from flawsmith.contract.specs import SPLITS, Split
from service.exports.layout import DataSet, Example
from service.exports.members import Member, Text


class Coco:
    """Images and annotations are counted from 1, in order, on each side."""

    about = (
        "COCO: annotations/instances_{train,val,test}.json, file names relative to images/{train,val,test}/. "
        "An annotation is a connected region of one defect, its segmentation compressed run lengths of exactly "
        "the pixels of the mask. Images of good parts are listed too, without annotations. category_id is the "
        "number of the class in flawsmith.lock."
    )

    def __init__(self, dataset: DataSet) -> None:
        self._sides: dict[Split, _Side] = {}
        self._dataset = dataset
        self._numbers = {name: number for number, name in dataset.classes.items()}

    def add(self, example: Example) -> Iterator[Member]:
        split = example.row.split
        if split not in self._sides:
            self._sides[split] = _Side(self._dataset)
        self._sides[split].add(example, self._numbers)
        yield from ()

    def texts(self) -> Iterator[tuple[str, Text]]:
        for split in SPLITS:
            if split in self._sides:
                yield f"annotations/instances_{split}.json", self._sides[split].whole()


class _Side:
    """One file: the list of images grows in it, that of annotations beside it."""

    def __init__(self, dataset: DataSet) -> None:
        categories = [
            {"id": number, "name": name, "supercategory": "defect"} for number, name in dataset.classes.items()
        ]
        self._images, self._annotations = dataset.spool.text(), dataset.spool.text()
        self._image_count = self._annotation_count = 0
        head = {"info": {"description": "Flawsmith data set"}, "licenses": [], "categories": categories}
        self._images.write(json.dumps(head)[:-1] + ', "images": [')

    def add(self, example: Example, numbers: dict[str, int]) -> None:
        self._image_count += 1
        image = {
            "id": self._image_count,
            "file_name": f"{example.stem}.{example.suffix}",
            "width": example.width,
            "height": example.height,
        }
        _append(self._images, image, first=self._image_count == 1)
        for region in example.annotations.regions if example.annotations else ():
            self._annotation_count += 1
            annotation = {
                "id": self._annotation_count,
                "image_id": self._image_count,
                "category_id": numbers[example.types[region.defect]],
                "segmentation": {"size": [example.height, example.width], "counts": region.rle},
                "area": region.area,
                "bbox": region.box,
                "iscrowd": 0,
            }
            _append(self._annotations, annotation, first=self._annotation_count == 1)

    def whole(self) -> Text:
        """The file; nothing can be added to it any more."""
        self._images.write('\n], "annotations": [')
        self._images.take(self._annotations)
        self._images.write("\n]}\n")
        return self._images


def _append(text: Text, value: object, *, first: bool) -> None:
    text.write(("\n" if first else ",\n") + json.dumps(value))
