"""What belongs to another tenant does not exist: on every route of the OpenAPI document."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from redis import Redis

from flawsmith.contract import problems
from flawsmith.contract.access import Scope
from flawsmith.contract.ids import DEFAULT_TENANT, new_job_id
from service.settings import ServiceSettings
from tests.service.bundles import made
from tests.service.exports.made import Made, keep
from tests.service.keyed import KeyedApi, keyed_api
from tests.service.pictures import encoded, mask, part
from tests.service.serving import openapi_document
from tests.service.test_api_jobs import accepted, finish
from tests.service.test_api_refusals import assert_problem
from tests.service.test_api_trainings import end

IMAGE, MASK = encoded(part()), encoded(mask())
UNKNOWN = {
    "job_id": new_job_id(),
    "upload_id": "sha256:" + 64 * "0",
    "name": "unknown",
    "n": "0",
    "k": "0",
    "version": "1",
}
MADE = ("importDefectType",)
"""Operations whose path names what is made, so that nothing has to be there before."""


@dataclass
class Owned:
    """Two tenants: what the one has, and a client of the other."""

    api: KeyedApi
    stranger: httpx.Client
    ids: dict[str, str]
    """By the names that path parameters have."""
    mask_id: str
    training_id: str
    several_id: str
    """An augmentation of several defects."""
    dataset_id: str

    def ids_for(self, path: str) -> dict[str, str]:
        """What the path is filled with: most that is under a job an augmentation has, a sheet a training, rows a
        data set."""
        if "{k}" in path:
            return self.ids | {"job_id": self.several_id}
        if path.endswith(("/rows", "/report")):
            return self.ids | {"job_id": self.dataset_id}
        return self.ids | ({"job_id": self.training_id} if path.endswith("/sheet") else {})


@pytest.fixture(scope="module")
def owned(settings: ServiceSettings) -> Iterator[Owned]:
    with Redis.from_url(settings.redis_url) as redis:
        redis.flushall()
    with keyed_api(settings) as api, api.client_for("acme") as stranger:
        uploads = [api.client.post("/v1/uploads", files={"file": data}).json()["id"] for data in (IMAGE, MASK)]
        mine = made.record(DEFAULT_TENANT, name="mine", version=1, draws_masks=False)
        made.publish(api.storage, mine)
        stranger.headers["X-Request-ID"] = "strange"  # answers may differ in nothing else
        job_id = accepted(api)
        finish(api, job_id, request=MASK)
        several_id = accepted(api, types=("scratch", "scratch"))
        finish(api, several_id)
        ids = {"job_id": job_id, "upload_id": uploads[0], "name": "mine", "n": "0", "k": "0", "version": "1"}
        body = {"name": "mine", "samples": [{"image": uploads[0], "mask": uploads[1]}]}
        training_id = api.client.post("/v1/defect-types", json=body).json()["id"]
        end(api, training_id)
        dataset_id = keep(api.storage, [Made("normal", kind="normal")]).job_id
        yield Owned(api, stranger, ids, uploads[1], training_id, several_id, dataset_id)


def operations(with_parameters: bool) -> list[tuple[str, str, str]]:
    """Method, path and id of those operations that have, or have not, parameters in their path."""
    return [
        (method.upper(), path, operation["operationId"])
        for path, methods in openapi_document()["paths"].items()
        for method, operation in methods.items()
        if ("{" in path) is with_parameters
    ]


def filled(path: str, ids: dict[str, str]) -> str:
    """The path with ids; a parameter that this test does not know fails it."""
    return re.sub(r"\{(\w+)\}", lambda match: ids[match[1]], path)


@pytest.mark.parametrize(
    ("method", "path", "operation"), [one for one in operations(with_parameters=True) if one[2] not in MADE]
)
def test_an_id_of_another_tenant_is_as_unknown_as_one_that_nobody_has(
    owned: Owned, method: str, path: str, operation: str
) -> None:
    ids = owned.ids_for(path)
    theirs = owned.stranger.request(method, filled(path, ids))
    nobodys = owned.stranger.request(method, filled(path, UNKNOWN))

    assert_problem(theirs, problems.NOT_FOUND, None)
    text = theirs.text
    for name, value in ids.items():
        text = text if name in ("n", "k", "version") else text.replace(value, UNKNOWN[name])
    assert text == nobodys.text
    if method == "GET":
        with owned.api.client.stream("GET", filled(path, ids)) as seen:
            assert seen.status_code == 200, "the owner sees it"


def check_upload(owned: Owned) -> None:
    """The same bytes are new to another tenant."""
    assert owned.api.client.post("/v1/uploads", files={"file": IMAGE}).status_code == 200
    sent = owned.stranger.post("/v1/uploads", files={"file": IMAGE})
    assert sent.status_code == 201
    owned.api.storage.delete_prefix("acme/uploads/")


def check_augmentation(owned: Owned) -> None:
    """Uploads and types of another tenant cannot be named in a request."""

    def asked(client: httpx.Client, **changes: str) -> httpx.Response:
        good = {"image": owned.ids["upload_id"], "mask": owned.mask_id, "defect_type": "scratch"}
        return client.post("/v1/augmentations", json=good | {"dry_run": True} | changes)

    assert asked(owned.api.client, defect_type="mine").status_code == 200
    theirs = asked(owned.stranger)
    assert_problem(theirs, problems.UNKNOWN_UPLOAD, "image", owned.ids["upload_id"])
    nobodys = asked(owned.stranger, image=UNKNOWN["upload_id"])
    assert theirs.text.replace(owned.ids["upload_id"], UNKNOWN["upload_id"]) == nobodys.text
    mine = owned.stranger.post("/v1/uploads", files={"file": IMAGE}).json()["id"]
    assert_problem(asked(owned.stranger, image=mine), problems.UNKNOWN_UPLOAD, "mask", owned.mask_id)
    owned.api.storage.delete_prefix("acme/uploads/")

    for name in ("mine", "mine@1"):
        theirs = asked(owned.stranger, defect_type=name)
        assert_problem(theirs, problems.UNKNOWN_DEFECT_TYPE, "defect_type", name)
        nobodys = asked(owned.stranger, defect_type=name.replace("mine", "none"))
        assert theirs.text.replace("mine", "none") == nobodys.text

    def listed(client: httpx.Client, image: str, **defect: str) -> httpx.Response:
        body = {"image": image, "defects": [{"defect_type": "scratch", "mask": owned.mask_id} | defect]}
        return client.post("/v1/augmentations", json=body | {"dry_run": True})

    assert listed(owned.api.client, owned.ids["upload_id"], defect_type="mine").status_code == 200
    mine = owned.stranger.post("/v1/uploads", files={"file": IMAGE}).json()["id"]
    assert_problem(listed(owned.stranger, mine), problems.UNKNOWN_UPLOAD, "defects.0.mask", owned.mask_id)
    theirs = listed(owned.stranger, mine, defect_type="mine")
    assert_problem(theirs, problems.UNKNOWN_DEFECT_TYPE, "defects.0.defect_type", "mine")
    owned.api.storage.delete_prefix("acme/uploads/")


def check_dataset(owned: Owned) -> None:
    """Uploads and types of another tenant are in no data set."""

    def asked(client: httpx.Client, defect_type: str = "scratch", **changes: str) -> httpx.Response:
        normal = {"image": owned.ids["upload_id"], "mask": owned.mask_id} | changes
        entry = {"defect_type": defect_type, "count": 1, "masks": "given"}
        return client.post("/v1/datasets", json={"normals": [normal], "entries": [entry], "dry_run": True})

    assert asked(owned.api.client, "mine").status_code == 200
    theirs = asked(owned.stranger)
    assert_problem(theirs, problems.UNKNOWN_UPLOAD, "normals.0.image", owned.ids["upload_id"])
    nobodys = asked(owned.stranger, image=UNKNOWN["upload_id"])
    assert theirs.text.replace(owned.ids["upload_id"], UNKNOWN["upload_id"]) == nobodys.text
    mine = owned.stranger.post("/v1/uploads", files={"file": IMAGE}).json()["id"]
    assert_problem(asked(owned.stranger, image=mine), problems.UNKNOWN_UPLOAD, "normals.0.mask", owned.mask_id)

    for name in ("mine", "mine@1"):
        theirs = asked(owned.stranger, name, image=mine, mask=mine)
        assert_problem(theirs, problems.UNKNOWN_DEFECT_TYPE, "entries.0.defect_type", name)
        nobodys = asked(owned.stranger, name.replace("mine", "none"), image=mine, mask=mine)
        assert theirs.text.replace("mine", "none") == nobodys.text
    owned.api.storage.delete_prefix("acme/uploads/")


def check_training(owned: Owned) -> None:
    """Uploads and versions of another tenant cannot be taught from."""

    def asked(client: httpx.Client, image: str) -> httpx.Response:
        pair = {"image": image, "mask": owned.mask_id}
        body = {"name": "pitting", "samples": [pair], "dry_run": True}
        return client.post("/v1/defect-types", json=body)

    assert asked(owned.api.client, owned.ids["upload_id"]).status_code == 200
    theirs = asked(owned.stranger, owned.ids["upload_id"])
    assert_problem(theirs, problems.UNKNOWN_UPLOAD, "samples.0.image", owned.ids["upload_id"])
    nobodys = asked(owned.stranger, UNKNOWN["upload_id"])
    assert theirs.text.replace(owned.ids["upload_id"], UNKNOWN["upload_id"]) == nobodys.text

    def lent(client: httpx.Client, of: str) -> httpx.Response:
        return client.post("/v1/defect-types", json={"name": "pitting", "samples_of": of})

    assert_problem(lent(owned.api.client, "mine@1"), problems.INVALID_SAMPLES, "samples_of")
    theirs = lent(owned.stranger, "mine@1")
    assert_problem(theirs, problems.UNKNOWN_DEFECT_TYPE, "samples_of", "mine@1")
    assert theirs.text.replace("mine", "none") == lent(owned.stranger, "none@1").text


def check_evaluation(owned: Owned) -> None:
    """Versions of another tenant cannot be evaluated."""

    def asked(client: httpx.Client, of: str) -> httpx.Response:
        return client.post("/v1/evaluations", files={"hold_out": IMAGE}, data={"defect_type": of})

    assert_problem(asked(owned.api.client, "mine@1"), problems.INVALID_SAMPLES, "defect_type")
    theirs = asked(owned.stranger, "mine@1")
    assert_problem(theirs, problems.UNKNOWN_DEFECT_TYPE, "defect_type", "mine@1")
    assert theirs.text.replace("mine", "none") == asked(owned.stranger, "none@1").text


def test_a_version_that_is_imported_is_no_other_tenants(owned: Owned) -> None:
    path = "/v1/defect-types/mine/versions/1/bundle"
    before = owned.api.client.get(path).content
    other = made.bundle(lambda manifest, files: manifest.update(description="theirs"))
    answer = owned.stranger.put(path, content=other, headers={"Content-Type": "application/zip"})

    assert answer.status_code == 201, "whether the number is taken depends on their own versions alone"
    assert owned.stranger.get("/v1/defect-types/mine").json()["description"] == "theirs"
    assert owned.api.client.get(path).content == before
    owned.api.storage.delete_prefix("acme/defect-types/")


def check_list(path: str, mine: str) -> Callable[[Owned], None]:
    def check(owned: Owned) -> None:
        assert owned.ids[mine] in owned.api.client.get(path).text
        seen = owned.stranger.get(path)
        assert seen.status_code == 200
        assert owned.ids[mine] not in seen.text

    return check


def check_metrics(owned: Owned) -> None:
    """Totals of all, for operators alone, and no tenant, job or type is named in them."""
    time.sleep(1.5)
    text = owned.stranger.get("/metrics").text
    assert 'route="/v1/jobs/{job_id}"' in text
    assert not [word for word in (DEFAULT_TENANT, "acme", owned.ids["job_id"], "mine") if f'"{word}"' in text]
    with owned.api.client_for("acme", Scope.READ, Scope.GENERATE) as user:
        assert_problem(user.get("/metrics"), problems.FORBIDDEN, None, "admin")


def check_nothing(owned: Owned) -> None:
    """Says nothing of any tenant."""


CHECKS: dict[str, Callable[[Owned], None]] = {
    "createUpload": check_upload,
    "createAugmentation": check_augmentation,
    "createDataset": check_dataset,
    "createDefectType": check_training,
    "createEvaluation": check_evaluation,
    "listJobs": check_list("/v1/jobs", "job_id"),
    "listDefectTypes": check_list("/v1/defect-types", "name"),
    "getHealth": check_nothing,
    "getReadiness": check_nothing,
    "getMetrics": check_metrics,
}
"""A new operation without parameters in its path fails the test below until it is told here what to check."""


@pytest.mark.parametrize("operation", [operation for _, _, operation in operations(with_parameters=False)])
def test_an_operation_without_an_id_shows_nothing_of_another_tenant(owned: Owned, operation: str) -> None:
    CHECKS[operation](owned)


def test_a_cursor_of_another_tenant_shows_nothing_of_its_jobs(owned: Owned) -> None:
    accepted(owned.api)
    cursor = owned.api.client.get("/v1/jobs", params={"limit": 1}).json()["next_cursor"]

    assert owned.stranger.get("/v1/jobs", params={"cursor": cursor}).json() == {"jobs": [], "next_cursor": None}


def test_everyone_draws_with_what_comes_with_flawsmith(owned: Owned) -> None:
    assert owned.stranger.get("/v1/defect-types/scratch").json()["builtin"] is True


def test_jobs_of_two_tenants_stay_apart(owned: Owned) -> None:
    files: Any = {"image": IMAGE, "mask": MASK}
    with owned.api.client_for("beta", Scope.READ, Scope.GENERATE) as beta:
        mine = owned.stranger.post("/v1/augmentations", files=files, data={"defect_type": "scratch"}).json()["id"]
        theirs = beta.post("/v1/augmentations", files=files, data={"defect_type": "scratch"}).json()["id"]
        for client, own, other in ((owned.stranger, mine, theirs), (beta, theirs, mine)):
            assert client.get(f"/v1/jobs/{own}").status_code == 200
            assert client.get(f"/v1/jobs/{other}").status_code == 404
            assert [job["id"] for job in client.get("/v1/jobs").json()["jobs"]] == [own]
            assert client.post(f"/v1/jobs/{other}/cancel").status_code == 404
        assert beta.get(f"/v1/jobs/{theirs}").json()["status"] == "queued"
        assert beta.post(f"/v1/jobs/{theirs}/cancel").json()["status"] == "canceled"
        assert owned.stranger.get(f"/v1/jobs/{mine}").json()["status"] == "queued"
