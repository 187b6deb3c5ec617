"""``/v1/defect-types``: what can be drawn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flawsmith.contract import problems
from service.store import keys
from service.store.registry import Registry
from tests.service.conftest import SCRATCH, Api
from tests.service.pictures import encoded, mask, part
from tests.service.test_api_refusals import assert_problem


@pytest.fixture
def own_versions(api: Api) -> Iterator[None]:
    """The tenant's own scratch, in two versions."""
    for version in (1, 2):
        record = SCRATCH.model_copy(update={"tenant": "default", "version": version, "description": "ours"})
        Registry(api.storage).publish(record)
    yield
    api.storage.delete_prefix("default/defect-types/")


def test_types_are_listed_with_their_defaults(api: Api) -> None:
    answer = api.client.get("/v1/defect-types").json()

    assert answer == {
        "defect_types": [
            {
                "name": "scratch",
                "version": 1,
                "description": "A thin, bright line.",
                "backbone": "flawsmith-small-1",
                "backbone_digest": "sha256:" + 64 * "0",
                "builtin": True,
                "start": "sketch",
                "draws_masks": False,
                "created_at": None,
                "card": None,
                "defaults": {
                    "severity": 0.6,
                    "guidance": 1.0,
                    "steps": 20,
                    "seed_share": 0.7,
                    "min_quality": 0.3,
                    "part": "a metal part",
                },
            }
        ]
    }


def test_a_type_is_shown_by_name(api: Api) -> None:
    assert (
        api.client.get("/v1/defect-types/scratch").json()
        in api.client.get("/v1/defect-types").json()["defect_types"]
    )


@pytest.mark.usefixtures("own_versions")
def test_the_newest_own_version_stands_before_the_builtin_one(api: Api) -> None:
    shown = api.client.get("/v1/defect-types/scratch").json()

    assert (shown["version"], shown["builtin"]) == (2, False)


@pytest.mark.usefixtures("own_versions")
def test_a_version_is_shown_by_its_number(api: Api) -> None:
    shown = api.client.get("/v1/defect-types/scratch", params={"version": 1}).json()

    assert (shown["version"], shown["builtin"]) == (1, False)
    missing = api.client.get("/v1/defect-types/scratch", params={"version": 3})
    assert_problem(missing, problems.NOT_FOUND, None, "version 3")
    assert_problem(
        api.client.get("/v1/defect-types/scratch", params={"version": 0}), problems.INVALID_REQUEST, "version"
    )


@pytest.mark.usefixtures("own_versions")
def test_one_version_is_deleted(api: Api) -> None:
    api.storage.put(keys.defect_type_adapter("default", "scratch", 2), b"adapter")
    api.storage.put(keys.defect_type_exemplars("default", "scratch", 2), b"exemplars")

    assert api.client.delete("/v1/defect-types/scratch", params={"version": 2}).status_code == 204
    assert api.client.get("/v1/defect-types/scratch").json()["version"] == 1
    assert list(api.storage.list("default/defect-types/")) == [keys.defect_type("default", "scratch", 1)]
    again = api.client.delete("/v1/defect-types/scratch", params={"version": 2})
    assert_problem(again, problems.NOT_FOUND, None, "version 2")


@pytest.mark.usefixtures("own_versions")
def test_all_versions_are_deleted_and_the_builtin_type_is_there_again(api: Api) -> None:
    assert api.client.delete("/v1/defect-types/scratch").status_code == 204
    assert api.client.get("/v1/defect-types/scratch").json()["builtin"] is True


def test_a_builtin_type_is_not_deleted(api: Api) -> None:
    for params in ({}, {"version": 1}):
        answer = api.client.delete("/v1/defect-types/scratch", params=params)
        assert_problem(answer, problems.BUILTIN_DEFECT_TYPE, None, "comes with Flawsmith")


@pytest.mark.usefixtures("own_versions")
def test_a_version_that_an_unfinished_job_draws_with_is_not_deleted(api: Api) -> None:
    files = {"image": encoded(part()), "mask": encoded(mask())}
    job = api.client.post("/v1/augmentations", files=files, data={"defect_type": "scratch@1"}).json()

    for params in ({}, {"version": 1}):
        answer = api.client.delete("/v1/defect-types/scratch", params=params)
        assert_problem(answer, problems.DEFECT_TYPE_IN_USE, None, job["id"], "scratch@1")
    assert api.client.delete("/v1/defect-types/scratch", params={"version": 2}).status_code == 204
    api.client.post(f"/v1/jobs/{job['id']}/cancel")
    assert api.client.delete("/v1/defect-types/scratch").status_code == 204


@pytest.mark.parametrize("name", ["dent", "Scratch", "..%2Fx", "x" * 100])
def test_an_unknown_type_is_not_found(api: Api, name: str) -> None:
    assert_problem(api.client.get(f"/v1/defect-types/{name}"), problems.NOT_FOUND, None)
