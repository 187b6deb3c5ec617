"""Archives of data sets as a whole: what is in every one, the same bytes each time, memory that does not grow."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from flawsmith.contract.datasets import Alignment
from flawsmith.contract.jobs import JobStatus
from flawsmith.contract.rows import DatasetRow
from flawsmith.contract.specs import DATASET_FORMATS, DatasetFormat, DatasetLock
from service.exports.archive import MOMENT
from service.store import keys
from service.store.folder import FolderStorage
from service.store.storage import ObjectNotFoundError
from service.zips import Zip, zip_length
from tests.service.exports import made
from tests.service.exports.archives import archive_of, gathered, tag_of
from tests.service.exports.made import Made, box


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path / "storage")


def rows_of(archive: zipfile.ZipFile) -> list[DatasetRow]:
    return [DatasetRow.model_validate_json(line) for line in archive.read("manifest.jsonl").splitlines()]


def test_every_item_has_a_row_and_every_image_is_in_one(storage: FolderStorage) -> None:
    items = made.zoo()
    manifest = made.keep(storage, items)

    with zipfile.ZipFile(archive_of(storage, manifest)) as archive:
        rows, names = rows_of(archive), set(archive.namelist())
        for row in rows:
            if row.image is not None:
                assert hashlib.sha256(archive.read(row.image)).hexdigest() == row.image_sha256
    assert [row.index for row in rows] == list(range(len(items)))
    assert [row.name for row in rows] == [one.name for one in items]
    by_name = {row.name: row for row in rows}
    assert {name: by_name[name].status for name in ("e-failed", "e-canceled", "e-left", "e-rejected")} == {
        "e-failed": "failed",
        "e-canceled": "canceled",
        "e-left": "canceled",
        "e-rejected": "succeeded",
    }
    assert by_name["e-rejected"].accepted is False
    assert by_name["e-failed"].error == "no memory"
    images = {name for name in names if name.startswith("images/") and not name.endswith(".jsonl")}
    assert images == {row.image for row in rows if row.image is not None}
    assert len(images) == len(made.exported(items))


def test_a_row_tells_which_part_of_the_photo_is_exported_and_by_which_map(storage: FolderStorage) -> None:
    manifest = made.keep(storage, made.zoo())
    with zipfile.ZipFile(archive_of(storage, manifest)) as archive:
        rows = {row.name: row for row in rows_of(archive)}
        readme = archive.read("README.txt").decode()
    assert {
        name: (rows[name].crop, rows[name].black_level, rows[name].white_level)
        for name in ("d-crop-normal", "d-crop", "d-eight", "d-both", "d-dent")
    } == {
        "d-crop-normal": ((70, 66, 44, 30), None, None),
        "d-crop": ((0, 12, 44, 30), None, None),
        "d-eight": (None, 0, 4095),
        "d-both": ((64, 48, 64, 48), 0, 1023),
        "d-dent": (None, None, None),
    }
    assert "which part of the photo" not in readme
    cropped = manifest.dataset.model_copy(update={"frame": "crop"})
    with zipfile.ZipFile(archive_of(storage, manifest.model_copy(update={"dataset": cropped}))) as archive:
        assert "which part of the photo" in archive.read("README.txt").decode()


def test_an_archive_with_a_view_gone_is_not_begun(storage: FolderStorage) -> None:
    items = [one for one in made.zoo() if one.name == "d-crop"]
    manifest = made.keep(storage, items)
    (record,) = [key for key in storage.list("default/made/") if key.endswith("/item.json")]
    storage.delete(record)
    with pytest.raises(ObjectNotFoundError):
        gathered(storage, manifest)


def test_a_row_tells_how_to_make_the_item_again(storage: FolderStorage) -> None:
    items = made.zoo()
    manifest = made.keep(storage, items)

    with zipfile.ZipFile(archive_of(storage, manifest, "jsonl")) as archive:
        rows = {row.name: row for row in rows_of(archive)}
    both = rows["b-both"]
    assert both.defect_types == ["dent@1", "scratch@1"]
    assert both.classes == [5, 2]
    assert both.request is not None
    assert [one["defect_type"] for one in both.request["defects"]] == ["dent", "scratch"]
    assert "defect_type_tenant" not in json.dumps(both.request)
    assert (both.seed, both.request["seed"], both.request["count"]) == (105, 105, 1)
    assert (both.backbone, both.backbone_digest) == ("flawsmith-small-1", "sha256:" + 64 * "0")
    assert rows["a-scratch"].metadata == {"lot": "L1", "serial": 7}
    normal = rows["a-normal"]
    assert (normal.defect_types, normal.classes, normal.request, normal.seed, normal.backbone) == (
        [],
        [],
        None,
        None,
        None,
    )
    assert (rows["a-control"].defect_types, rows["a-control"].classes) == ([], [])
    assert rows["a-control"].request is not None


def test_what_was_carried_over_is_there_once_under_its_digest(storage: FolderStorage) -> None:
    regions = b"region", b"another"
    items = [
        *(Made(name, defects=[("dent", box(1, 1, 9, 9))], region=regions[0]) for name in ("one", "two")),
        Made("three", kind="control", region=regions[1]),
        Made("four", kind="normal", region=b"of a normal image alone"),
    ]
    manifest = made.keep(storage, items)

    with zipfile.ZipFile(archive_of(storage, manifest, "coco")) as archive:
        rows = {row.name: row for row in rows_of(archive)}
        carried = {name: archive.read(name) for name in archive.namelist() if name.startswith("carried/")}
    assert carried == {f"carried/{hashlib.sha256(data).hexdigest()}.png": data for data in regions}
    assert f"carried/{rows['two'].source_region_sha256}.png" in carried
    assert rows["two"].alignment == Alignment(x_px=1.5, y_px=-2, angle_deg=3, residual_px=0.5)


def test_of_several_backbones_a_row_has_its_own(storage: FolderStorage) -> None:
    items = [Made("one", defects=[("dent", box(1, 1, 9, 9))], backbone="large"), Made("two", kind="control")]
    manifest = made.keep(storage, items, backbones=("small", "large"))

    with zipfile.ZipFile(archive_of(storage, manifest)) as archive:
        rows = rows_of(archive)
    assert [(row.backbone, row.backbone_digest) for row in rows] == [("large", f"sha256:{1:064x}"), (None, None)]


def test_two_builds_of_the_same_request_give_the_same_bytes(storage: FolderStorage) -> None:
    first = made.keep(storage, made.zoo())
    second = made.keep(storage, made.zoo(), reused=10)

    one, other = archive_of(storage, first).getvalue(), archive_of(storage, second).getvalue()

    assert first.job_id != second.job_id
    assert one == other
    assert tag_of(storage, first) == tag_of(storage, second)
    assert first.job_id.encode() not in one
    with zipfile.ZipFile(archive_of(storage, first)) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        names = archive.namelist()
    assert len({name.lower() for name in names}) == len(names)


@pytest.mark.parametrize("change", ["pixels", "accepted", "metadata", "formats"])
def test_what_differs_has_another_tag(storage: FolderStorage, change: str) -> None:
    before = tag_of(storage, made.keep(storage, made.zoo()))
    items = made.zoo()
    formats: tuple[DatasetFormat, ...] = DATASET_FORMATS
    match change:
        case "pixels":
            items[1].pixels = made.photo(seed=99)
            items[1].name = "another"
        case "accepted":
            items[1].accepted = False
        case "metadata":
            items[1].metadata = {"lot": "L2"}
        case "formats":
            formats = DATASET_FORMATS[1:]
    after = tag_of(storage, made.keep(storage, items, formats=formats))

    assert before != after


def test_the_lock_and_the_request_are_in_every_archive(storage: FolderStorage) -> None:
    manifest = made.keep(storage, made.zoo(), metadata={"part": "Spindle 7"}, formats=["mvtec"])

    with zipfile.ZipFile(archive_of(storage, manifest)) as archive:
        names = archive.namelist()
        assert DatasetLock.model_validate_json(archive.read("flawsmith.lock")) == manifest.dataset.lock
        described = json.loads(archive.read("dataset.json"))
        assert "mvtec/" in archive.read("README.txt").decode()
        rows = rows_of(archive)
    assert names[:4] == ["README.txt", "dataset.json", "flawsmith.lock", "manifest.jsonl"]
    assert described["partial"] is False
    assert described["request"]["seed"] == 7
    assert "reused" not in described["dataset"]
    folder = next(name for name in names if name.startswith("mvtec/")).split("/")[1]
    assert folder.startswith("Spindle-7-"), "what it was made of is in the name, made safe"
    assert not [name for name in names if name.startswith("images/")]
    assert {row.image for row in rows if row.image} <= set(names)


def test_a_canceled_data_set_has_what_is_done_and_says_so(storage: FolderStorage) -> None:
    manifest = made.keep(storage, made.zoo(), status=JobStatus.CANCELED)

    with zipfile.ZipFile(archive_of(storage, manifest, "coco")) as archive:
        assert json.loads(archive.read("dataset.json"))["partial"] is True
        assert "images/train/a-scratch.png" in archive.namelist()


def test_a_data_set_of_nothing_has_an_archive(storage: FolderStorage) -> None:
    manifest = made.keep(storage, [Made("left", status=None)], status=JobStatus.CANCELED)

    with zipfile.ZipFile(archive_of(storage, manifest)) as archive:
        assert archive.testzip() is None
        assert [row.status for row in rows_of(archive)] == ["canceled"]
        assert "data.yaml" in archive.namelist()


@pytest.mark.parametrize("format_", DATASET_FORMATS)
def test_one_format_has_the_same_files_as_among_others(storage: FolderStorage, format_: DatasetFormat) -> None:
    manifest = made.keep(storage, made.zoo())

    with (
        zipfile.ZipFile(archive_of(storage, manifest)) as whole,
        zipfile.ZipFile(archive_of(storage, manifest, format_)) as alone,
    ):
        assert set(alone.namelist()) < set(whole.namelist())
        for name in alone.namelist():
            if name not in ("README.txt", "manifest.jsonl"):
                assert alone.read(name) == whole.read(name), name


def test_bad_names_lead_nowhere(storage: FolderStorage) -> None:
    names = ["../../up", "/abs", "C:\\x", "Größe", "a", "A", "nul"]
    manifest = made.keep(storage, [Made(name, kind="normal") for name in names])

    with zipfile.ZipFile(archive_of(storage, manifest)) as archive:
        found = archive.namelist()
    assert all(name.isascii() and ".." not in name and not name.startswith("/") for name in found)
    assert all("\\" not in name and ":" not in name for name in found)
    images = [name for name in found if name.startswith("images/") and name.endswith(".png")]
    assert len({name.lower() for name in images}) == len(names)


@pytest.mark.parametrize("part", ["image", "mask", "label", "annotations", "plan"])
def test_an_archive_with_a_file_gone_is_not_begun(storage: FolderStorage, part: str) -> None:
    one = Made("dent", defects=[("dent", box(1, 1, 9, 9))])
    manifest = made.keep(storage, [one])
    row = made.planned_item(0, one)
    if part == "plan":
        storage.delete(keys.job_file(manifest.tenant, manifest.job_id, "plan/0.jsonl"))
    else:
        wanted = {"label": "classes-5."}.get(part, part)
        for key in storage.list(keys.made_prefix(manifest.tenant, row.made)):
            if key.rpartition("/")[2].startswith(wanted):
                storage.delete(key)

    with pytest.raises(ObjectNotFoundError):
        gathered(storage, manifest)


def test_the_length_of_a_zip_is_known_beforehand_whatever_its_files() -> None:
    files = [("a", 0), ("folder/b.png", 70_000), ("c" * 90, 1)]

    data = b"".join(Zip(MOMENT).chunks((name, size, iter([bytes(size)])) for name, size in files))

    assert len(data) == zip_length(files)


def test_memory_is_the_same_however_many_items_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.exports.members._IN_MEMORY", 4096)  # so that few items are many
    monkeypatch.setattr("service.zips._IN_MEMORY", 4096)
    counts = 600, 1200  # both more than two files of the plan, of which one or two are held at once
    few = peak_of(FolderStorage(tmp_path / "few"), counts[0])
    enough = few + (counts[1] - counts[0]) * 1000  # a row alone is longer
    peaks: list[int] = []
    while len(peaks) < 3 and not (peaks and peaks[-1] < enough):  # how far readers are ahead is chance
        peaks.append(peak_of(FolderStorage(tmp_path / f"many {len(peaks)}"), counts[1]))

    assert min(peaks) < enough, (few, peaks)


def peak_of(storage: FolderStorage, count: int) -> int:
    """Most bytes that Python holds at once while an archive is made and sent."""
    tiny = np.zeros((8, 8), np.uint8)
    items = [Made(f"item-{n}", defects=[("dent", box(1, 1, 4, 4, 8, 8))], pixels=tiny) for n in range(count)]
    manifest = made.keep(storage, items)
    del items
    tracemalloc.start()
    try:
        found = gathered(storage, manifest)
        sent = sum(len(chunk) for chunk in Zip(MOMENT).chunks(found.contents()))
        assert sent == found.length
        found.close()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
