"""``/v1/jobs/{id}/archive`` and ``/v1/jobs/{id}/rows`` of data sets."""

from __future__ import annotations

import io
import zipfile

import httpx
import pytest

from flawsmith.contract import problems
from service.store import keys
from tests.service.conftest import ON_BOTH, Api
from tests.service.exports import made
from tests.service.test_api_jobs import accepted, finish
from tests.service.test_api_refusals import assert_problem

pytestmark = ON_BOTH


@pytest.fixture
def items() -> list[made.Made]:
    return made.zoo()


def test_a_data_set_is_downloaded_in_its_formats(api: Api, items: list[made.Made]) -> None:
    job_id = made.keep(api.storage, items).job_id

    answer = api.client.get(f"/v1/jobs/{job_id}/archive")

    assert answer.headers["content-length"] == str(len(answer.content))
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert {"data.yaml", "classes.json", "annotations/instances_train.json"} <= set(archive.namelist())
    head = httpx.head(f"{api.address}/v1/jobs/{job_id}/archive")
    assert (head.headers["content-length"], head.headers["etag"]) == (
        answer.headers["content-length"],
        answer.headers["etag"],
    )
    etag = answer.headers["etag"]
    assert api.client.get(f"/v1/jobs/{job_id}/archive", headers={"If-None-Match": etag}).status_code == 304


def test_formats_are_chosen_by_the_query(api: Api, items: list[made.Made]) -> None:
    job_id = made.keep(api.storage, items).job_id

    answer = api.client.get(f"/v1/jobs/{job_id}/archive", params=[("format", "yolo"), ("format", "coco")])

    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        names = archive.namelist()
    assert "data.yaml" in names
    assert "annotations/instances_val.json" in names
    assert not [name for name in names if name.startswith(("mvtec/", "masks/", "binary-masks/"))]
    whole = api.client.get(f"/v1/jobs/{job_id}/archive").headers["etag"]
    assert answer.headers["etag"] != whole


@pytest.mark.parametrize(
    ("query", "field", "says"),
    [
        ("format=yolo", "format", "was made with mvtec, coco, not with yolo"),
        ("format=voc", "format", "must be one of mvtec, coco, yolo"),
        ("format=coco&format=coco", "format", "more than once"),
        ("formats=coco", "formats", "did you mean format"),
    ],
)
def test_formats_that_are_not_there_are_refused(
    api: Api, items: list[made.Made], query: str, field: str, says: str
) -> None:
    job_id = made.keep(api.storage, items, formats=["mvtec", "coco"]).job_id

    assert_problem(api.client.get(f"/v1/jobs/{job_id}/archive?{query}"), problems.INVALID_REQUEST, field, says)


def test_what_is_no_data_set_has_no_formats_and_no_rows(api: Api) -> None:
    job_id = accepted(api)
    finish(api, job_id)

    answer = api.client.get(f"/v1/jobs/{job_id}/archive", params={"format": "coco"})
    assert_problem(answer, problems.INVALID_REQUEST, "format", "for data sets", "augmentation")
    assert_problem(api.client.get(f"/v1/jobs/{job_id}/rows"), problems.NOT_FOUND, None, "no data set")


def test_a_data_set_that_is_not_final_has_rows_and_no_archive(api: Api, items: list[made.Made]) -> None:
    job_id = made.keep(api.storage, items, status=None).job_id

    assert_problem(api.client.get(f"/v1/jobs/{job_id}/archive"), problems.NOT_FINISHED, None)
    rows = api.client.get(f"/v1/jobs/{job_id}/rows").json()["rows"]
    assert {row["name"]: row["status"] for row in rows}["e-left"] == "pending"


def test_an_archive_with_a_file_gone_is_a_problem(api: Api, items: list[made.Made]) -> None:
    manifest = made.keep(api.storage, items)
    api.storage.delete_prefix(keys.made_prefix("default", made.planned_item(1, items[1]).made))

    assert_problem(api.client.get(f"/v1/jobs/{manifest.job_id}/archive"), problems.NOT_FOUND, None, "gone")


def test_rows_come_in_pages_and_in_order(api: Api, items: list[made.Made]) -> None:
    job_id = made.keep(api.storage, items).job_id
    seen, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        query = {"limit": "5"} | ({"cursor": cursor} if cursor else {})
        page = api.client.get(f"/v1/jobs/{job_id}/rows", params=query).json()
        seen += [row["name"] for row in page["rows"]]
        cursor, pages = page["next_cursor"], pages + 1

    assert seen == [one.name for one in items]
    assert pages == 4


def test_rows_are_those_of_the_archive(api: Api, items: list[made.Made]) -> None:
    job_id = made.keep(api.storage, items).job_id

    with zipfile.ZipFile(io.BytesIO(api.client.get(f"/v1/jobs/{job_id}/archive").content)) as archive:
        lines = archive.read("manifest.jsonl")
    rows = api.client.get(f"/v1/jobs/{job_id}/rows", params={"limit": 200}).json()["rows"]
    assert [httpx.Response(200, content=line).json() for line in lines.splitlines()] == rows


@pytest.mark.parametrize("cursor", ["x", "cm93Oi0x", "cm93Onh4", "am9iOjE="])
def test_a_cursor_of_no_page_is_refused(api: Api, items: list[made.Made], cursor: str) -> None:
    job_id = made.keep(api.storage, items).job_id

    answer = api.client.get(f"/v1/jobs/{job_id}/rows", params={"cursor": cursor})
    assert_problem(answer, problems.INVALID_REQUEST, "cursor", "no page of rows")


def test_a_cursor_beyond_the_end_gives_no_rows(api: Api, items: list[made.Made]) -> None:
    job_id = made.keep(api.storage, items).job_id

    page = api.client.get(f"/v1/jobs/{job_id}/rows", params={"cursor": "cm93OjEwMDA="}).json()
    assert page == {"rows": [], "next_cursor": None}
