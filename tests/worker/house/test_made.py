"""What data sets made: what one has stays, what none has goes once it is old, in two steps."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from redis import Redis

from service.store import keys
from service.store.folder import FolderStorage
from service.store.jobs import Jobs
from service.store.storage import ObjectNotFoundError, StorageUnavailableError
from tests.service.store.planned import TENANT, dataset, digest, drawn, plan
from worker.house.made import MadeItems
from worker.house.settings import HouseSettings

DAY_S = 86400.0
VIEW_OF_ONE = b'{"made": "%s", "view": "00"}' % (b"0" * 64)


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path)


@pytest.fixture
def jobs(redis: Redis, storage: FolderStorage) -> Jobs:
    return Jobs(redis, storage, HouseSettings())


@pytest.fixture
def house(storage: FolderStorage) -> MadeItems:
    return MadeItems(storage, HouseSettings(), lambda: False)


def put(storage: FolderStorage, of: str, index: int = 0, *, days: float = 2, tenant: str = TENANT) -> str:
    """An item with its files, made some days ago; its digest."""
    item = drawn(index, of=of)
    assert item.made is not None
    for key in (
        keys.item_mask(tenant, "job_00000000000000000000000000", item),
        keys.made_record(tenant, item.made),
    ):
        storage.put(key, b"x")
        _age(storage, key, days)
    return item.made


def _age(storage: FolderStorage, key: str, days: float) -> None:
    moment = time.time() - days * DAY_S
    os.utime(storage.root / key, (moment, moment))


def left(storage: FolderStorage, tenant: str = TENANT) -> list[str]:
    return list(storage.folders(keys.made_prefix(tenant)))


def files(storage: FolderStorage, made: str, tenant: str = TENANT) -> int:
    return len(list(storage.list(keys.made_prefix(tenant, made))))


def accepted(jobs: Jobs, of: str, *, tenant: str = TENANT) -> str:
    request = dataset(3, tenant=tenant)
    jobs.accept(request, plan(3, of=of))
    return request.job_id


def test_what_no_data_set_has_goes_once_it_is_old(jobs: Jobs, storage: FolderStorage, house: MadeItems) -> None:
    job_id = accepted(jobs, "a")
    kept = [put(storage, "a", 2, days=100), put(storage, "new", days=0.5)]
    gone = put(storage, "b")
    assert house.sweep() == 0  # its record alone went
    assert not storage.exists(keys.made_record(TENANT, gone))
    assert files(storage, gone) == 1
    assert house.sweep() == 1
    assert sorted(left(storage)) == sorted(kept)
    assert [files(storage, made) for made in kept] == [2, 2]

    jobs.cancel(TENANT, job_id)
    assert jobs.delete(TENANT, job_id)
    assert sorted(left(storage)) == sorted(kept)
    house.sweep()
    assert house.sweep() == 1
    assert left(storage) == kept[1:]


def test_an_item_counts_as_new_as_its_newest_file(storage: FolderStorage, house: MadeItems) -> None:
    made = put(storage, "b")
    storage.put(keys.made_annotations(TENANT, made), b"{}")
    house.sweep()
    house.sweep()
    assert files(storage, made) == 3


def test_a_tenant_keeps_nothing_for_another(jobs: Jobs, storage: FolderStorage, house: MadeItems) -> None:
    accepted(jobs, "a", tenant="other")
    put(storage, "a", 1)
    mine = put(storage, "a", 1, tenant="other")
    house.sweep()
    house.sweep()
    assert left(storage) == []
    assert left(storage, "other") == [mine]


def test_a_data_set_that_is_being_accepted_keeps_what_it_will_have(
    storage: FolderStorage, house: MadeItems
) -> None:
    """Its plan is written, its request is not: there is no job yet."""
    request = dataset(3)
    storage.put(keys.job_file(TENANT, request.job_id, "plan/0.jsonl"), plan(3, of="a")["plan/0.jsonl"])
    made = put(storage, "a", 1)
    house.sweep()
    house.sweep()
    assert files(storage, made) == 2
    storage.delete_prefix(keys.job_prefix(TENANT, request.job_id))  # it was refused in the end
    house.sweep()
    assert house.sweep() == 1


def test_a_worker_that_found_an_item_just_before_keeps_its_files(
    jobs: Jobs, storage: FolderStorage, house: MadeItems, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data set is accepted after plans were read; its worker reads the record before that goes."""
    made = put(storage, "a", 1)
    delete = storage.delete

    def late(key: str) -> None:
        monkeypatch.undo()
        accepted(jobs, "a")
        delete(key)

    monkeypatch.setattr(storage, "delete", late)
    house.sweep()
    assert not storage.exists(keys.made_record(TENANT, made))
    house.sweep()
    house.sweep()
    assert files(storage, made) == 1


def test_a_data_set_that_comes_before_the_second_step_keeps_the_files(
    jobs: Jobs, storage: FolderStorage, house: MadeItems, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = put(storage, "a", 1)
    house.sweep()
    modified = storage.modified

    def late(prefix: str) -> dict[str, object]:
        found = modified(prefix)
        monkeypatch.undo()
        accepted(jobs, "a")
        return dict(found)

    monkeypatch.setattr(storage, "modified", late)
    assert house.sweep() == 0
    assert files(storage, made) == 1


def test_a_view_stays_as_long_as_a_plan_names_it(jobs: Jobs, storage: FolderStorage, house: MadeItems) -> None:
    item, view, other = put(storage, "b", 0), put(storage, "b", 1), put(storage, "b", 2)
    jobs.accept(dataset(1), {"plan/0.jsonl": json.dumps({"made": item, "view": view}).encode()})
    without = json.dumps({"made": item, "view": None}).encode()
    jobs.accept(dataset(1), {"plan/0.jsonl": without})
    for _ in range(2):
        house.sweep()
    assert sorted(left(storage)) == sorted([item, view])
    assert other not in left(storage)


@pytest.mark.parametrize("row", [b"{", b"{}", b'{"made": 3}', b'{"made": "00"}', b"3", VIEW_OF_ONE])
def test_a_plan_that_cannot_be_read_keeps_all_of_its_tenant(
    jobs: Jobs, storage: FolderStorage, house: MadeItems, row: bytes
) -> None:
    request = dataset(1)
    jobs.accept(request, {"plan/0.jsonl": row})
    kept, gone = put(storage, "b"), put(storage, "b", tenant="zz")
    for _ in range(2):
        house.sweep()
    assert files(storage, kept) == 2
    assert files(storage, gone, "zz") == 0


def test_without_storage_nothing_goes(
    jobs: Jobs, storage: FolderStorage, house: MadeItems, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted(jobs, "a")
    made = put(storage, "a", 1)

    def away(key: str) -> bytes:
        raise StorageUnavailableError("away")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "get", away)
        for _ in range(2):
            with pytest.raises(StorageUnavailableError):
                house.sweep()
    assert files(storage, made) == 2
    house.sweep()
    assert files(storage, made) == 2


def test_nothing_goes_while_a_plan_breaks_off_and_all_of_it_counts_afterwards(
    jobs: Jobs, storage: FolderStorage, house: MadeItems, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted(jobs, "a")
    made = put(storage, "a", 1)

    def gone(key: str) -> bytes:
        raise ObjectNotFoundError(key)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "get", gone)
        house.sweep()
        patch.setattr(storage, "exists", lambda key: False)
        house.sweep()
    for _ in range(2):
        house.sweep()
    assert files(storage, made) == 2


def test_a_house_that_stops_removes_no_more(storage: FolderStorage) -> None:
    made = put(storage, "b")
    stopping = MadeItems(storage, HouseSettings(), lambda: True)
    stopping.sweep()
    assert files(storage, made) == 2


def test_how_long_is_a_setting(storage: FolderStorage) -> None:
    made = put(storage, "b", days=2)
    patient = MadeItems(storage, HouseSettings.model_validate({"keep_made_days": 3}), lambda: False)
    patient.sweep()
    assert files(storage, made) == 2


def test_foreign_folders_are_left_alone(storage: FolderStorage, house: MadeItems) -> None:
    key = f"{TENANT}/made/not-a-digest/x"
    storage.put(key, b"x")
    _age(storage, key, 9)
    made = put(storage, "b")
    house.sweep()
    assert house.sweep() == 1
    assert made == digest("b0")
    assert storage.exists(key)
