"""MVTec AD's layout: ``mvtec/{category}/train/good``, ``test/good``, ``test/{type}``, ``ground_truth/{type}``.

Bergmann et al., MVTec AD, CVPR 2019.
"""

from __future__ import annotations

from collections.abc import Iterator

from service.exports.layout import DataSet, Example
from service.exports.members import Member, Text
from service.exports.names import mvtec_class, mvtec_folder, mvtec_stem


class Mvtec:
    """Images lie in it a second time, for no other format has folders that say so much."""

    about = (
        "MVTec AD: mvtec/, with normal images of the side train in train/good and those of others in test/good, "
        "beside controls. All images with a defect lie in test, whichever side they are on, because this layout "
        "has no other place for them; the sides are in manifest.jsonl. A folder of test is called by the types "
        "that its images show, joined by +. Names begin with eight hex digits, by which images and masks sort "
        "alike. Masks in ground_truth/ are 255 where a defect is."
    )

    def __init__(self, dataset: DataSet) -> None:
        self._category = dataset.category

    def add(self, example: Example) -> Iterator[Member]:
        row, shown, stem = example.row, example.shown, mvtec_stem(example.stem)
        folder = mvtec_folder(self._category, row.kind, row.split, shown)
        yield Member(f"{folder}/{stem}.{example.suffix}", example.image)
        if example.mask is not None:
            truth = f"mvtec/{self._category}/ground_truth/{mvtec_class(shown)}"
            yield Member(f"{truth}/{stem}_mask.png", example.mask)

    def texts(self) -> Iterator[tuple[str, Text]]:
        yield from ()
