"""Files over HTTP: whole and in part, conditions, digests, and bodies that break off."""

from __future__ import annotations

import base64
import hashlib

import httpx
import pytest

from flawsmith.contract import problems
from service.store import keys
from service.store.folder import FolderStorage
from tests.service.conftest import ON_BOTH, Api
from tests.service.pictures import encoded, mask, part
from tests.service.test_api_jobs import IMAGE, PREVIEW, REFINED, accepted, finish
from tests.service.test_api_refusals import assert_problem

pytestmark = ON_BOTH

FILES = {
    "input": encoded(part()),
    "mask": encoded(mask()),
    "items/1/image": IMAGE,
    "items/1/mask": REFINED,
    "items/1/preview": PREVIEW,
}


@pytest.fixture
def job_id(api: Api) -> str:
    """A finished job of two items."""
    job_id = accepted(api)
    finish(api, job_id)
    return job_id


@pytest.fixture
def url(job_id: str) -> str:
    """The path of an image of `IMAGE`'s bytes."""
    return f"/v1/jobs/{job_id}/items/0/image"


@pytest.mark.parametrize("path", FILES)
def test_a_file_is_served_with_its_digest(api: Api, job_id: str, path: str) -> None:
    answer = api.client.get(f"/v1/jobs/{job_id}/{path}")

    digest = hashlib.sha256(FILES[path])
    assert answer.content == FILES[path]
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-length"] == str(len(FILES[path]))
    assert answer.headers["etag"] == f'"{digest.hexdigest()}"'
    assert answer.headers["repr-digest"] == f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["cache-control"].startswith("private,")
    assert answer.headers["vary"] == "Authorization"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("input", "input.png"),
        ("mask", "mask.png"),
        ("items/1/image", "item-01.png"),
        ("items/1/mask", "item-01-mask.png"),
        ("items/1/preview", "item-01-preview.png"),
    ],
)
def test_a_file_says_what_it_is_called(api: Api, job_id: str, path: str, name: str) -> None:
    answer = api.client.get(f"/v1/jobs/{job_id}/{path}")

    assert answer.headers["content-disposition"] == f'inline; filename="{job_id}-{name}"'


def test_the_job_names_the_digests_of_its_inputs(api: Api, job_id: str) -> None:
    job = api.client.get(f"/v1/jobs/{job_id}").json()

    assert job["input_sha256"] == hashlib.sha256(FILES["input"]).hexdigest()
    assert job["mask_sha256"] == hashlib.sha256(FILES["mask"]).hexdigest()


def test_an_accepted_request_keeps_the_digests_of_its_inputs(api: Api) -> None:
    files = {"image": encoded(part()), "mask": encoded(mask())}
    job = api.client.post("/v1/augmentations", files=files, data={"defect_type": "scratch"}).json()

    for name in ("input", "mask"):
        answer = api.client.get(f"/v1/jobs/{job['id']}/{name}")
        assert answer.headers["etag"] == f'"{job[f"{name}_sha256"]}"'
        assert hashlib.sha256(answer.content).hexdigest() == job[f"{name}_sha256"]


def test_jobs_from_before_digests_have_files_all_the_same(api: Api) -> None:
    job_id = accepted(api, digests=False)

    etags = set()
    for name in ("input", "mask"):
        answer = api.client.get(f"/v1/jobs/{job_id}/{name}")
        assert answer.content == FILES[name]
        assert "repr-digest" not in answer.headers
        etags.add(answer.headers["etag"])
    assert len(etags) == 2


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=300000-699999", 300_000, 700_000),
        ("bytes=799999-", 799_999, 800_000),
        ("bytes=-5", 799_995, 800_000),
        ("bytes=100-9999999", 100, 800_000),
    ],
)
def test_a_part_is_sent_where_one_is_asked_for(api: Api, url: str, wanted: str, start: int, stop: int) -> None:
    answer = api.client.get(url, headers={"Range": wanted})

    assert answer.status_code == 206
    assert answer.content == IMAGE[start:stop]
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(IMAGE)}"
    assert answer.headers["content-length"] == str(stop - start)


@pytest.mark.parametrize("wanted", ["bytes=0-1,5-6", "bytes=9-1", "lines=0-1", "nonsense"])
def test_ranges_that_are_not_offered_give_the_whole_file(api: Api, url: str, wanted: str) -> None:
    answer = api.client.get(url, headers={"Range": wanted})

    assert (answer.status_code, answer.content) == (200, IMAGE)


def test_a_range_beyond_the_end_is_refused_with_the_size(api: Api, url: str) -> None:
    answer = api.client.get(url, headers={"Range": "bytes=800000-"})

    assert_problem(answer, problems.RANGE_NOT_SATISFIABLE, None, "800000 bytes")
    assert answer.headers["content-range"] == "bytes */800000"


def test_a_part_is_only_sent_of_the_file_that_the_client_knows(api: Api, url: str) -> None:
    etag = api.client.get(url).headers["etag"]

    def status(known: str) -> int:
        return api.client.get(url, headers={"Range": "bytes=0-9", "If-Range": known}).status_code

    assert status(etag) == 206
    assert status('"other"') == 200
    assert status(f"W/{etag}") == 200
    assert status("Wed, 21 Oct 2026 07:28:00 GMT") == 200


@pytest.mark.parametrize("path", FILES)
def test_what_the_client_has_is_not_sent_again(api: Api, job_id: str, path: str) -> None:
    url = f"/v1/jobs/{job_id}/{path}"
    etag = api.client.get(url).headers["etag"]

    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        answer = api.client.get(url, headers={"If-None-Match": known, "Range": "bytes=0-1"})
        assert (answer.status_code, answer.headers["etag"]) == (304, etag)
    assert api.client.get(url, headers={"If-None-Match": '"other"'}).status_code == 200


def test_another_file_than_the_client_wants_is_not_sent(api: Api, url: str) -> None:
    etag = api.client.get(url).headers["etag"]

    for known in (etag, f'"other", {etag}', "*"):
        assert api.client.get(url, headers={"If-Match": known}).status_code == 200
    for known in ('"other"', f"W/{etag}"):
        answer = api.client.get(url, headers={"If-Match": known})
        assert_problem(answer, problems.PRECONDITION_FAILED, None, etag)


@pytest.mark.parametrize("path", FILES)
def test_head_is_get_without_the_body(api: Api, job_id: str, path: str) -> None:
    url = f"{api.address}/v1/jobs/{job_id}/{path}"

    answers = httpx.head(url, headers={"Range": "bytes=0-1"}), httpx.get(url)

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].content == b""
    for answer in answers:
        for name in ("date", "x-request-id"):
            del answer.headers[name]
    assert answers[0].headers == answers[1].headers


def test_a_file_that_vanished_from_storage_is_not_found(api: Api, job_id: str) -> None:
    api.storage.delete(keys.job_input("default", job_id))

    assert_problem(api.client.get(f"/v1/jobs/{job_id}/input"), problems.NOT_FOUND, None, "gone")


def test_a_body_that_storage_cannot_complete_breaks_off(api: Api) -> None:
    if not isinstance(api.storage, FolderStorage):
        pytest.skip("cuts the file short behind the service's back")
    job_id = accepted(api)
    key = keys.job_input("default", job_id)
    size = 32 << 20  # more than fits between server and client
    api.storage.put(key, bytes(size))

    with httpx.stream("GET", f"{api.address}/v1/jobs/{job_id}/input") as answer:
        chunks = answer.iter_bytes(1000)
        next(chunks)
        with (api.storage.root / key).open("r+b") as file:
            file.truncate(1000)
        assert answer.headers["content-length"] == str(size)
        with pytest.raises(httpx.RemoteProtocolError, match="complete message body"):
            for _ in chunks:
                pass
    assert api.client.get("/healthz").status_code == 200
