"""Reports of data sets: what there is, what stands out, the same bytes each time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flawsmith.contract.datasets import LeftOut
from flawsmith.contract.evaluations import Evaluation, HoldOut
from flawsmith.contract.ids import new_job_id
from flawsmith.contract.jobs import DrawnRegion, Failure, Item, ItemStatus, JobStatus
from flawsmith.contract.manifests import DatasetManifest
from flawsmith.contract.reports import DatasetReport, DatasetVerdict, ReportSheet
from flawsmith.contract.specs import DatasetSplit
from service.exports.rows import outcomes
from service.reports.gathering import Gathering, gathered, thumbnails
from service.reports.page import page
from service.store.folder import FolderStorage
from tests.service.exports import made
from tests.service.exports.made import Made, box, line, photo

SPREAD = [box(2, 2, 10, 10), box(20, 30, 30, 44), box(36, 4, 46, 20), box(4, 44, 14, 62), line()]


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path)


def many(count: int = 30, **fields: Any) -> list[Made]:
    """Items of one type, all over the image, on both sides."""
    return [
        Made(
            f"s-{n}",
            split="test" if n % 3 == 0 else "train",
            defects=[("scratch", SPREAD[n % len(SPREAD)])],
            quality=0.35 + 0.02 * (n % 30),
            **fields,
        )
        for n in range(count)
    ]


def whole() -> list[Made]:
    """Nothing of it stands out."""
    return [*many(), *(Made(f"c-{n}", kind="control") for n in range(3))]


def report_of(
    storage: FolderStorage, items: Sequence[Made], changes: dict[str, Any] | None = None, **fields: Any
) -> DatasetReport:
    manifest = made.keep(storage, items, **fields)
    return gathered(storage, manifest.model_copy(update=changes or {}), fields.get("status", JobStatus.SUCCEEDED))


def codes(report: DatasetReport) -> list[str]:
    return [note.code for note in report.notes]


def shown(sheet: ReportSheet) -> list[str]:
    return [item.name for item in (*sheet.worst, *sheet.best, *sheet.by_lot)]


def test_what_became_of_items_is_counted_by_type_and_side(storage: FolderStorage) -> None:
    report = report_of(storage, made.zoo())

    assert report.counts.model_dump() == {
        "planned": 18,
        "exported": 14,
        "rejected": 1,
        "failed": 1,
        "canceled": 2,
    }
    assert report.splits == {"train": 4, "val": 8, "test": 2}
    scratch, dent, pit = report.types
    assert [one.defect_type for one in report.types] == ["scratch@1", "dent@1", "pit@1"]
    assert (dent.counts.exported, dent.counts.rejected, dent.counts.failed, dent.counts.canceled) == (5, 1, 1, 2)
    assert scratch.sides == {"train": 1, "val": 1, "test": 1}
    assert pit.counts.exported == 3  # an image with two of them counts once
    assert pit.scores["quality"].count == 4
    assert {one.kind: one.counts.exported for one in report.good} == {"control": 1, "normal": 4}
    assert [(one.code, one.items, one.detail) for one in report.rejections.failures] == [("x", 1, "no memory")]
    assert report.rejections.weakest == {"coverage": 1}
    assert [(one.name, one.min_quality) for one in report.rejections.shown] == [("e-rejected", 0.3)]


def test_items_that_miss_their_bin_are_held_back_by_that_and_by_no_score(storage: FolderStorage) -> None:
    missed = Failure(code="size-missed", detail="its largest region is 9 pixels long")
    items = [*many(3), *(dataclasses.replace(one, name=f"r-{n}", accepted=False) for n, one in enumerate(many(2)))]
    items[3] = dataclasses.replace(items[3], rejection=missed)
    report = report_of(storage, items)

    assert report.rejections.weakest == {"size": 1, "coverage": 1}
    assert "size of 1" in "".join(page(report, {}))


def test_scores_and_sizes_are_spread_as_the_items_are(storage: FolderStorage) -> None:
    items = many(20) + [
        dataclasses.replace(one, name=f"r-{n}", accepted=False, quality=0.1) for n, one in enumerate(many(5))
    ]
    [found] = report_of(storage, items).types

    quality = found.scores["quality"]
    assert (sum(quality.exported), sum(quality.rejected)) == (20, 5)
    assert quality.least == 0.1
    assert quality.greatest == pytest.approx(0.35 + 0.02 * 19)
    assert set(found.scores) == {"quality", "presence", "seam", "grain", "coverage"}
    assert found.sizes["area"].least == min(int(mask.sum()) for mask in SPREAD)
    assert found.sizes["length"].greatest == 64
    assert found.places.items == 20
    top_left = found.places.cells[0][0]
    assert top_left == 8  # two of the five reach into it, or begin beside: the line and the first box do
    assert found.places.cells[15][0] == 0


def test_sheets_show_the_worst_the_best_and_some_by_lot_and_none_twice(storage: FolderStorage) -> None:
    sheet = report_of(storage, many(30)).types[0].sheet

    assert len(shown(sheet)) == len(set(shown(sheet))) == 24
    assert [item.quality for item in sheet.worst] == sorted(item.quality or 0 for item in sheet.worst)
    assert sheet.worst[0].quality == 0.35
    assert sheet.best[0].quality == pytest.approx(0.93)
    few = report_of(storage, many(5)).types[0].sheet
    assert sorted(shown(few)) == [f"s-{n}" for n in range(5)]


def test_what_is_whole_has_no_warnings(storage: FolderStorage) -> None:
    report = report_of(storage, whole())

    assert [note.code for note in report.notes if note.level == "warning"] == []
    assert codes(report) == ["not-evaluated"]


CASES: dict[str, tuple[list[Made], dict[str, Any]]] = {
    "few-items": (many(10), {}),
    "mostly-rejected": (
        [*many(20), *(dataclasses.replace(one, name=f"r{one.name}", accepted=False) for one in many(25))],
        {},
    ),
    "mixed-images": ([*whole(), Made("n", kind="normal", pixels=photo(40, 56))], {}),
    "one-place": ([dataclasses.replace(one, defects=[("scratch", SPREAD[0])]) for one in many()], {}),
    "failed": ([*whole(), Made("f", defects=[("scratch", SPREAD[0])], status=ItemStatus.FAILED)], {}),
    "canceled": (
        [*whole(), Made("f", defects=[("scratch", SPREAD[0])], status=None)],
        {"status": JobStatus.CANCELED},
    ),
    "near-duplicates": (
        [dataclasses.replace(one, pattern=64 * "5") if one.name in ("s-1", "s-2") else one for one in whole()],
        {},
    ),
    "near-duplicates-across-sides": (
        [dataclasses.replace(one, pattern=64 * "5") if one.name in ("s-0", "s-1") else one for one in whole()],
        {},
    ),
    "no-controls": (many(), {}),
}


@pytest.mark.parametrize("code", CASES)
def test_what_stands_out_is_said(storage: FolderStorage, code: str) -> None:
    items, fields = CASES[code]
    report = report_of(storage, items, **fields)

    assert code in codes(report)
    others = set(codes(report)) - {code, "not-evaluated", "no-controls"}
    assert others <= ({"few-items"} if code == "few-items" else set())


def test_a_side_that_was_asked_for_and_has_no_item_of_a_type_is_said(storage: FolderStorage) -> None:
    manifest = made.keep(storage, whole())
    split = DatasetSplit(train=0.6, val=0.2, test=0.2)
    changed = manifest.model_copy(update={"dataset": manifest.dataset.model_copy(update={"split": split})})
    notes = gathered(storage, changed, JobStatus.SUCCEEDED).notes

    [note] = [note for note in notes if note.code == "side-without-type"]
    assert note.defect_types == ["scratch@1"]
    assert "the side val" in note.detail


@pytest.mark.parametrize(("scale", "code"), [(3.0, "larger-than-real"), (0.3, "smaller-than-real"), (1.1, None)])
def test_labels_are_held_against_the_real_samples_whose_shapes_they_have(
    storage: FolderStorage, scale: float, code: str | None
) -> None:
    manifest = made.keep(storage, whole())
    gathering = Gathering(storage, manifest, JobStatus.SUCCEEDED)
    for found in outcomes(storage, manifest, range(manifest.count)):
        item = found.item
        assert item is not None
        if item.measures is not None:
            areas = [int(region.area) for region in item.measures.regions]
            item.drawn = [
                DrawnRegion(area=area, box=(0, 0, 9, 9), angle=0, scale=scale, of_sample=0) for area in areas
            ]
        gathering.add(found)
    report = gathering.report()

    assert report.types[0].relative_size == pytest.approx(scale, rel=0.05)
    assert [one for one in codes(report) if one.endswith("than-real")] == ([code] if code else [])


def test_what_a_normal_image_looks_like_counts_once_however_many_items_it_has(storage: FolderStorage) -> None:
    items = [dataclasses.replace(one, split="train", source="same.png") for one in many()]
    rows = [made.planned_item(index, one) for index, one in enumerate(items)]
    manifest = made.keep(storage, items)
    gathering = Gathering(storage, manifest, JobStatus.SUCCEEDED)
    for row, found in zip(rows, outcomes(storage, manifest, range(len(rows))), strict=True):
        source = row.source.model_copy(update={"number": 3})
        gathering.add(dataclasses.replace(found, planned=row.model_copy(update={"source": source})))

    assert gathering.report().alike_normals.looked_at == 1


def verdict(said: str, of: str = "scratch@1") -> DatasetVerdict:
    hold_out = HoldOut(good_images=40, good_parts=20, defective_images=30, defective_parts=15)
    result = Evaluation.model_validate(
        {
            "verdict": said,
            "metric": "auroc",
            "gain": -0.031,
            "interval": (-0.05, -0.01),
            "reasons": ["the <interval> lies below 0"],
            "hold_out": hold_out,
            "trainings_without": 3,
            "trainings_with": 3,
            "figures": [],
        }
    )
    return DatasetVerdict(evaluation=new_job_id(), defect_type=of, result=result)


def test_a_verdict_is_shown_and_heeded(storage: FolderStorage) -> None:
    one = verdict("do not use")
    manifest = made.keep(storage, whole()).model_copy(update={"verdicts": [one]})
    report = gathered(storage, manifest, JobStatus.SUCCEEDED)
    text = "".join(page(report, {}))

    assert codes(report) == ["do-not-use"]
    assert one.evaluation in text
    assert "30 defective and 40 good" in text
    assert "-0.031" in text
    assert "the &lt;interval&gt; lies below 0" in text


def test_photos_that_were_left_out_are_told_and_counted(storage: FolderStorage) -> None:
    manifest = made.keep(storage, whole())
    left_out = [LeftOut(name=f"torn-{n}.png", reason="it is no image") for n in range(100)]
    state = manifest.state.model_copy(update={"left_out": left_out, "left_out_count": 120})
    report = gathered(storage, manifest.model_copy(update={"state": state}), JobStatus.SUCCEEDED)

    assert "left-out" in codes(report)
    assert (len(report.rejections.left_out), report.rejections.left_out_count) == (100, 120)
    assert "… and 20 more." in "".join(page(report, {}))


def test_items_without_a_look_or_a_picture_are_reported_without(storage: FolderStorage) -> None:
    manifest = made.keep(storage, many())
    for key in list(storage.list("")):
        if "/thumbnail-" in key:
            storage.delete(key)
        elif key.endswith("item.json"):
            item = Item.model_validate_json(storage.get(key)).model_copy(update={"look": None})
            storage.put(key, item.model_dump_json().encode())
    report = gathered(storage, manifest, JobStatus.SUCCEEDED)

    assert report.types[0].counts.exported == 30
    assert report.types[0].places.items == report.alike_items.looked_at == 0
    assert thumbnails(storage, manifest, report) == {}
    assert "no picture" in "".join(page(report, {}))


def test_two_builds_have_the_same_report_to_the_byte(storage: FolderStorage) -> None:
    def pages(manifest: DatasetManifest) -> list[str]:
        report = gathered(storage, manifest, JobStatus.SUCCEEDED)
        return [report.model_dump_json(), "".join(page(report, thumbnails(storage, manifest, report)))]

    first, second = pages(made.keep(storage, made.zoo())), pages(made.keep(storage, made.zoo(), reused=9))

    assert first == second
    assert str(datetime.now(UTC).year) not in first[0]


def test_the_page_shows_few_however_many_items_and_types_there_are(
    storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.reports.sheets.MOST_OF_ALL", 30)
    items = [
        dataclasses.replace(one, name=f"{name}-{one.name}", defects=[(name, SPREAD[0])])
        for name in made.CLASSES
        for one in many(15)
    ]
    manifest = made.keep(storage, items)
    report = gathered(storage, manifest, JobStatus.SUCCEEDED)

    assert [len(shown(one.sheet)) for one in report.types] == [10, 10, 10]
    assert len(thumbnails(storage, manifest, report)) == 30
