"""The files of a data set's items, and how a data set is watched."""

from __future__ import annotations

import hashlib
import threading

import pytest

from flawsmith.contract import problems
from flawsmith.contract.jobs import Item, ItemStatus
from service.store import keys
from service.store.plans import plan_files
from tests.service.conftest import Api
from tests.service.store.planned import TENANT, dataset, digest, drawn, failed, rows
from tests.service.test_api_events import told, watching
from tests.service.test_api_refusals import assert_problem

COUNT, NORMAL, FAILED, PENDING = 5, 4, 2, 3


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def accepted(api: Api, source_format: str = "png") -> str:
    request = dataset(COUNT, shard_size=COUNT)
    api.jobs.accept(request, plan_files(rows(COUNT, normals=1, source_format=source_format)))
    return request.job_id


def made(api: Api, job_id: str, source_format: str = "png") -> None:
    """Do a worker's part, but for one item."""
    api.jobs.begin_shard(TENANT, job_id, 0)
    for row in rows(COUNT, normals=1, source_format=source_format):
        item = drawn(row.index)
        for part in ("image", "mask", "preview", "request"):
            setattr(item, f"{part}_sha256", sha256(content(part, row.index)))
        if row.index == NORMAL:
            item = Item(
                index=NORMAL,
                status=ItemStatus.SUCCEEDED,
                seed=0,
                image_sha256=item.image_sha256,
                made=digest(NORMAL),
            )
        if row.index == FAILED:
            item = failed(FAILED)
        if row.index == 1:
            item.request_sha256 = None
        if row.index == PENDING:
            continue
        if item.status is ItemStatus.SUCCEEDED:
            api.storage.put(keys.item_image(TENANT, job_id, item, row.source.image), content("image", row.index))
        if item.mask_sha256:
            api.storage.put(keys.item_mask(TENANT, job_id, item), content("mask", row.index))
            api.storage.put(keys.item_preview(TENANT, job_id, item), content("preview", row.index))
        if item.request_sha256:
            api.storage.put(keys.item_request(TENANT, job_id, item), content("request", row.index))
        api.jobs.finish_item(TENANT, job_id, item)


def content(part: str, index: int) -> bytes:
    return f"{part} of {index}".encode()


@pytest.mark.parametrize("part", ["image", "mask", "preview", "request"])
def test_a_drawn_item_has_its_files(api: Api, part: str) -> None:
    job_id = accepted(api)
    made(api, job_id)
    answer = api.client.get(f"/v1/jobs/{job_id}/items/0/{part}")
    assert (answer.status_code, answer.content) == (200, content(part, 0))
    assert answer.headers["content-type"] == "image/png"


def test_an_item_on_a_tiff_is_one(api: Api) -> None:
    job_id = accepted(api, "tiff")
    made(api, job_id, "tiff")
    for index in (0, NORMAL):
        answer = api.client.get(f"/v1/jobs/{job_id}/items/{index}/image")
        assert (answer.headers["content-type"], answer.content) == ("image/tiff", content("image", index))


def test_a_normal_image_has_no_other_file(api: Api) -> None:
    job_id = accepted(api)
    made(api, job_id)
    assert api.client.get(f"/v1/jobs/{job_id}/items/{NORMAL}/image").content == content("image", NORMAL)
    for part in ("mask", "preview", "request", "defects/0/mask"):
        answer = api.client.get(f"/v1/jobs/{job_id}/items/{NORMAL}/{part}")
        assert_problem(answer, problems.NOT_FOUND, None, "is a normal image")


def test_items_without_files_say_why(api: Api) -> None:
    job_id = accepted(api)
    made(api, job_id)
    for index, word in ((FAILED, "the model fell over"), (PENDING, "not drawn yet")):
        answer = api.client.get(f"/v1/jobs/{job_id}/items/{index}/image")
        assert_problem(answer, problems.ITEM_NOT_READY, None, word)
    answer = api.client.get(f"/v1/jobs/{job_id}/items/1/request")
    assert_problem(answer, problems.NOT_FOUND, None, "no mask was drawn")
    answer = api.client.get(f"/v1/jobs/{job_id}/items/{COUNT}/image")
    assert_problem(answer, problems.NOT_FOUND, None, "from 0 to 4")
    api.jobs.cancel(TENANT, job_id)
    api.jobs.finish_shard(TENANT, job_id, 0)
    answer = api.client.get(f"/v1/jobs/{job_id}/items/{PENDING}/image")
    assert_problem(answer, problems.ITEM_NOT_READY, None, "is canceled")


def test_the_job_has_neither_input_nor_mask(api: Api) -> None:
    job_id = accepted(api)
    for part in ("input", "mask", "sheet"):
        assert_problem(api.client.get(f"/v1/jobs/{job_id}/{part}"), problems.NOT_FOUND, None)


def test_who_watches_hears_of_progress_and_not_of_items(api: Api) -> None:
    job_id = accepted(api)

    def work() -> None:
        made(api, job_id)
        api.jobs.finish_item(TENANT, job_id, drawn(PENDING))
        api.jobs.finish_shard(TENANT, job_id, 0)

    with watching(api, job_id) as events:
        next(events)
        threading.Timer(0.2, work).start()
        heard = told(events)
    assert {kind for kind, _ in heard} <= {"status", "progress"}
    assert ("progress", None) in heard
    assert heard[-1] == ("status", "succeeded")
