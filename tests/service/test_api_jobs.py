"""``/v1/jobs`` and the files of their items."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest

from flawsmith.contract import problems
from flawsmith.contract.base import now
from flawsmith.contract.files import INPUT_FILE, MASK_FILE, defect_mask_file
from flawsmith.contract.ids import new_job_id
from flawsmith.contract.jobs import Failure, Item, ItemDefect, ItemStatus, Measures, Scores
from flawsmith.contract.manifests import AUGMENTATION_FORMAT, AugmentationManifest
from flawsmith.contract.resolved import ResolvedAugmentation, ResolvedDefect
from flawsmith.contract.uploads import ImageInfo
from service.store import keys
from tests.service.conftest import SCRATCH, Api
from tests.service.pictures import encoded, mask, part
from tests.service.test_api_refusals import assert_problem

IMAGE, REFINED, PREVIEW = b"an image" * 100_000, b"a mask", b"a preview"


def manifest(
    job_id: str, count: int = 2, tiff: bool = False, types: Sequence[str] = ("scratch",)
) -> AugmentationManifest:
    """What was asked for."""
    return AugmentationManifest(
        format_version=AUGMENTATION_FORMAT,
        tenant="default",
        job_id=job_id,
        created_at=now(),
        augmentation=ResolvedAugmentation(
            defects=[
                ResolvedDefect(
                    defect_type=name,
                    defect_type_version=1,
                    defect_type_tenant=SCRATCH.tenant,
                    **SCRATCH.defaults.model_dump(),
                )
                for name in types
            ],
            count=count,
            seed=7,
        ),
        image=ImageInfo(
            width=64,
            height=48,
            mode="rgb",
            bit_depth=8,
            source_format="tiff" if tiff else "png",
            lossy=False,
            pixels_sha256=64 * "2",
        ),
        shard_size=4,
    )


def accepted(
    api: Api, count: int = 2, tiff: bool = False, digests: bool = True, types: Sequence[str] = ("scratch",)
) -> str:
    """A queued job; without ``digests`` of its inputs as earlier versions made them."""
    job_id = new_job_id()
    image_png, mask_png = encoded(part()), encoded(mask())
    asked = manifest(job_id, count, tiff, types)
    if digests:
        asked.input_sha256 = hashlib.sha256(image_png).hexdigest()
        asked.mask_sha256 = hashlib.sha256(mask_png).hexdigest()
    files = {INPUT_FILE: image_png, MASK_FILE: mask_png}
    if len(types) > 1:
        files |= {defect_mask_file(number): mask_png for number in range(len(types))}
    api.jobs.accept(asked, files)
    return job_id


def label_of(defect: int) -> bytes:
    """The label of one of an item's several defects."""
    return b"the label of defect %d" % defect


def finish(api: Api, job_id: str, failed: int | None = None, request: bytes | None = None) -> None:
    """Do a worker's part of a job of one shard; ``request`` is the mask that each item drew, if it drew one."""
    manifest = api.jobs.manifest("default", job_id)
    image, defects = manifest.image, manifest.augmentation.defects
    for index in api.jobs.begin_shard("default", job_id, 0).pending:
        item = Item(index=index, seed=7, status=ItemStatus.SUCCEEDED, accepted=True, attempts=1, fingerprint="cpu")
        item.image_sha256 = hashlib.sha256(IMAGE).hexdigest()
        item.mask_sha256 = hashlib.sha256(REFINED).hexdigest()
        item.preview_sha256 = hashlib.sha256(PREVIEW).hexdigest()
        item.request_sha256 = hashlib.sha256(request).hexdigest() if request else None
        item.scores = Scores(
            presence=0.9, seam=0.8, grain=0.7, coverage=0.6, quality=0.6, background_max_abs_diff=0
        )
        item.measures = Measures(regions=[], soft_edge_px=2.0, pixels_per_model_pixel=1.0)
        if len(defects) > 1:
            item.defects = [
                ItemDefect(
                    index=number,
                    defect_type=defect.reference,
                    accepted=True,
                    attempts=1,
                    mask_sha256=hashlib.sha256(label_of(number)).hexdigest(),
                    scores=item.scores,
                )
                for number, defect in enumerate(defects)
            ]
        if index == failed:
            item = Item(index=index, seed=7, status=ItemStatus.FAILED, error=Failure(code="x", detail="no memory"))
        else:
            api.storage.put(keys.item_image("default", job_id, item, image), IMAGE)
            api.storage.put(keys.item_mask("default", job_id, item), REFINED)
            api.storage.put(keys.item_preview("default", job_id, item), PREVIEW)
            if request:
                api.storage.put(keys.item_request("default", job_id, item), request)
            for defect in item.defects or ():
                key = keys.item_defect_mask("default", job_id, item, defect)
                api.storage.put(key, label_of(defect.index))
        api.jobs.finish_item("default", job_id, item)
    api.jobs.finish_shard("default", job_id, 0)


def test_jobs_are_listed_page_by_page_newest_first(api: Api) -> None:
    ids = [accepted(api) for _ in range(5)]

    seen = []
    cursor = None
    while True:
        page = api.client.get("/v1/jobs", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen += [job["id"] for job in page["jobs"]]
        assert all(job["items"] == [] for job in page["jobs"])
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert seen == ids[::-1]


def test_jobs_are_listed_by_status(api: Api) -> None:
    queued, done = accepted(api), accepted(api)
    finish(api, done)

    def ids(status: str) -> list[str]:
        return [job["id"] for job in api.client.get("/v1/jobs", params={"status": status}).json()["jobs"]]

    assert (ids("queued"), ids("succeeded"), ids("failed")) == ([queued], [done], [])


@pytest.mark.parametrize(
    ("query", "at", "words"),
    [
        ("limit=0", "limit", "between 1 and 100"),
        ("limit=101", "limit", "between 1 and 100"),
        ("limit=ten", "limit", "whole number"),
        ("limit=1&limit=2", "limit", "send it once"),
        ("status=done", "status", "one of queued, running, succeeded, failed, canceled"),
        ("cursor=nonsense", "cursor", "next_cursor"),
        ("cursor=", "cursor", "next_cursor"),
        ("state=queued", "state", "did you mean status?"),
    ],
)
def test_a_bad_query_is_refused(api: Api, query: str, at: str, words: str) -> None:
    assert_problem(api.client.get(f"/v1/jobs?{query}"), problems.INVALID_REQUEST, at, words)


def test_a_query_without_meaning_is_refused(api: Api) -> None:
    job_id = accepted(api)

    for method, path in (
        ("GET", f"/v1/jobs/{job_id}/input"),
        ("POST", f"/v1/jobs/{job_id}/cancel"),
        ("POST", "/v1/augmentations"),
        ("GET", "/v1/defect-types"),
    ):
        answer = api.client.request(method, path, params={"dry_run": "true"})
        assert_problem(answer, problems.INVALID_REQUEST, "dry_run", "leave out")
    assert api.client.get(f"/v1/jobs/{job_id}").json()["status"] == "queued"


def test_a_finished_job_shows_its_items_with_their_addresses(api: Api) -> None:
    job_id = accepted(api)
    finish(api, job_id, failed=1)

    job = api.client.get(f"/v1/jobs/{job_id}").json()

    assert job["status"] == "succeeded"
    assert job["counts"] == {"succeeded": 1, "failed": 1, "canceled": 0, "rejected": 0}
    assert job["items"][0]["image_url"] == f"/v1/jobs/{job_id}/items/0/image"
    assert job["items"][1]["image_url"] is None
    assert job["items"][1]["error"]["detail"] == "no memory"


def test_an_item_of_a_tiff_is_a_tiff(api: Api) -> None:
    job_id = accepted(api, tiff=True)
    finish(api, job_id)

    assert api.client.get(f"/v1/jobs/{job_id}/items/0/image").headers["content-type"] == "image/tiff"
    assert api.client.get(f"/v1/jobs/{job_id}/items/0/mask").headers["content-type"] == "image/png"


def test_an_item_without_files_says_why(api: Api) -> None:
    job_id = accepted(api)
    pending = api.client.get(f"/v1/jobs/{job_id}/items/0/image")
    finish(api, job_id, failed=0)
    failed = api.client.get(f"/v1/jobs/{job_id}/items/0/image")

    assert_problem(pending, problems.ITEM_NOT_READY, None, "not drawn yet")
    assert_problem(failed, problems.ITEM_NOT_READY, None, "no memory")


def test_an_item_beyond_the_last_is_not_found(api: Api) -> None:
    job_id = accepted(api)

    assert_problem(api.client.get(f"/v1/jobs/{job_id}/items/2/mask"), problems.NOT_FOUND, None, "from 0 to 1")
    for index in ("-1", "one", "9" * 30):
        assert_problem(api.client.get(f"/v1/jobs/{job_id}/items/{index}/mask"), problems.NOT_FOUND, None)


def test_a_queued_job_is_canceled_at_once(api: Api) -> None:
    job_id = accepted(api)

    answer = api.client.post(f"/v1/jobs/{job_id}/cancel")

    assert answer.json()["status"] == "canceled"
    assert api.client.get(f"/v1/jobs/{job_id}").json()["counts"]["canceled"] == 2


def test_canceling_what_is_final_changes_nothing(api: Api) -> None:
    job_id = accepted(api)
    finish(api, job_id)
    before = api.client.get(f"/v1/jobs/{job_id}").json()

    assert api.client.post(f"/v1/jobs/{job_id}/cancel").json() == before


def test_a_final_job_is_deleted_with_all_it_made(api: Api) -> None:
    job_id = accepted(api)
    finish(api, job_id)

    answer = api.client.delete(f"/v1/jobs/{job_id}")

    assert answer.status_code == 204
    assert list(api.storage.list("default/jobs/")) == []
    for path in ("", "/input", "/mask", "/archive", "/items/0/image"):
        assert_problem(api.client.get(f"/v1/jobs/{job_id}{path}"), problems.NOT_FOUND, None, job_id)


def test_a_job_that_is_not_final_is_not_deleted(api: Api) -> None:
    job_id = accepted(api)
    before = api.traces()

    assert_problem(api.client.delete(f"/v1/jobs/{job_id}"), problems.NOT_FINISHED, None, "cancel")
    assert api.traces() == before


@pytest.mark.parametrize(
    "job_id",
    [new_job_id(), "job_1", "..%2F..", "%00", "x" * 2000, "job_" + 26 * "i"],
    ids=["unknown", "short", "up", "null", "long", "other letters"],
)
def test_an_unknown_job_is_not_found(api: Api, job_id: str) -> None:
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/cancel"),
        ("GET", "/input"),
        ("GET", "/mask"),
        ("GET", "/archive"),
        ("GET", "/items/0/image"),
    ):
        assert_problem(api.client.request(method, f"/v1/jobs/{job_id}{path}"), problems.NOT_FOUND, None)
