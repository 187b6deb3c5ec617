"""``{split}.jsonl`` above all images and masks, as Hugging Face ``datasets`` reads them.

https://huggingface.co/docs/datasets/image_dataset#imagefolder: columns called ``…file_name`` are images, relative
to the file itself. None may lead out of the file's folder, and the file may have another name than
``metadata.jsonl``. The same columns of the same types are wanted on every side, even of one without a defect.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from flawsmith.contract.specs import SPLITS, Split
from service.exports.layout import DataSet, Example
from service.exports.members import Member, Text
from service.exports.names import label


class JsonLines:
    """No value is ever missing, and what may have any form is JSON in a text: types must not differ by side."""

    about = (
        "JSON lines: {train,val,test}.jsonl, as Hugging Face datasets reads them: "
        'load_dataset("imagefolder", data_files={"train": "train.jsonl"}, metadata_filenames=["train.jsonl"]). '
        "mask_file_name is an 8-bit grey PNG, 255 where a defect is. scores and metadata are JSON in a text."
    )

    def __init__(self, dataset: DataSet) -> None:
        self._spool = dataset.spool
        self._sides: dict[Split, Text] = {}

    def add(self, example: Example) -> Iterator[Member]:
        row = example.row
        if row.split not in self._sides:
            self._sides[row.split] = self._spool.text()
        mask = f"binary-masks/{row.split}/{example.stem}.png"
        columns = {
            "file_name": example.image_member().name,
            "mask_file_name": mask,
            "label": label(example.shown),
            "labels": example.types or ["good"],
            "is_defect": bool(example.types),
            "kind": row.kind,
            "index": row.index,
            "name": row.name,
            "group": row.group,
            "source": row.source,
            "source_sha256": row.source_sha256,
            "scores": json.dumps(row.scores or {}),
            "metadata": json.dumps(row.metadata),
        }
        self._sides[row.split].write(json.dumps(columns) + "\n")
        yield Member(mask, example.mask or example.blank)

    def texts(self) -> Iterator[tuple[str, Text]]:
        for split in SPLITS:
            if split in self._sides:
                yield f"{split}.jsonl", self._sides[split]
