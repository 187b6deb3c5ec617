"""``/v1/jobs/{id}/archive``: all results of a job as one ZIP."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import UTC, datetime

import httpx
import pytest

from flawsmith.contract import problems
from flawsmith.contract.jobs import Item
from service.store import keys
from service.store.folder import FolderStorage
from tests.service.conftest import ON_BOTH, Api
from tests.service.pictures import encoded, mask, part
from tests.service.test_api_jobs import IMAGE, PREVIEW, REFINED, accepted, finish
from tests.service.test_api_refusals import assert_problem

pytestmark = ON_BOTH


def test_an_archive_holds_the_job_and_what_succeeded(api: Api) -> None:
    job_id = accepted(api, count=3)
    finish(api, job_id, failed=1)

    answer = api.client.get(f"/v1/jobs/{job_id}/archive")

    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == f'attachment; filename="{job_id}.zip"'
    assert answer.headers["content-length"] == str(len(answer.content))
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        contents = {name: archive.read(name) for name in archive.namelist()}
        kinds = {entry.compress_type for entry in archive.infolist()}
    assert json.loads(contents.pop("job.json")) == api.client.get(f"/v1/jobs/{job_id}").json()
    assert contents == {
        "input.png": encoded(part()),
        "mask.png": encoded(mask()),
        "images/item-00.png": IMAGE,
        "masks/item-00-mask.png": REFINED,
        "previews/item-00-preview.png": PREVIEW,
        "images/item-02.png": IMAGE,
        "masks/item-02-mask.png": REFINED,
        "previews/item-02-preview.png": PREVIEW,
    }
    assert kinds == {zipfile.ZIP_STORED}


def test_the_archive_of_a_tiff_holds_tiffs(api: Api) -> None:
    job_id = accepted(api, count=1, tiff=True)
    finish(api, job_id)

    with zipfile.ZipFile(io.BytesIO(api.client.get(f"/v1/jobs/{job_id}/archive").content)) as archive:
        assert "images/item-00.tif" in archive.namelist()
        assert "masks/item-00-mask.png" in archive.namelist()


def test_the_same_job_gives_the_same_bytes_at_any_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = accepted(api)
    finish(api, job_id)
    first = api.client.get(f"/v1/jobs/{job_id}/archive")
    api.redis.flushall()  # from storage now
    monkeypatch.setattr("time.localtime", lambda *_: (2031, 5, 6, 7, 8, 9, 0, 0, 0))

    second = api.client.get(f"/v1/jobs/{job_id}/archive")

    assert second.content == first.content
    assert second.headers["etag"] == first.headers["etag"]
    finished = datetime.fromisoformat(json.loads(_member(second.content, "job.json"))["finished_at"])
    with zipfile.ZipFile(io.BytesIO(second.content)) as archive:
        for entry in archive.infolist():
            written = datetime(*entry.date_time, tzinfo=UTC)
            assert 0 <= (finished - written).total_seconds() < 2
            date_in_local_header = second.content[entry.header_offset + 10 : entry.header_offset + 14]
            assert date_in_local_header == first.content[10:14]


def test_archives_of_different_jobs_are_told_apart(api: Api) -> None:
    jobs = [accepted(api, count=1) for _ in range(2)]
    for job_id in jobs:
        finish(api, job_id)

    etags = {api.client.get(f"/v1/jobs/{job_id}/archive").headers["etag"] for job_id in jobs}

    assert len(etags) == 2


def test_an_archive_that_the_client_has_is_not_made_again(api: Api) -> None:
    job_id = accepted(api)
    finish(api, job_id)
    etag = api.client.get(f"/v1/jobs/{job_id}/archive").headers["etag"]

    assert api.client.get(f"/v1/jobs/{job_id}/archive", headers={"If-None-Match": etag}).status_code == 304
    whole = api.client.get(f"/v1/jobs/{job_id}/archive", headers={"Range": "bytes=0-9"})
    assert (whole.status_code, whole.headers["accept-ranges"]) == (200, "none")
    head = httpx.head(f"{api.address}/v1/jobs/{job_id}/archive")
    assert head.headers["content-length"] == str(len(whole.content))


def test_a_job_that_is_not_final_has_no_archive(api: Api) -> None:
    job_id = accepted(api)

    answer = api.client.get(f"/v1/jobs/{job_id}/archive")

    assert_problem(answer, problems.NOT_FINISHED, None, "is queued")


def test_a_canceled_job_has_an_archive_of_its_inputs(api: Api) -> None:
    job_id = accepted(api)
    api.client.post(f"/v1/jobs/{job_id}/cancel")

    with zipfile.ZipFile(io.BytesIO(api.client.get(f"/v1/jobs/{job_id}/archive").content)) as archive:
        assert sorted(archive.namelist()) == ["input.png", "job.json", "mask.png"]


def test_an_archive_with_a_file_gone_is_not_begun(api: Api) -> None:
    job_id = accepted(api)
    finish(api, job_id)
    api.storage.delete(keys.item_mask("default", job_id, items_of(api, job_id)[1]))

    assert_problem(api.client.get(f"/v1/jobs/{job_id}/archive"), problems.NOT_FOUND, None, "gone")


def test_an_archive_that_storage_cannot_complete_breaks_off(api: Api) -> None:
    if not isinstance(api.storage, FolderStorage):
        pytest.skip("removes a file behind the service's back")
    job_id = accepted(api)
    finish(api, job_id)
    items = items_of(api, job_id)
    api.storage.put(keys.job_input("default", job_id), bytes(32 << 20))  # more than fits between server and client

    with httpx.stream("GET", f"{api.address}/v1/jobs/{job_id}/archive") as answer:
        chunks = answer.iter_bytes(1000)
        next(chunks)
        api.storage.delete(keys.item_mask("default", job_id, items[1]))
        with pytest.raises(httpx.RemoteProtocolError, match="complete message body"):
            for _ in chunks:
                pass


def items_of(api: Api, job_id: str) -> list[Item]:
    job = api.jobs.get("default", job_id)
    assert job is not None
    return job.items


def _member(archive: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return opened.read(name)
