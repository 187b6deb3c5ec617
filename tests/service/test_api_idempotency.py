"""``Idempotency-Key``: the same request sent again is done once and answered the same."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from flawsmith.contract import problems
from service.store import keys
from service.store.idempotency import Reservation, Reservations
from service.store.jobs import Jobs
from service.store.registry import Registry
from service.store.storage import StorageUnavailableError
from tests.service.conftest import SCRATCH, Api
from tests.service.pictures import encoded, mask, part
from tests.service.test_api_augmentations import FILES
from tests.service.test_api_jobs import accepted, finish
from tests.service.test_api_refusals import assert_problem

FORM = {"defect_type": "scratch", "count": "2"}


@pytest.fixture
def key() -> str:
    return str(uuid.uuid4())


def post(api: Api, key: str, form: dict[str, str] | None = None) -> httpx.Response:
    return api.client.post("/v1/augmentations", files=FILES, data=form or FORM, headers={"Idempotency-Key": key})


def jobs_of(api: Api) -> list[str]:
    return [job["id"] for job in api.client.get("/v1/jobs", params={"limit": 100}).json()["jobs"]]


def test_a_job_that_is_asked_for_twice_is_made_once(api: Api, key: str) -> None:
    first, second = post(api, key), post(api, key)

    assert first.status_code == second.status_code == 202
    assert second.content == first.content  # the drawn seed too
    assert second.headers["location"] == first.headers["location"]
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert jobs_of(api) == [first.json()["id"]]


def test_the_answer_stays_the_same_while_the_job_goes_on(api: Api, key: str) -> None:
    first = post(api, key)
    finish(api, first.json()["id"])
    assert post(api, key).content == first.content
    api.client.delete(first.headers["location"])
    assert post(api, key).content == first.content
    assert jobs_of(api) == []


def test_of_many_at_once_one_is_done(api: Api, key: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: post(api, key), range(6)))
    assert {answer.status_code for answer in answers} <= {202, 409}
    for answer in answers:
        if answer.status_code == 409:
            assert_problem(answer, problems.IDEMPOTENCY_IN_PROGRESS, "Idempotency-Key", "again")
            assert answer.headers["retry-after"] == "1"
    assert len(jobs_of(api)) == 1


@pytest.mark.parametrize("path", ["/v1/augmentations", "/v1/datasets", "/v1/defect-types"])
def test_a_request_is_answered_the_same_though_what_it_names_is_gone(api: Api, key: str, path: str) -> None:
    ours = SCRATCH.model_copy(update={"tenant": "default", "name": "ours"})
    Registry(api.storage).publish(ours)
    image, marked = (
        str(api.client.post("/v1/uploads", files={"file": encoded(one)}).json()["id"])
        for one in (part(46, 35), mask(46, 35))
    )
    body: dict[str, Any] = {
        "/v1/augmentations": {"image": image, "mask": marked, "defect_type": "ours"},
        "/v1/datasets": {
            "normals": [{"image": image, "mask": marked}],
            "entries": [{"defect_type": "ours", "count": 1, "masks": "given"}],
        },
        "/v1/defect-types": {"name": "pit", "samples": [{"image": image, "mask": marked}]},
    }[path]
    headers = {"Idempotency-Key": key}
    first = api.client.post(path, json=body, headers=headers)
    assert first.status_code == 202
    Registry(api.storage).delete("default", "ours", 1)
    for upload_id in (image, marked):
        api.storage.delete_prefix(keys.upload_prefix("default", upload_id))
    again = api.client.post(path, json=body, headers=headers)
    assert (again.status_code, again.content) == (202, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    other = api.client.post(path, json=body | {"seed": 5}, headers=headers)
    assert_problem(other, problems.IDEMPOTENCY_MISMATCH, "Idempotency-Key")
    assert api.client.post(path, json=body, headers={"Idempotency-Key": key + "-new"}).status_code == 422
    assert jobs_of(api) == [first.json()["id"]]


def test_another_request_under_the_key_is_refused(api: Api, key: str) -> None:
    post(api, key)
    assert_problem(post(api, key, FORM | {"count": "3"}), problems.IDEMPOTENCY_MISMATCH, "Idempotency-Key")
    other = {**FILES, "mask": ("mask.png", encoded(mask(value=200)))}
    answer = api.client.post("/v1/augmentations", files=other, data=FORM, headers={"Idempotency-Key": key})
    assert_problem(answer, problems.IDEMPOTENCY_MISMATCH, "Idempotency-Key")
    assert len(jobs_of(api)) == 1


def test_a_request_that_was_refused_leaves_its_key_free(api: Api, key: str) -> None:
    black = {**FILES, "mask": ("mask.png", encoded(mask(value=0)))}
    headers = {"Idempotency-Key": key}
    assert api.client.post("/v1/augmentations", files=black, data=FORM, headers=headers).status_code == 422
    assert post(api, key).status_code == 202


def test_an_acceptance_that_failed_leaves_its_key_free(
    api: Api, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        def fail(*arguments: Any, **more: Any) -> None:
            raise StorageUnavailableError("full")

        patch.setattr(Jobs, "accept", fail)
        assert post(api, key).status_code == 503
    assert post(api, key).status_code == 202


def test_an_acceptance_whose_request_was_taken_back_is_done_anew(api: Api, key: str) -> None:
    first = post(api, key)
    api.storage.delete(keys.job_request("default", first.json()["id"]))  # as after an outage of the queue
    second = post(api, key)
    assert second.status_code == 202
    assert second.json()["id"] != first.json()["id"]


def test_uploads_cancellations_and_dry_runs_take_keys_too(api: Api, key: str) -> None:
    image = encoded(part(40, 30))
    headers = {"Idempotency-Key": key}
    answers = [
        api.client.post("/v1/uploads", files={"file": ("part.png", image)}, headers=headers) for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].content == answers[1].content

    job_id = accepted(api)
    cancel = [
        api.client.post(f"/v1/jobs/{job_id}/cancel", headers={"Idempotency-Key": key + "-c"}) for _ in range(2)
    ]
    assert cancel[0].content == cancel[1].content
    assert cancel[1].headers["idempotency-replayed"] == "true"
    assert_problem(
        api.client.post(f"/v1/jobs/{accepted(api)}/cancel", headers={"Idempotency-Key": key + "-c"}),
        problems.IDEMPOTENCY_MISMATCH,
        "Idempotency-Key",
    )

    dry = [post(api, key + "-d", FORM | {"dry_run": "true"}) for _ in range(2)]
    assert dry[0].status_code == 200
    assert dry[0].content == dry[1].content


@pytest.mark.parametrize("bad", ["", "a b", "ä", "k" * 256])
def test_what_is_no_key_is_refused(api: Api, bad: str) -> None:
    answer = api.client.post(
        "/v1/augmentations", files=FILES, data=FORM, headers=[("Idempotency-Key", bad.encode("latin-1"))]
    )
    assert_problem(answer, problems.INVALID_REQUEST, "Idempotency-Key", "UUID")
    assert jobs_of(api) == []


def test_a_long_request_keeps_its_key_alive(api: Api, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.idempotency.LEASE_S", 0.3)
    monkeypatch.setattr("service.store.idempotency._LEASE_MS", 300)
    begun, go_on = threading.Event(), threading.Event()
    accept = Jobs.accept

    def slowly(self: Jobs, *arguments: Any, **more: Any) -> Any:
        begun.set()
        go_on.wait(10)
        return accept(self, *arguments, **more)

    monkeypatch.setattr(Jobs, "accept", slowly)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, api, key)
        assert begun.wait(10)
        threading.Event().wait(1.0)  # more than three leases
        assert post(api, key).status_code == 409
        go_on.set()
        assert first.result().status_code == 202
    assert post(api, key).content == first.result().content


def test_who_lost_its_key_to_another_says_so(api: Api, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.store.idempotency._LEASE_MS", 0)
    accept = Jobs.accept

    def overtaken(self: Jobs, manifest: Any, *arguments: Any, **more: Any) -> Any:
        record = manifest.idempotency
        heir = Reservations(api.redis).reserve("default", record.key_sha256, record.payload_sha256)
        assert isinstance(heir, Reservation)
        return accept(self, manifest, *arguments, **more)

    monkeypatch.setattr(Jobs, "accept", overtaken)
    assert_problem(post(api, key), problems.IDEMPOTENCY_IN_PROGRESS, "Idempotency-Key")
    assert jobs_of(api) == []
