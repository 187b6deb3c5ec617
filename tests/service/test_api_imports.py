"""Data sets of photos that lie in the service's own storage: read once, and of one's own tenant alone."""

from __future__ import annotations

import json
import uuid
from typing import Any

import httpx
import pytest

from flawsmith.contract import problems
from flawsmith.contract.datasets import PlannedItem
from service.settings import ServiceSettings
from service.store import keys
from service.store.registry import Registry
from tests.service.conftest import ON_BOTH, Api
from tests.service.keyed import keyed_api
from tests.service.samples.sets import mask, photo
from tests.service.test_api_datasets import BROKEN, LOTS, PITTING, packed, plan_of
from tests.service.test_api_refusals import assert_problem

AREA = "default/imports/"
ENTRIES = [{"defect_type": "pitting", "per_image": 1}]


@pytest.fixture(autouse=True)
def _placed(running_api: Api) -> None:
    Registry(running_api.storage).publish(PITTING)
    running_api.storage.delete_prefix("default/imports/")
    place(running_api, {"line 7/Ä (1).png": photo(0), "line 7/deep/1.png": photo(1), "line 7/2.png": photo(2)})


def place(api: Api, content: dict[str, bytes]) -> None:
    for name, data in content.items():
        api.storage.put(AREA + name, data)


def asked(client: httpx.Client, prefix: object = "line 7/", **fields: Any) -> httpx.Response:
    headers = fields.pop("headers", None)
    body = {"normals": {"prefix": prefix}, "entries": ENTRIES, "seed": 7} | fields
    return client.post("/v1/datasets", json=body, headers=headers)


def sources(rows: list[PlannedItem]) -> dict[str, PlannedItem]:
    return {row.source.name: row for row in rows if row.kind == "normal"}


@ON_BOTH
def test_photos_in_storage_make_the_items_that_the_same_photos_make_sent(api: Api) -> None:
    place(api, {"line 7/torn.png": BROKEN, "line 7/__MACOSX/9.png": photo(9), "line 70/3.png": photo(3)})
    place(api, {"line 7/metadata.csv": b"file,lot\n2.png,x\n"})
    answer = asked(api.client)

    rows = plan_of(api, answer)
    found = sources(rows)
    assert list(found) == ["2.png", "deep/1.png", "Ä (1).png"]
    assert [one["name"] for one in answer.json()["dataset"]["left_out"]] == ["torn.png"]
    assert answer.json()["request"]["prefix"] == "line 7/"
    assert [row.source.metadata for row in found.values()] == [{"lot": "x"}, {}, {}]
    content = {"2.png": photo(2), "deep/1.png": photo(1), "Ä (1).png": photo(0)}
    form = api.client.post(
        "/v1/datasets",
        files={"normals": packed(content)},
        data={"entries": json.dumps(ENTRIES), "seed": "7"},
    )
    assert {row.made for row in rows} == {row.made for row in plan_of(api, form)}
    assert [row.source.sha256 for row in found.values()] == [
        row.source.sha256 for row in sources(plan_of(api, form)).values()
    ]


@ON_BOTH
def test_what_changes_there_later_changes_no_data_set_and_is_another_request(api: Api) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    first = asked(api.client, headers=key)
    assert asked(api.client, headers=key).content == first.content
    place(api, {"line 7/2.png": photo(8)})
    answer = asked(api.client, headers=key)

    assert_problem(answer, problems.IDEMPOTENCY_MISMATCH, "Idempotency-Key")
    source = sources(plan_of(api, first))["2.png"].source
    job = first.json()["id"]
    assert api.storage.get(keys.job_file("default", job, f"sources/{source.number}/image.png"))
    assert source.sha256 != sources(plan_of(api, asked(api.client)))["2.png"].source.sha256
    api.storage.delete_prefix("default/imports/")
    assert api.storage.exists(keys.job_file("default", job, f"sources/{source.number}/image.png"))


def test_files_of_a_form_go_with_photos_in_storage(api: Api) -> None:
    place(api, {"lots/0.png": photo(0), "lots/1.png": photo(1), "lots/2.png": photo(2)})
    place(api, {"lots/metadata.csv": b"no table of ours"})
    entries = [{"defect_type": "pitting", "per_image": 1, "masks": "given"}]
    answer = api.client.post(
        "/v1/datasets",
        files={"masks": packed({"1.png": mask()}), "regions": mask(width=40), "normals_metadata": LOTS},
        data={"normals": '{"prefix": "lots"}', "entries": json.dumps(entries), "seed": "7"},
    )

    rows = plan_of(api, answer)
    assert [row.source.name for row in rows if row.kind == "defect"] == ["1.png"]
    assert [row.source.metadata["lot"] for row in sources(rows).values()] == ["x", "y", "x"]
    assert all(row.source.region_sha256 for row in rows)


@pytest.mark.parametrize(
    "prefix",
    ["../other/imports/line", "/etc", "a//b", ".", "a/../../b", "s3://bucket/line", "C:\\line", "a\n", ".x/"],
)
def test_a_prefix_that_leads_out_is_refused(api: Api, prefix: str) -> None:
    answer = asked(api.client, prefix)
    assert_problem(answer, problems.INVALID_REQUEST, "normals.prefix", "your own folder imports/")
    text = json.dumps({"prefix": prefix})
    form = api.client.post("/v1/datasets", files={"normals": (None, text), "entries": (None, json.dumps(ENTRIES))})
    assert_problem(form, problems.INVALID_REQUEST, "normals.prefix", "your own folder imports/")


def test_a_prefix_that_is_none_is_refused(api: Api) -> None:
    assert_problem(asked(api.client, ""), problems.INVALID_REQUEST, "normals.prefix", "1 to 500")
    assert_problem(asked(api.client, 3), problems.INVALID_REQUEST, "normals.prefix", "1 to 500")
    answer = asked(api.client, normals={"prefix": "line 7", "deep": True})
    assert_problem(answer, problems.INVALID_REQUEST, "normals.deep", "not a known field")
    form = api.client.post(
        "/v1/datasets", files={"normals": (None, "line 7/"), "entries": (None, json.dumps(ENTRIES))}
    )
    assert_problem(form, problems.INVALID_REQUEST, "normals", "a ZIP as a file", "prefix")


def test_a_folder_without_photos_is_refused(api: Api) -> None:
    place(api, {"texts/a.txt": b"x"})
    answer = asked(api.client, "line 8")
    assert_problem(
        answer, problems.INVALID_NORMALS, "normals.prefix", "nothing in line 8", "default/imports/line 8/"
    )
    answer = asked(api.client, "texts")
    assert_problem(answer, problems.INVALID_NORMALS, "normals.prefix", "none of 1 files")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"metadata.csv": b"name,lot\n"}, ("metadata.csv beside the images", "no column file")),
        ({"metadata.jsonl": b'{"file": "9.png"}'}, ("metadata.jsonl beside the images", "9.png")),
        ({"metadata.csv": b"file\n", "metadata.jsonl": b""}, ("metadata.csv and metadata.jsonl", "Keep one")),
    ],
)
def test_a_table_that_does_not_fit_is_refused(api: Api, content: dict[str, bytes], words: tuple[str, ...]) -> None:
    place(api, {"line 7/" + name: data for name, data in content.items()})
    assert_problem(asked(api.client), problems.INVALID_NORMALS, "normals.prefix", *words)


def test_a_dry_run_of_photos_in_storage_leaves_nothing(api: Api) -> None:
    before = api.traces()
    answer = asked(api.client, dry_run=True)
    assert (answer.status_code, answer.json()["items"]) == (200, 6)
    assert api.traces() == before


def test_another_tenants_photos_are_not_there(settings: ServiceSettings, running_api: Api) -> None:
    with keyed_api(settings) as api, api.client_for("other") as stranger:
        answer = asked(stranger)
        assert_problem(answer, problems.INVALID_NORMALS, "normals.prefix", "nothing in line 7", "other/imports/")
        assert asked(api.client).status_code == 202
