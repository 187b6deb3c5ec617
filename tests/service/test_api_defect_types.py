"""``/v1/defect-types``: what can be drawn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flawsmith.contract import problems
from service.store.registry import Registry
from tests.service.conftest import SCRATCH, Api
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


@pytest.mark.parametrize("name", ["dent", "Scratch", "..%2Fx", "x" * 100])
def test_an_unknown_type_is_not_found(api: Api, name: str) -> None:
    assert_problem(api.client.get(f"/v1/defect-types/{name}"), problems.NOT_FOUND, None)
