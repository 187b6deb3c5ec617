"""Several defects in one image: what is accepted, what of it is kept, and what is refused."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from flawsmith.contract import problems
from flawsmith.contract.problems import ProblemType
from service.images.decoding import read_canonical
from service.store import keys
from service.store.registry import Registry
from tests.service.conftest import SCRATCH, Api
from tests.service.pictures import encoded, mask, part
from tests.service.test_api_jobs import accepted, finish, label_of
from tests.service.test_api_masks import box, manifest_of, stored
from tests.service.test_api_refusals import assert_problem

IMAGE = encoded(part())
LEFT, RIGHT = box((5, 5, 20, 10)), box((40, 5, 10, 10))
OVER_LEFT = box((15, 5, 20, 10))
"""Shares 100 of the 200 pixels of `LEFT`."""
DENT = SCRATCH.model_copy(update={"name": "dent", "version": 2})
PITTING = SCRATCH.model_copy(
    update={"tenant": "default", "name": "pitting", "draws_masks": True, "exemplars_sha256": "sha256:1"}
)
ELSEWHERE = SCRATCH.model_copy(update={"tenant": "default", "name": "rust", "backbone": "line-2"})
SCRATCH_AND_DENT = ({"defect_type": "scratch"}, {"defect_type": "dent", "severity": 0.25})


@pytest.fixture(autouse=True)
def _types(running_api: Api) -> None:
    for record in (DENT, PITTING, ELSEWHERE):
        Registry(running_api.storage).publish(record)


def send(
    api: Api, as_uploads: bool, defects: object, masks: Mapping[int, bytes], files: Any = None, **fields: Any
) -> httpx.Response:
    """A request of several defects; masks by defect."""
    files = {"image": IMAGE, **(files or {})}
    if not as_uploads:
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
        parts = files | {f"mask_{number}": data for number, data in masks.items()}
        return api.client.post("/v1/augmentations", files=parts, data={"defects": json.dumps(defects), **texts})
    assert isinstance(defects, list | tuple)
    entries = [dict(one) for one in defects]
    for number, data in masks.items():
        entries[number]["mask"] = uploaded(api, data)
    ids = {name: uploaded(api, data) for name, data in files.items()}
    return api.client.post("/v1/augmentations", json={"defects": entries, **ids, **fields})


def uploaded(api: Api, data: bytes) -> str:
    upload_id: str = api.client.post("/v1/uploads", files={"file": data}).json()["id"]
    return upload_id


def pixels(data: bytes) -> NDArray[np.bool_]:
    return np.asarray(read_canonical(data).pixels > 0)


@pytest.mark.parametrize("as_uploads", [False, True])
def test_several_defects_are_accepted_with_a_mask_each(api: Api, as_uploads: bool) -> None:
    answer = send(api, as_uploads, SCRATCH_AND_DENT, {0: LEFT, 1: RIGHT}, seed=7, guidance=2.0, count=3)

    assert answer.status_code == 202
    job = answer.json()
    manifest = manifest_of(api, job["id"])
    first, second = manifest.augmentation.defects
    assert (first.reference, second.reference) == ("scratch@1", "dent@2")
    assert (first.severity, second.severity) == (0.6, 0.25)
    assert (first.guidance, second.guidance) == (2.0, 2.0)
    assert (manifest.augmentation.seed, manifest.augmentation.count) == (7, 3)
    for number, sent in enumerate((LEFT, RIGHT)):
        assert np.array_equal(stored(api, keys.job_defect_mask("default", job["id"], number)), pixels(sent))
    assert job["warnings"] == []
    assert [one["defect_type"] for one in job["request"]["defects"]] == ["scratch", "dent"]
    assert "defect_type" not in job["request"]


@pytest.mark.parametrize("as_uploads", [False, True])
def test_the_jobs_own_mask_is_all_masks_in_one(api: Api, as_uploads: bool) -> None:
    job = send(api, as_uploads, SCRATCH_AND_DENT, {0: LEFT, 1: RIGHT}).json()

    answer = api.client.get(f"/v1/jobs/{job['id']}/mask")
    assert np.array_equal(pixels(answer.content), pixels(LEFT) | pixels(RIGHT))
    assert answer.headers["etag"] == f'"{job["mask_sha256"]}"'


@pytest.mark.parametrize("as_uploads", [False, True])
def test_a_list_of_one_is_the_same_request_as_without_a_list(api: Api, as_uploads: bool) -> None:
    listed = send(api, as_uploads, [{"defect_type": "scratch", "severity": 0.4}], {0: LEFT}, seed=7).json()
    alone = api.client.post(
        "/v1/augmentations",
        files={"image": IMAGE, "mask": LEFT},
        data={"defect_type": "scratch", "severity": "0.4", "seed": "7"},
    ).json()

    assert listed["request"] == alone["request"]
    assert listed["mask_sha256"] == alone["mask_sha256"]
    assert manifest_of(api, listed["id"]).augmentation == manifest_of(api, alone["id"]).augmentation


@pytest.mark.parametrize("as_uploads", [False, True])
def test_of_masks_that_overlap_the_later_one_has_the_pixels(api: Api, as_uploads: bool) -> None:
    job = send(api, as_uploads, SCRATCH_AND_DENT, {0: LEFT, 1: OVER_LEFT}).json()

    first, second = (stored(api, keys.job_defect_mask("default", job["id"], number)) for number in (0, 1))
    assert np.array_equal(second, pixels(OVER_LEFT))
    assert np.array_equal(first, pixels(LEFT) & ~second)
    (warning,) = job["warnings"]
    assert warning.startswith("defects.0.mask: 100 of its pixels are in defects.1.mask too")


@pytest.mark.parametrize("as_uploads", [False, True])
def test_bounds_hold_for_all(api: Api, as_uploads: bool) -> None:
    bounds = {"region": box((0, 0, 45, 48)), "exclude": box((0, 0, 10, 48))}
    job = send(api, as_uploads, SCRATCH_AND_DENT, {0: LEFT, 1: RIGHT}, bounds).json()

    first, second = (stored(api, keys.job_defect_mask("default", job["id"], number)) for number in (0, 1))
    assert np.array_equal(first, pixels(box((10, 5, 15, 10))))
    assert np.array_equal(second, pixels(box((40, 5, 5, 10))))
    assert not api.storage.exists(keys.job_region("default", job["id"]))


@pytest.mark.parametrize("as_uploads", [False, True])
def test_a_defect_without_a_mask_gets_one_drawn(api: Api, as_uploads: bool) -> None:
    defects = [{"defect_type": "pitting"}, {"defect_type": "scratch"}]
    job = send(api, as_uploads, defects, {1: LEFT}, {"region": box((0, 0, 45, 48))}).json()

    manifest = manifest_of(api, job["id"])
    assert [one.mask for one in manifest.augmentation.defects] == ["drawn", "sent"]
    assert not api.storage.exists(keys.job_defect_mask("default", job["id"], 0))
    assert api.storage.exists(keys.job_defect_mask("default", job["id"], 1))
    assert stored(api, keys.job_region("default", job["id"])).sum() == 45 * 48
    assert job["mask_sha256"] is None
    refused = api.client.get(f"/v1/jobs/{job['id']}/mask")
    assert_problem(refused, problems.NOT_FOUND, None, "/items/{n}/request")


@pytest.mark.parametrize("as_uploads", [False, True])
def test_a_dry_run_plans_each_defect(api: Api, as_uploads: bool) -> None:
    before = api.traces() if not as_uploads else None
    defects = [*SCRATCH_AND_DENT, {"defect_type": "pitting"}]
    plan = send(api, as_uploads, defects, {0: LEFT, 1: OVER_LEFT}, dry_run=True).json()

    assert plan["defects"] == [
        {"index": 0, "defect_type": "scratch@1", "mask_pixels": 100},
        {"index": 1, "defect_type": "dent@2", "mask_pixels": 200},
        {"index": 2, "defect_type": "pitting@1", "mask_pixels": None},
    ]
    assert plan["mask_pixels"] is None
    assert len(plan["warnings"]) == 1
    assert before is None or api.traces() == before
    masked = send(api, as_uploads, SCRATCH_AND_DENT, {0: LEFT, 1: OVER_LEFT}, dry_run=True).json()
    assert masked["mask_pixels"] == 300


def test_all_of_them_can_be_pasted(api: Api) -> None:
    twice = [{"defect_type": "pitting"}] * 2
    assert send(api, False, twice, {0: LEFT, 1: RIGHT}, method="paste").status_code == 202
    refused = send(api, False, [*twice, {"defect_type": "scratch"}], {2: LEFT}, method="paste")
    assert_problem(refused, problems.INVALID_REQUEST, "method", "scratch@1 keeps none")


def test_eight_defects_are_the_most(api: Api) -> None:
    defects = [{"defect_type": "scratch"}] * 8
    masks = {number: box((number * 8, 0, 6, 40)) for number in range(8)}
    assert send(api, False, defects, masks).status_code == 202
    refused = send(api, False, [*defects, {"defect_type": "pitting"}], masks)
    assert_problem(refused, problems.INVALID_REQUEST, "defects", "1 to 8")


def test_another_mask_is_another_request_under_the_same_key(api: Api) -> None:
    def sent(second: bytes) -> httpx.Response:
        return api.client.post(
            "/v1/augmentations",
            files={"image": IMAGE, "mask_0": LEFT, "mask_1": second},
            data={"defects": json.dumps(SCRATCH_AND_DENT)},
            headers={"Idempotency-Key": "several-1"},
        )

    first, again, other = sent(RIGHT), sent(RIGHT), sent(OVER_LEFT)
    assert first.json()["id"] == again.json()["id"]
    assert other.status_code == problems.IDEMPOTENCY_MISMATCH.status


REFUSED: list[
    tuple[str, list[dict[str, Any]], dict[int, bytes], dict[str, Any], ProblemType, str, tuple[str, ...]]
] = [
    ("none", [], {}, {}, problems.INVALID_REQUEST, "defects", ("1 to 8",)),
    ("no type", [{}], {}, {}, problems.INVALID_REQUEST, "defects.0.defect_type", ("missing", "name@version")),
    (
        "odd type",
        [{"defect_type": "scratch"}, {"defect_type": "../x"}],
        {},
        {},
        problems.INVALID_REQUEST,
        "defects.1.defect_type",
        ("name@version", "../x"),
    ),
    (
        "unknown type",
        [{"defect_type": "scratch"}, {"defect_type": "scratch@9"}],
        {0: LEFT, 1: RIGHT},
        {},
        problems.UNKNOWN_DEFECT_TYPE,
        "defects.1.defect_type",
        ("scratch@9", "GET /v1/defect-types"),
    ),
    (
        "severity",
        [{"defect_type": "scratch"}, {"defect_type": "dent", "severity": 2}],
        {},
        {},
        problems.INVALID_REQUEST,
        "defects.1.severity",
        ("at most 1", "got 2"),
    ),
    (
        "severity as text",
        [{"defect_type": "scratch", "severity": "0.5"}],
        {},
        {},
        problems.INVALID_REQUEST,
        "defects.0.severity",
        ("greater than 0",),
    ),
    (
        "misspelt field",
        [{"defect_type": "scratch", "severty": 0.5}],
        {},
        {},
        problems.INVALID_REQUEST,
        "defects.0.severty",
        ("did you mean severity?",),
    ),
    ("no object", [3], {}, {}, problems.INVALID_REQUEST, "defects", ("each an object",)),  # type: ignore[list-item]
    (
        "type beside the list",
        [{"defect_type": "scratch"}],
        {0: LEFT},
        {"defect_type": "dent"},
        problems.INVALID_REQUEST,
        "defect_type",
        ("each entry of defects", "leave defects out"),
    ),
    (
        "severity beside the list",
        [{"defect_type": "scratch"}],
        {0: LEFT},
        {"severity": 0.5},
        problems.INVALID_REQUEST,
        "severity",
        ("each entry of defects",),
    ),
    (
        "no mask",
        [*SCRATCH_AND_DENT],
        {0: LEFT},
        {},
        problems.MASK_REQUIRED,
        "defects.1.mask",
        ("dent@2 has not learned",),
    ),
    (
        "other backbone",
        [{"defect_type": "scratch"}, {"defect_type": "rust"}],
        {0: LEFT, 1: RIGHT},
        {},
        problems.INVALID_REQUEST,
        "defects.1.defect_type",
        ("line-2", "flawsmith-small-1", "flawsmith defects retrain"),
    ),
    (
        "covered mask",
        [*SCRATCH_AND_DENT],
        {0: LEFT, 1: box((0, 0, 50, 40))},
        {},
        problems.INVALID_MASK,
        "defects.0.mask",
        ("on top", "overlap less"),
    ),
    (
        "empty mask",
        [*SCRATCH_AND_DENT],
        {0: LEFT, 1: box()},
        {},
        problems.INVALID_MASK,
        "defects.1.mask",
        ("empty", "white"),
    ),
    (
        "mask of another size",
        [*SCRATCH_AND_DENT],
        {0: LEFT, 1: encoded(mask(32, 48))},
        {},
        problems.INVALID_MASK,
        "defects.1.mask",
        ("32×48", "64×48"),
    ),
    (
        "no room to draw one in",
        [{"defect_type": "pitting"}, {"defect_type": "scratch"}],
        {1: box((0, 0, 64, 48))},
        {},
        problems.INVALID_MASK,
        "defects.0.mask",
        ("leave no pixel",),
    ),
    (
        "levels for 8 bits",
        [*SCRATCH_AND_DENT],
        {0: LEFT, 1: RIGHT},
        {"white_level": 4000},
        problems.INVALID_REQUEST,
        "white_level",
        ("16-bit",),
    ),
]


@pytest.mark.parametrize("as_uploads", [False, True])
@pytest.mark.parametrize(
    ("defects", "masks", "fields", "kind", "at", "words"),
    [case[1:] for case in REFUSED],
    ids=[case[0] for case in REFUSED],
)
def test_what_is_wrong_is_refused_at_its_place(
    api: Api,
    as_uploads: bool,
    defects: list[Any],
    masks: dict[int, bytes],
    fields: dict[str, Any],
    kind: ProblemType,
    at: str,
    words: tuple[str, ...],
) -> None:
    if as_uploads and not all(isinstance(one, dict) for one in defects):
        pytest.skip("has no place for a mask")
    answer = send(api, as_uploads, defects, masks, **fields)

    assert_problem(answer, kind, at, *words)
    assert not list(api.storage.list("default/jobs/"))


@pytest.mark.parametrize(
    ("text", "words"), [("{}", "1 to 8"), ("[", "1 to 8"), ('"scratch"', "1 to 8"), ("[" * 60_000, "1 to 8")]
)
def test_a_text_that_is_no_list_is_refused(api: Api, text: str, words: str) -> None:
    answer = api.client.post("/v1/augmentations", files={"image": IMAGE}, data={"defects": text})
    assert_problem(answer, problems.INVALID_REQUEST, "defects", words)


def test_a_mask_is_sent_where_it_belongs(api: Api) -> None:
    """Neither beside the list, nor for an entry that is not there, nor by an id in a form."""
    beside = send(api, False, SCRATCH_AND_DENT, {0: LEFT, 1: RIGHT}, {"mask": LEFT})
    assert_problem(beside, problems.INVALID_REQUEST, "mask", "mask_0 for the first one")
    beside = send(api, True, SCRATCH_AND_DENT, {0: LEFT, 1: RIGHT}, {"mask": LEFT})
    assert_problem(beside, problems.INVALID_REQUEST, "mask", "each entry has its own mask")
    stray = send(api, False, SCRATCH_AND_DENT, {0: LEFT, 1: RIGHT, 2: LEFT})
    assert_problem(stray, problems.INVALID_REQUEST, "mask_2", "no defect")
    single = api.client.post(
        "/v1/augmentations", files={"image": IMAGE, "mask_0": LEFT}, data={"defect_type": "scratch"}
    )
    assert_problem(single, problems.INVALID_REQUEST, "mask_0", "it is called mask")
    by_id = send(api, False, [{"defect_type": "scratch", "mask": "sha256:" + 64 * "0"}], {})
    assert_problem(by_id, problems.INVALID_REQUEST, "defects.0.mask", "mask_0 of the first one")
    unknown = api.client.post(
        "/v1/augmentations",
        json={
            "image": uploaded(api, IMAGE),
            "defects": [{"defect_type": "scratch", "mask": "sha256:" + 64 * "0"}],
        },
    )
    assert_problem(unknown, problems.UNKNOWN_UPLOAD, "defects.0.mask", "POST /v1/uploads")


def test_a_broken_mask_among_several_is_named(api: Api) -> None:
    answer = send(api, False, SCRATCH_AND_DENT, {0: LEFT, 1: RIGHT[:60]})
    assert_problem(answer, problems.INVALID_MASK, "defects.1.mask", "Send")


def test_a_form_of_more_than_four_of_the_largest_files_is_too_large(api: Api) -> None:
    large = {number: bytes(399_000) for number in range(8)}
    answer = send(api, False, [{"defect_type": "scratch"}] * 8, large)
    assert answer.status_code == 413


# What there is of items


@pytest.fixture
def job_id(api: Api) -> str:
    """A finished job of two items with two defects each."""
    job_id = accepted(api, types=("scratch", "dent"))
    finish(api, job_id)
    return job_id


def test_an_item_tells_of_each_of_its_defects(api: Api, job_id: str) -> None:
    for source in ("redis", "storage"):
        if source == "storage":
            api.redis.flushall()
        item = api.client.get(f"/v1/jobs/{job_id}").json()["items"][1]
        assert [(one["index"], one["defect_type"]) for one in item["defects"]] == [(0, "scratch@1"), (1, "dent@1")]
        assert item["defects"][1]["mask_url"] == f"/v1/jobs/{job_id}/items/1/defects/1/mask"


@pytest.mark.parametrize("number", [0, 1])
def test_the_label_of_a_defect_is_a_file_like_the_others(api: Api, job_id: str, number: int) -> None:
    url = f"/v1/jobs/{job_id}/items/1/defects/{number}/mask"
    answer = api.client.get(url)

    assert answer.content == label_of(number)
    defect = api.client.get(f"/v1/jobs/{job_id}").json()["items"][1]["defects"][number]
    assert answer.headers["etag"] == f'"{defect["mask_sha256"]}"'
    assert answer.headers["repr-digest"].startswith("sha-256=:")
    name = f"{job_id}-item-01-mask-{number}-{('scratch', 'dent')[number]}.png"
    assert answer.headers["content-disposition"] == f'inline; filename="{name}"'
    assert answer.headers["cache-control"].startswith("private,")
    part = api.client.get(url, headers={"Range": "bytes=4-8"})
    assert (part.status_code, part.content) == (206, label_of(number)[4:9])
    assert api.client.get(url, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    assert httpx.head(api.address + url).headers["content-length"] == str(len(label_of(number)))


def test_a_defect_that_is_not_there_is_not_found(api: Api, job_id: str) -> None:
    answer = api.client.get(f"/v1/jobs/{job_id}/items/1/defects/2/mask")
    assert_problem(answer, problems.NOT_FOUND, None, "have 2 defects")
    single = accepted(api)
    finish(api, single)
    answer = api.client.get(f"/v1/jobs/{single}/items/1/defects/0/mask")
    assert_problem(answer, problems.NOT_FOUND, None, f"/v1/jobs/{single}/items/1/mask")


def test_an_archive_holds_the_masks_and_labels_of_each_defect(api: Api, job_id: str) -> None:
    with zipfile.ZipFile(io.BytesIO(api.client.get(f"/v1/jobs/{job_id}/archive").content)) as archive:
        names = set(archive.namelist())
        assert {"mask.png", "mask-0.png", "mask-1.png"} <= names
        labels = {name for name in names if name.startswith("defect-masks/")}
        assert labels == {
            f"defect-masks/item-0{index}-mask-{number}-{name}.png"
            for index in (0, 1)
            for number, name in enumerate(("scratch", "dent"))
        }
        assert archive.read("defect-masks/item-01-mask-1-dent.png") == label_of(1)


def test_labels_stay_with_their_item_and_go_with_the_job(api: Api, job_id: str) -> None:
    job = api.jobs.get("default", job_id)
    assert job is not None
    item = job.items[0]
    assert item.defects is not None
    stray = keys.item_prefix("default", job_id, 0) + "mask-1-0123456789abcdef.png"
    api.storage.put(stray, b"late")
    api.jobs.sweep("default", job_id)
    assert not api.storage.exists(stray)
    assert all(api.storage.exists(keys.item_defect_mask("default", job_id, item, one)) for one in item.defects)

    assert api.client.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert not list(api.storage.list(keys.job_prefix("default", job_id)))
