"""What goes into the archive of a data set: found out in one pass over its items, and kept on disk."""

from __future__ import annotations

import hashlib
import json
import textwrap
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from flawsmith.contract.datasets import PlannedItem
from flawsmith.contract.files import (
    DATASET_FILE,
    LOCK_FILE,
    MANIFEST_FILE,
    REPORT_FILES,
    carried_file,
    source_file,
)
from flawsmith.contract.jobs import Job, JobStatus
from flawsmith.contract.manifests import DatasetManifest
from flawsmith.contract.specs import DatasetFormat
from service.exports.classes import Classes
from service.exports.coco import Coco
from service.exports.jsonl import JsonLines
from service.exports.layout import DataSet, Layout
from service.exports.members import Member, Spool, Stored, Text, member
from service.exports.mvtec import Mvtec
from service.exports.names import Unique, safe
from service.exports.reading import example, read
from service.exports.rows import ahead, category, row
from service.exports.yolo import Yolo
from service.reports.gathering import Gathering, thumbnails
from service.reports.page import page
from service.store import keys
from service.store.plans import Plans
from service.store.storage import Storage
from service.zips import Content, zip_length

README_FILE = "README.txt"

LAYOUTS: dict[DatasetFormat, Callable[[DataSet], Layout]] = {
    "mvtec": Mvtec,
    "coco": Coco,
    "yolo": Yolo,
    "classes": Classes,
    "jsonl": JsonLines,
}
_LAYOUT = 2
"""Changes whenever the same data set would give other bytes."""
_WIDTH = 100
_README = (
    f"{MANIFEST_FILE} has a row for each item: where it comes from, how it was made, what became of it. Items "
    "that failed, were canceled or are below the least quality asked for have a row and no files. "
    f"{REPORT_FILES['html']} shows what came of it, {REPORT_FILES['json']} says it to programs. "
    f"{LOCK_FILE} holds what a next build is to be made with, {DATASET_FILE} what was asked for."
)


_VIEWS = (
    "A row's crop says which part of the photo its image and labels show (x, y, width, height), black_level and "
    "white_level which values of a 16-bit photo became 0 and 255. All else that a row says is of the whole photo."
)


class Gathered:
    """Names, lengths and order of all files of an archive, with the bytes of those that are not in storage.

    Memory is the same however many items there are: what grows with them lies on disk.

    Args:
        formats: those that are wanted, of those that the data set was made with.
        spool: folder for what is too long for memory; the system's own for such files if None.

    Raises:
        ObjectNotFoundError: a file is gone.
        StorageError: storage cannot say.
    """

    def __init__(
        self,
        storage: Storage,
        manifest: DatasetManifest,
        job: Job,
        formats: Sequence[DatasetFormat],
        spool: Path | None,
    ) -> None:
        self._storage = storage
        self._spool = Spool(spool)
        self._texts: list[tuple[str, Text]] = []
        self._files = self._spool.text()
        classes = sorted((number, name) for name, number in manifest.dataset.lock.classes.items())
        dataset = DataSet(dict(classes), category(manifest), self._spool)
        layouts = [LAYOUTS[name](dataset) for name in formats]
        views = manifest.dataset.frame == "crop" or manifest.dataset.bit_depth == "8"
        readme = "\n\n".join(
            textwrap.fill(text, _WIDTH)
            for text in (_README, *([_VIEWS] if views else ()), *(layout.about for layout in layouts))
        )
        self._text(README_FILE).write(readme + "\n")
        self._text(DATASET_FILE).write(_description(manifest, job))
        self._text(LOCK_FILE).write(manifest.dataset.lock.model_dump_json(indent=2) + "\n")
        try:
            report = Gathering(storage, manifest, job.status)
            self._gather(manifest, formats, layouts, report)
            self._report(manifest, report)
        except BaseException:
            self.close()
            raise
        self.length = zip_length((name, size) for name, size, _ in self.contents())
        """Bytes of the archive."""
        self.etag = self._digest(formats)
        """Differs wherever the bytes of the archive do."""

    def contents(self) -> Iterator[Content]:
        """Every file of the archive, in order."""
        for name, text in self._texts:
            yield name, text.size, text.blocks()
        for line in self._files.lines():
            found = member(line)
            yield found.name, found.source.size, found.source.blocks(self._storage)

    def close(self) -> None:
        """Remove what lies on disk."""
        self._spool.close()

    def _text(self, name: str) -> Text:
        self._texts.append((name, self._spool.text()))
        return self._texts[-1][1]

    def _gather(
        self,
        manifest: DatasetManifest,
        formats: Sequence[DatasetFormat],
        layouts: list[Layout],
        report: Gathering,
    ) -> None:
        rows, names = self._text(MANIFEST_FILE), Unique()
        shared = any(name != "mvtec" for name in formats)
        carried: dict[str, str] = {}
        planned = Plans(self._storage).rows(manifest, range(manifest.count))
        for found, files in ahead(partial(read, self._storage, manifest, formats), planned):
            stem = names.name(safe(found.planned.name), found.planned.index)
            shown = row(manifest, found, formats, final=True, stem=stem)
            rows.write(shown.model_dump_json() + "\n")
            report.add(found)
            if files is None:
                continue
            one = example(manifest, found, files, shown, stem)
            carried |= _carried(manifest, found.planned)
            if shared:
                self._files.write(one.image_member().line())
            for layout in layouts:
                for file in layout.add(one):
                    self._files.write(file.line())
        for file in ahead(lambda one: Member(one[0], Stored(one[1], self._storage.size(one[1]))), carried.items()):
            self._files.write(file.line())
        for layout in layouts:
            self._texts += layout.texts()

    def _report(self, manifest: DatasetManifest, gathered: Gathering) -> None:
        report = gathered.report()
        html = self._text(REPORT_FILES["html"])
        for piece in page(report, thumbnails(self._storage, manifest, report)):
            html.write(piece)
        self._text(REPORT_FILES["json"]).write(report.model_dump_json(indent=2) + "\n")

    def _digest(self, formats: Sequence[DatasetFormat]) -> str:
        digest = hashlib.sha256(json.dumps([_LAYOUT, list(formats)]).encode())
        for name, text in self._texts:
            digest.update(json.dumps([name, text.size]).encode())
            for block in text.blocks():
                digest.update(block)
        for block in self._files.blocks():
            digest.update(block)
        return digest.hexdigest()


def _carried(manifest: DatasetManifest, planned: PlannedItem) -> dict[str, str]:
    """What was carried over from the reference to the normal image that an item was drawn on: keys by file."""
    source = planned.source
    if source.alignment is None or planned.augmentation is None:
        return {}
    return {
        carried_file(sha256): keys.job_file(manifest.tenant, manifest.job_id, source_file(source.number, part))
        for part, sha256 in source.beside().items()
    }


def _description(manifest: DatasetManifest, job: Job) -> str:
    """The job but for what differs between two builds of the same data set: ids, times, what was there already."""
    state = job.dataset or manifest.state
    described = {
        "kind": job.kind,
        "status": job.status,
        "partial": job.status is JobStatus.CANCELED,
        "counts": job.counts.model_dump(mode="json"),
        "warnings": job.warnings,
        "dataset": state.model_dump(mode="json", exclude={"reused"}),
        "request": manifest.shown(),
    }
    return json.dumps(described, indent=2) + "\n"
