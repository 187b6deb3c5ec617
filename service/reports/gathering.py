"""The report of a data set, gathered in one pass over its items.

Memory hardly grows with their number: what is kept of each is its perceptual hash, some 40 bytes.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from flawsmith.contract.base import FORMAT_VERSION
from flawsmith.contract.datasets import PlannedItem
from flawsmith.contract.jobs import Item, JobStatus, Scores
from flawsmith.contract.looks import Thumbnail
from flawsmith.contract.manifests import DatasetManifest
from flawsmith.contract.reports import (
    DatasetReport,
    GoodReport,
    ReportFailure,
    ReportImages,
    ReportItem,
    ReportPair,
    ReportPairs,
    ReportRejections,
)
from flawsmith.contract.specs import SPLITS, DatasetItemKind
from service.exports.rows import Outcome, ahead, outcome, outcomes
from service.reports.alike import Alike
from service.reports.choices import Choice
from service.reports.notes import notes
from service.reports.sheets import Sheet, each_of
from service.reports.types import Outcomes, TypeTally, item_of
from service.store import keys
from service.store.plans import Plans
from service.store.storage import ObjectNotFoundError, Storage

MOST_REJECTED = 24
"""Items not accepted that are shown."""
MOST_PAIRS = 12
MOST_FAILURES = 20
_MISSED = {"size-missed": "size", "contrast-missed": "contrast", "nothing-seen": "nothing seen"}
"""What an item misses of its bin, or that nothing of it is seen, by the code of its rejection: then no score is to
blame."""


class Gathering:
    """Looks at one item after the other, then tells what there is.

    Args:
        status: of the job, which has ended.
    """

    def __init__(self, storage: Storage, manifest: DatasetManifest, status: JobStatus) -> None:
        self._storage = storage
        self._manifest = manifest
        self._status = status
        self._all = Outcomes()
        self._good: dict[DatasetItemKind, tuple[Outcomes, Sheet]] = {}
        self._types: dict[str, TypeTally] = {}
        self._images = Counter[tuple[int, int, str, int]]()
        self._seen = bytearray(manifest.dataset.normals)
        self._looked_at = array("l", [-1]) * manifest.dataset.normals
        self._rejected = Choice[str, ReportItem](MOST_REJECTED)
        self._weakest = Counter[str]()
        self._failures: dict[str, ReportFailure] = {}
        self._alike_normals, self._alike_items = Alike(), Alike()
        self._normals, self._items = array("L"), array("L")

    def add(self, found: Outcome) -> None:
        """Look at an item."""
        planned, item = found.planned, found.item
        self._all.add(found)
        self._note_source(found)
        if planned.kind == "defect":
            self._add_defects(found)
        else:
            counts, sheet = self._good.setdefault(planned.kind, (Outcomes(), Sheet()))
            counts.add(found)
            if found.exported:
                sheet.offer(item_of(found), planned.made)
        if found.rejected:
            self._reject(found)
        if item is not None and item.error is not None:
            code, detail = item.error.code, item.error.detail
            self._failures.setdefault(code, ReportFailure(code=code, detail=detail, items=0)).items += 1

    def report(self) -> DatasetReport:
        """What there is.

        Raises:
            ObjectNotFoundError: the plan is gone.
            StorageError: storage cannot say.
        """
        dataset, state = self._manifest.dataset, self._manifest.state
        types = sorted(self._types.values(), key=lambda one: (one.number, one.reference))
        failures = sorted(self._failures.values(), key=lambda one: (-one.items, one.code))
        report = DatasetReport(
            format_version=FORMAT_VERSION,
            title=_title(self._manifest),
            canceled=self._status is JobStatus.CANCELED,
            seed=dataset.seed,
            lock=dataset.lock,
            counts=self._all.counts,
            splits=self._all.sides,
            images=[
                ReportImages(width=width, height=height, mode=mode, bit_depth=depth, normals=count)
                for (width, height, mode, depth), count in self._images.most_common()
            ],
            notes=[],
            verdicts=self._manifest.verdicts,
            types=[one.report(each_of(len(types))) for one in types],
            good=[
                GoodReport(kind=kind, counts=counts.counts, sides=counts.sides, sheet=sheet.chosen(MOST_PAIRS))
                for kind, (counts, sheet) in sorted(self._good.items())
            ],
            rejections=ReportRejections(
                weakest=dict(self._weakest.most_common()),
                shown=self._rejected.chosen(),
                failures=failures[:MOST_FAILURES],
                left_out=state.left_out,
                left_out_count=state.left_out_count,
            ),
            alike_normals=self._pairs(self._alike_normals, self._normals, lambda row: row.source.name),
            alike_items=self._pairs(self._alike_items, self._items, lambda row: row.name),
        )
        return report.model_copy(update={"notes": notes(report, dataset.split)})

    def _note_source(self, found: Outcome) -> None:
        """Look at the normal image of an item, once."""
        planned, source = found.planned, found.planned.source
        if not self._seen[source.number]:
            self._seen[source.number] = True
            image = source.image
            self._images[image.width, image.height, image.mode, image.bit_depth] += 1
        if found.item is None or found.item.look is None:
            return
        place = self._looked_at[source.number]
        if place < 0:
            self._looked_at[source.number] = len(self._normals)
            self._alike_normals.add(found.item.look.source_pattern, SPLITS.index(source.split))
            self._normals.append(planned.index)
        elif planned.kind != "defect":
            self._normals[place] = planned.index

    def _add_defects(self, found: Outcome) -> None:
        planned, item = found.planned, found.item
        assert planned.augmentation is not None
        shown: dict[str, tuple[Scores, float]] = {}
        references = [defect.reference for defect in planned.augmentation.defects]
        for reference, name in dict(zip(references, found.types, strict=True)).items():
            self._type(reference, name).outcomes.add(found)
        if item is None or item.scores is None:
            return
        exported = found.exported
        regions = item.measures.regions if item.measures else []
        for number, defect in enumerate(planned.augmentation.defects):
            tally = self._types[defect.reference]
            scores = item.defects[number].scores if item.defects else item.scores
            tally.add_scores(scores, exported=exported)
            tally.add_sizes(
                [one for one in regions if one.defect == number],
                [one for one in item.drawn or () if one.defect == number],
                exported=exported,
            )
            if exported and item.look is not None:
                tally.add_place(item.look.places[number])
            if defect.reference not in shown or scores.quality < shown[defect.reference][0].quality:
                shown[defect.reference] = (scores, defect.min_quality)
        if not exported:
            return
        if item.look is not None:
            self._alike_items.add(item.look.pattern, SPLITS.index(planned.source.split))
            self._items.append(planned.index)
        for reference, (scores, least) in shown.items():
            self._types[reference].sheet.offer(item_of(found, scores, references, least), planned.made)

    def _reject(self, found: Outcome) -> None:
        """Look at an item that is not accepted: at that of its defects which holds it back most."""
        item, augmentation = found.item, found.planned.augmentation
        assert item is not None
        assert augmentation is not None
        if item.scores is None:
            return
        scores = [one.scores for one in item.defects] if item.defects else [item.scores]
        number = min(
            range(len(scores)), key=lambda one: scores[one].quality - augmentation.defects[one].min_quality
        )
        references = [defect.reference for defect in augmentation.defects] if found.types else []
        shown = item_of(found, scores[number], references, augmentation.defects[number].min_quality)
        missed = _MISSED.get(item.rejection.code) if item.rejection else None
        self._weakest[missed or str(shown.weakest)] += 1
        self._rejected.offer(found.planned.made, shown)

    def _type(self, reference: str, name: str) -> TypeTally:
        if reference not in self._types:
            self._types[reference] = TypeTally(reference, self._manifest.dataset.lock.classes[name])
        return self._types[reference]

    def _pairs(self, alike: Alike, indices: Sequence[int], name: Callable[[PlannedItem], str]) -> ReportPairs:
        """Near-duplicates.

        Args:
            indices: of the items, in the order in which they were added.
            name: what they are called by.
        """
        found = alike.pairs(MOST_PAIRS)
        shown = []
        for pair in found.first:
            one, other = indices[pair.first], indices[pair.second]
            rows = list(Plans(self._storage).rows(self._manifest, [one, other]))
            shown.append(
                ReportPair(
                    first=name(rows[0]),
                    second=name(rows[1]),
                    sides=(rows[0].source.split, rows[1].source.split),
                    bits=pair.bits,
                    indices=(one, other),
                )
            )
        return ReportPairs(looked_at=len(alike), pairs=found.count, across_sides=found.across, shown=shown)


def _title(manifest: DatasetManifest) -> str:
    """What the parts are called, as it was said and not as a folder."""
    metadata = manifest.dataset.metadata
    said = next((metadata[key] for key in ("category", "part") if isinstance(metadata.get(key), str)), "")
    return str(said).strip() or "Data set"


def gathered(storage: Storage, manifest: DatasetManifest, status: JobStatus) -> DatasetReport:
    """The report of a data set that has ended.

    Raises:
        ObjectNotFoundError: it was deleted.
        StorageError: storage cannot say.
    """
    gathering = Gathering(storage, manifest, status)
    for found in outcomes(storage, manifest, range(manifest.count)):
        gathering.add(found)
    return gathering.report()


def thumbnails(storage: Storage, manifest: DatasetManifest, report: DatasetReport) -> dict[int, Thumbnail]:
    """The pictures of all items that the report shows, by their indices, as far as there are any.

    Raises:
        ObjectNotFoundError: the data set was deleted.
        StorageError: storage cannot say.
    """
    indices = sorted(set(_shown(report)))
    read = partial(_thumbnail, storage, manifest)
    found = ahead(read, (outcome(storage, manifest, row) for row in Plans(storage).rows(manifest, indices)))
    return {index: one for index, one in zip(indices, found, strict=True) if one is not None}


def _thumbnail(storage: Storage, manifest: DatasetManifest, found: Outcome) -> Thumbnail | None:
    item: Item | None = found.item
    if item is None or item.look is None:
        return None
    item = item.model_copy(update={"made": item.made or found.planned.made})
    try:
        data = storage.get(keys.made_thumbnail(manifest.tenant, item))
    except ObjectNotFoundError:
        return None
    return Thumbnail.model_validate_json(data)


def _shown(report: DatasetReport) -> Iterator[int]:
    """Indices of the items that the report shows, some of them more than once."""
    for sheet in (*(one.sheet for one in report.types), *(one.sheet for one in report.good)):
        yield from (item.index for item in (*sheet.worst, *sheet.best, *sheet.by_lot))
    yield from (item.index for item in report.rejections.shown)
    for pairs in (report.alike_normals, report.alike_items):
        yield from (index for pair in pairs.shown for index in pair.indices)
