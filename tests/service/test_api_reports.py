"""``/v1/jobs/{id}/report``: what data sets came to, as a page and as JSON."""

from __future__ import annotations

import io
import zipfile

import httpx
import pytest

from flawsmith.contract import problems
from flawsmith.contract.reports import DatasetReport
from service.store import keys
from tests.service.conftest import Api
from tests.service.exports import made
from tests.service.test_api_jobs import accepted, finish
from tests.service.test_api_refusals import assert_problem


@pytest.fixture
def job_id(api: Api) -> str:
    return made.keep(api.storage, made.zoo()).job_id


@pytest.mark.parametrize(
    ("query", "accept", "media_type"),
    [
        ("", "*/*", "application/json"),
        ("", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html; charset=utf-8"),
        ("", "text/html;q=0.5, application/json", "application/json"),
        ("?format=html", "application/json", "text/html; charset=utf-8"),
        ("?format=json", "text/html", "application/json"),
    ],
)
def test_a_report_comes_as_it_is_asked_for(
    api: Api, job_id: str, query: str, accept: str, media_type: str
) -> None:
    answer = api.client.get(f"/v1/jobs/{job_id}/report{query}", headers={"Accept": accept})

    assert answer.headers["content-type"] == media_type
    assert "Accept" in answer.headers["vary"]
    if media_type == "application/json":
        assert DatasetReport.model_validate_json(answer.content).counts.planned == 18
    else:
        assert answer.text.startswith("<!doctype html>")
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_both_forms_are_in_the_archive_as_they_are_here(api: Api, job_id: str) -> None:
    with zipfile.ZipFile(io.BytesIO(api.client.get(f"/v1/jobs/{job_id}/archive?format=coco").content)) as archive:
        for form in ("html", "json"):
            answer = api.client.get(f"/v1/jobs/{job_id}/report?format={form}")
            assert archive.read(f"report.{form}") == answer.content
            assert answer.headers["repr-digest"].startswith("sha-256=:")


def test_a_report_that_a_client_has_is_not_made_again(api: Api, job_id: str) -> None:
    url = f"/v1/jobs/{job_id}/report"
    tag = api.client.get(f"{url}?format=html").headers["etag"]
    api.storage.delete_prefix(keys.job_file("default", job_id, "plan/"))  # whoever makes it needs these

    assert api.client.get(f"{url}?format=html", headers={"If-None-Match": tag}).status_code == 304
    assert httpx.head(f"{api.address}{url}?format=html").headers["etag"] == tag
    assert_problem(api.client.get(f"{url}?format=json", headers={"If-None-Match": tag}), problems.NOT_FOUND, None)


def test_what_has_no_report_says_so(api: Api) -> None:
    augmentation = accepted(api)
    finish(api, augmentation)
    running = made.keep(api.storage, made.zoo(), status=None).job_id

    assert_problem(api.client.get(f"/v1/jobs/{augmentation}/report"), problems.NOT_FOUND, None, "no data set")
    assert_problem(api.client.get(f"/v1/jobs/{running}/report"), problems.NOT_FINISHED, None)
    assert_problem(
        api.client.get(f"/v1/jobs/{running}/report?format=pdf"), problems.INVALID_REQUEST, "format", "html", "json"
    )
