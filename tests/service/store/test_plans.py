"""Plans: rows are read one by one, a file at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from flawsmith.contract.files import PLAN_ROWS
from service.store import keys
from service.store.folder import FolderStorage
from service.store.plans import Plans, plan_files, write_plan
from service.store.storage import ObjectNotFoundError, StorageError
from service.store.stored import JobFiles, StoredJobs
from tests.service.store.planned import TENANT, dataset, rows

COUNT = 2 * PLAN_ROWS + 3


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path / "storage")


@pytest.mark.parametrize("on_disk", [False, True])
def test_rows_come_back_as_they_were_planned(storage: FolderStorage, tmp_path: Path, on_disk: bool) -> None:
    request, planned = dataset(COUNT), list(rows(COUNT, normals=5))
    files: JobFiles = write_plan(planned, tmp_path / "plan") if on_disk else plan_files(planned)
    assert sorted(files) == ["plan/0.jsonl", "plan/1.jsonl", "plan/2.jsonl"]
    StoredJobs(storage).put(request, files)
    plans = Plans(storage)
    assert list(plans.rows(request)) == planned
    assert list(plans.rows(request, [5, COUNT - 1, 0])) == [planned[5], planned[-1], planned[0]]
    assert plans.row(request, PLAN_ROWS) == planned[PLAN_ROWS]


def test_neighbouring_rows_are_read_from_storage_once(
    storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = dataset(COUNT)
    StoredJobs(storage).put(request, plan_files(rows(COUNT)))
    read: list[str] = []
    get = storage.get
    monkeypatch.setattr(storage, "get", lambda key: read.append(key) or get(key))
    list(Plans(storage).rows(request))
    assert [key.rpartition("/")[2] for key in read] == ["0.jsonl", "1.jsonl", "2.jsonl"]


def test_rows_that_are_not_there(storage: FolderStorage) -> None:
    request = dataset(4)
    plans = Plans(storage)
    for index in (-1, 4):
        with pytest.raises(IndexError, match="has 4 items"):
            plans.row(request, index)
    with pytest.raises(ObjectNotFoundError):
        plans.row(request, 0)
    storage.put(keys.job_file(TENANT, request.job_id, "plan/0.jsonl"), plan_files(rows(3))["plan/0.jsonl"])
    with pytest.raises(StorageError, match="ends before item 3"):
        plans.row(request, 3)


def test_rows_out_of_order_are_refused() -> None:
    first, second = rows(2)
    with pytest.raises(ValueError, match="1 came where 0 belongs"):
        plan_files([second, first])
