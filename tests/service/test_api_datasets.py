"""``POST /v1/datasets``: what is accepted and planned, what a dry run answers, what is refused."""

from __future__ import annotations

import hashlib
import io
import json
import uuid
import zipfile
from typing import Any

import httpx
import numpy as np
import pytest
from rq import SimpleWorker

from flawsmith.contract import problems
from flawsmith.contract.datasets import PlannedItem
from flawsmith.contract.manifests import DatasetManifest
from flawsmith.contract.specs import MAX_ITEMS
from service.alignment.places import Place
from service.store import keys
from service.store.queue import QUEUE_NAME, shard_queue
from service.store.records import PACE_KEY
from service.store.registry import Registry
from tests.service.alignment import photos as alignment
from tests.service.conftest import SCRATCH, Api
from tests.service.images import files
from tests.service.samples.sets import mask, photo
from tests.service.test_api_refusals import assert_problem

PITTING = SCRATCH.model_copy(update={"tenant": "default", "name": "pitting", "draws_masks": True})
BURR = SCRATCH.model_copy(
    update={"tenant": "default", "name": "burr", "draws_masks": True, "exemplars_sha256": 64 * "5"}
)
ELSEWHERE = SCRATCH.model_copy(
    update={
        "tenant": "default",
        "name": "elsewhere",
        "draws_masks": True,
        "backbone": "other",
        "backbone_digest": "sha256:9",
    }
)
BROKEN = photo(77)[:300]
SIZE = {"size": {"min": 6, "max": 20}}
LONG = {"size": {"min": 30, "max": 200, "unit": "um"}}
SHORT = {"min": 4.0, "max": 6.0}
COARSE = b"file,pixel_size_um\n1.png,80\n"
LOTS = b"file,lot,pixel_size_um\n0.png,x,12.5\n1.png,y,\n2.png,x,\n"


@pytest.fixture(autouse=True)
def _taught(running_api: Api) -> None:
    for record in (PITTING, BURR, ELSEWHERE):
        Registry(running_api.storage).publish(record)
    running_api.storage.delete_prefix("default/made/")


def packed(content: dict[str, bytes]) -> bytes:
    """A ZIP of these files, the same whenever it is packed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def photos(count: int = 3) -> dict[str, bytes]:
    return {f"{number}.png": photo(number) for number in range(count)}


def sent(
    api: Api,
    *entries: dict[str, Any],
    headers: dict[str, str] | None = None,
    zips: dict[str, dict[str, bytes] | bytes] | None = None,
    **fields: Any,
) -> httpx.Response:
    """A request by form, of three photos unless others are sent."""
    content: dict[str, dict[str, bytes] | bytes] = {"normals": photos()} | (zips or {})
    parts = {name: data if isinstance(data, bytes) else packed(data) for name, data in content.items()}
    asked = entries or ({"defect_type": "pitting", "per_image": 2},)
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
    return api.client.post(
        "/v1/datasets", files=parts, data={"entries": json.dumps(asked), "seed": "7"} | texts, headers=headers
    )


def uploaded(api: Api, data: bytes) -> str:
    found: str = api.client.post("/v1/uploads", files={"file": data}).json()["id"]
    return found


def manifest_of(api: Api, answer: httpx.Response) -> DatasetManifest:
    assert answer.status_code == 202, answer.text
    manifest = api.jobs.manifest("default", answer.json()["id"])
    assert isinstance(manifest, DatasetManifest)
    return manifest


def plan_of(api: Api, answer: httpx.Response) -> list[PlannedItem]:
    manifest = manifest_of(api, answer)
    data = b"".join(
        api.storage.get(keys.job_file("default", manifest.job_id, f"plan/{number}.jsonl"))
        for number in range(-(-manifest.count // 256))
    )
    return [PlannedItem.model_validate_json(line) for line in data.splitlines()]


def test_a_form_is_accepted_planned_and_queued(api: Api) -> None:
    answer = sent(
        api,
        {"defect_type": "pitting", "per_image": 2, "severity": {"min": 0.3, "max": 0.9}},
        {"defects": [{"defect_type": "burr"}, {"defect_type": "pitting", "severity": 0.4}], "count": 2},
        controls=1,
        zips={"regions": {"0.png": mask(left=20)}, "excludes": mask(width=4), "normals_metadata": LOTS},
        split={"train": 0.5, "test": 0.5, "group_by": "lot"},
        pixel_size_um="3",
        min_quality="0.25",
        metadata={"line": 4},
    )

    manifest = manifest_of(api, answer)
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["kind"], job["status"]) == ("dataset", "queued")
    assert job["progress"]["total"] == manifest.count == 6 + 2 + 1 + 3
    assert f"{job['id']}-0".encode() in api.redis.lrange(f"rq:queue:{QUEUE_NAME}", 0, -1)
    assert (job["request"]["seed"], job["request"]["metadata"]) == (7, {"line": 4})
    first, second = manifest.dataset.entries
    assert [(one.min, one.max) for one in first.severities] == [(0.3, 0.9)]
    assert [(one.min, one.max) for one in second.severities] == [(0.6, 0.6), (0.4, 0.4)]
    assert {defect.min_quality for defect in (*first.defects, *second.defects)} == {0.25}
    assert [one.items for one in manifest.state.entries] == [6, 2]
    assert manifest.state.entries[1].defect_types == ["burr@1", "pitting@1"]
    assert manifest.state.lock.classes == {"pitting": 1, "burr": 2}
    assert manifest.state.lock.defect_types == {"pitting": 1, "burr": 1}
    assert manifest.state.lock.backbones == {SCRATCH.backbone: SCRATCH.backbone_digest}

    rows = plan_of(api, answer)
    assert len(rows) == 12
    sources = {row.source.number: row.source for row in rows}
    assert [one.name for one in sources.values()] == ["0.png", "1.png", "2.png"]
    assert [one.pixel_size_um for one in sources.values()] == [12.5, 3.0, 3.0]
    assert [one.group for one in sources.values()] == ["x", "y", "x"]
    assert sources[0].split == sources[2].split
    assert [one.region_sha256 is None for one in sources.values()] == [False, True, True]
    assert all(row.augmentation.pixel_size_um == row.source.pixel_size_um for row in rows if row.augmentation)


def test_files_of_the_job_are_what_the_rows_say(api: Api) -> None:
    masks = {"0.png": mask(), "2_mask.png": mask(left=20)}
    answer = sent(
        api,
        {"defect_type": "scratch", "count": 5, "masks": "given"},
        zips={"masks": masks, "regions": mask(left=20)},
    )

    rows = plan_of(api, answer)
    prefix = keys.job_prefix("default", answer.json()["id"])
    names = {key.removeprefix(prefix) for key in api.storage.list(prefix)}
    assert names == {
        "request.json",
        "plan/0.jsonl",
        *(f"sources/{number}/image.png" for number in range(3)),
        *(f"sources/{number}/region.png" for number in range(3)),
        *(f"sources/{number}/mask.png" for number in (0, 2)),
    }
    for row in rows:
        for part, digest in (
            ("image", row.source.input_sha256),
            ("mask", row.source.mask_sha256),
            ("region", row.source.region_sha256),
        ):
            if digest is not None:
                data = api.storage.get(f"{prefix}sources/{row.source.number}/{part}.png")
                assert hashlib.sha256(data).hexdigest() == digest
    assert {row.source.number for row in rows if row.kind == "defect"} == {0, 2}
    assert any("entries.0: 1 of 3 normal images have no mask" in text for text in answer.json()["warnings"])


def test_json_names_uploads_and_gives_the_same_items(api: Api) -> None:
    ids = [uploaded(api, data) for data in photos().values()]
    region = uploaded(api, mask(left=20))
    normals = [
        {"image": ids[0], "name": "a.png", "region": region, "metadata": {"lot": 3, "pixel_size_um": 12.5}},
        {"image": ids[1], "mask": uploaded(api, mask()), "metadata": {"lot": 4}},
        ids[2],
    ]
    entries = [{"defect_type": "pitting", "per_image": 2}]
    answer = api.client.post("/v1/datasets", json={"normals": normals, "entries": entries, "seed": 7})

    rows = plan_of(api, answer)
    sources = {row.source.number: row.source for row in rows}
    assert [one.name for one in sources.values()] == ["a.png", ids[1], ids[2]]
    assert [one.metadata for one in sources.values()] == [{"lot": 3}, {"lot": 4}, {}]
    assert [one.pixel_size_um for one in sources.values()] == [12.5, None, None]
    assert [one.sha256 for one in sources.values()] == [one.removeprefix("sha256:") for one in ids]
    assert "masks were sent and no entry uses them" in " ".join(answer.json()["warnings"])

    table = b"file,pixel_size_um\n0.png,12.5\n"
    by_form = sent(api, *entries, zips={"regions": {"0.png": mask(left=20)}, "normals_metadata": table})
    assert {row.made for row in plan_of(api, by_form)} == {row.made for row in rows}


def test_a_dry_run_tells_what_would_be_made_and_leaves_nothing(api: Api) -> None:
    fields: dict[str, Any] = {"split": {"train": 0.5, "val": 0.5}, "controls": "2"}
    rows = plan_of(api, sent(api, **fields))
    known = [row for row in rows if row.source.number == 0]
    for row in known:
        api.storage.put(keys.made_record("default", row.made), b"{}", "application/json")
    api.jobs.note_pace(2.0)
    before = api.traces()
    answer = sent(api, **fields, dry_run="true")

    assert answer.status_code == 200
    plan = answer.json()
    assert (plan["items"], plan["to_make"]) == (11, 11 - len(known))
    assert sum(plan["splits"].values()) == 11
    assert plan["splits"]["test"] == 0
    assert plan["dataset"]["entries"] == [{"defect_types": ["pitting@1"], "items": 6, "bins": None}]
    assert (plan["dataset"]["controls"], plan["dataset"]["normals"]) == (2, 3)
    assert plan["request"]["seed"] == 7
    assert plan["expected_s"] is None, "no worker is here"
    assert api.traces() == before


def test_a_dry_run_tells_the_items_of_each_bin_and_where_none_can_be_shown(api: Api) -> None:
    entry = {
        "defect_type": "pitting",
        "bins": [LONG | {"count": 5}, {"contrast": {"min": 0.1, "max": 0.4}, "size": SHORT, "per_image": 1}],
    }
    answer = sent(api, entry, dry_run="true", pixel_size_um="3", zips={"normals_metadata": COARSE})

    assert answer.status_code == 200, answer.text
    plan = answer.json()
    assert plan["dataset"]["entries"] == [
        {
            "defect_types": ["pitting@1"],
            "items": 8,
            "bins": [
                {"size": {"min": 30.0, "max": 200.0, "unit": "um"}, "contrast": None, "items": 5},
                {"size": SHORT | {"unit": "px"}, "contrast": {"min": 0.1, "max": 0.4}, "items": 3},
            ],
        }
    ]
    assert plan["request"]["entries"][0]["bins"][0]["count"] == 5
    (warning,) = [one for one in plan["warnings"] if one.startswith("entries.0.bins.0.size")]
    assert "1 of 3 normal images cannot show it" in warning
    assert warning.endswith("1.png")
    rows = plan_of(api, sent(api, entry, pixel_size_um="3", zips={"normals_metadata": COARSE}))
    assert {row.source.name for row in rows if row.bin == 0} == {"0.png", "2.png"}
    assert {row.bin for row in rows if row.kind == "normal"} == {None}


def test_the_time_is_expected_by_the_pace_of_late_and_the_workers_there_are(api: Api) -> None:
    api.redis.delete(PACE_KEY)
    assert api.jobs.pace() is None
    workers = [SimpleWorker([shard_queue(api.redis)], connection=api.redis) for _ in range(2)]
    for worker in workers:
        worker.register_birth()
    try:
        assert sent(api, dry_run="true").json()["expected_s"] is None
        api.jobs.note_pace(3.0)
        assert api.jobs.pace() == pytest.approx(3.0)
        assert sent(api, dry_run="true").json()["expected_s"] == 9.0, "six are drawn, three normal images are not"
    finally:
        for worker in workers:
            worker.register_death()
        api.redis.delete(PACE_KEY)


def test_many_items_are_not_looked_for_one_by_one(api: Api) -> None:
    answer = sent(api, {"defect_type": "pitting", "count": 2001}, include_normals="false", dry_run="true")

    assert (answer.json()["items"], answer.json()["to_make"]) == (2001, None)
    assert answer.json()["dataset"]["normals"] == 0


def test_how_items_are_exported_is_no_other_work(api: Api) -> None:
    deep = {"normals": {"0.png": photo(0), "deep.png": files.png(files.noise(48, 64, dtype="uint16"))}}
    first, fields = sent(api, zips=deep), {"frame": "crop", "bit_depth": "8"}
    rows = plan_of(api, first)
    assert [row.view for row in rows] == [None] * 6
    for row in rows:
        api.storage.put(keys.made_record("default", row.made), b"{}")
    assert sent(api, zips=deep, dry_run="true", **fields).json()["to_make"] == 0

    answer = sent(api, zips=deep, **fields)
    resolved = manifest_of(api, answer).dataset
    assert (resolved.frame, resolved.crop_size, resolved.bit_depth) == ("crop", 512, "8")
    assert [row.made for row in plan_of(api, answer)] == [row.made for row in rows]
    assert len({row.view for row in plan_of(api, answer)}) == 6
    assert answer.json()["request"]["crop_size"] == 512
    only = {row.source.name for row in plan_of(api, sent(api, zips=deep, bit_depth="8")) if row.view}
    assert only == {"deep.png"}
    ids = [uploaded(api, data) for data in deep["normals"].values()]
    body = {"normals": ids, "entries": [{"defect_type": "pitting", "per_image": 2}], "seed": 7, "bit_depth": 8}
    by_json = api.client.post("/v1/datasets", json=body | {"frame": "crop", "crop_size": 512})
    assert {row.view for row in plan_of(api, by_json)} == {row.view for row in plan_of(api, answer)}


def test_what_was_there_stays_when_more_is_asked_for(api: Api) -> None:
    first = {row.made for row in plan_of(api, sent(api))}
    assert {row.made for row in plan_of(api, sent(api))} == first

    more = sent(
        api,
        {"defect_type": "burr", "count": 4},
        {"defect_type": "pitting", "per_image": 3},
        zips={"normals": {"more.png": photo(50)} | photos()},
    )
    assert first < {row.made for row in plan_of(api, more)}


def test_what_cannot_be_read_or_is_there_twice_is_left_out_and_told(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    normals = photos(2) | {"broken.png": BROKEN, "twice.png": photo(0)}
    answer = sent(api, zips={"normals": normals})

    manifest = manifest_of(api, answer)
    assert {one.name for one in manifest.state.left_out} == {"broken.png", "twice.png"}
    monkeypatch.setattr("service.datasets.planned.MAX_LEFT_OUT", 1)
    told = sent(api, zips={"normals": normals}).json()["dataset"]
    assert ([one["name"] for one in told["left_out"]], told["left_out_count"]) == (["broken.png"], 2)
    assert (manifest.dataset.normals, manifest.state.entries[0].items) == (2, 4)
    assert "normal images left out (2): broken.png, twice.png" in answer.json()["warnings"]


def test_a_lock_keeps_versions_and_numbers(api: Api) -> None:
    Registry(api.storage).publish(PITTING.model_copy(update={"version": 2, "adapter_sha256": 64 * "7"}))
    lock = {
        "format_version": 1,
        "defect_types": {"pitting": 1, "gone": 3},
        "backbones": {"old": "sha256:1"},
        "classes": {"pitting": 7, "gone": 2},
    }
    try:
        entries = [{"defect_type": "burr", "count": 1}, {"defect_type": "pitting", "count": 1}]
        kept = manifest_of(api, sent(api, *entries, lock=lock)).state
        newest = manifest_of(api, sent(api, *entries[::-1])).state
        said = {name: dict(sorted(one.items())) for name, one in newest.lock if isinstance(one, dict)}
        again = manifest_of(api, sent(api, *entries[::-1], lock={"format_version": 1} | said)).state
        named = manifest_of(api, sent(api, {"defect_type": "pitting@2", "count": 1}, lock=lock)).state
    finally:
        Registry(api.storage).delete("default", "pitting", 2)

    assert [one.defect_types for one in kept.entries] == [["burr@1"], ["pitting@1"]]
    assert kept.lock.defect_types == {"pitting": 1, "gone": 3, "burr": 1}
    assert kept.lock.backbones == {"old": "sha256:1", SCRATCH.backbone: SCRATCH.backbone_digest}
    assert kept.lock.classes == {"pitting": 7, "gone": 2, "burr": 8}
    assert newest.lock.classes == {"pitting": 1, "burr": 2}
    assert newest.lock.defect_types == {"pitting": 2, "burr": 1}
    assert again.model_dump_json() == newest.model_dump_json(), "byte by byte, for archives hold it"
    assert (named.lock.defect_types["pitting"], named.lock.classes) == (2, {"pitting": 7, "gone": 2})
    lock["defect_types"] = {"pitting": 2}
    answer = sent(api, {"defect_type": "pitting", "count": 1}, lock=lock)
    assert_problem(answer, problems.UNKNOWN_DEFECT_TYPE, "lock.defect_types", "pitting@2", "import", "newest")


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"classes": {"a": 3, "b": 3}}, "lock.classes", ("number 3 to a and to b",)),
        ({"classes": {"a": 255}}, "lock.classes", ("at most 255",)),
        ({"backbones": {SCRATCH.backbone: "sha256:1"}}, "lock.backbones", ("pitting@1", "other pixels")),
        ({"defect_types": {"pitting": 0}}, "lock.defect_types", ("pitting@0",)),
    ],
)
def test_a_lock_that_does_not_hold_is_refused(
    api: Api, changes: dict[str, Any], field: str, words: tuple[str, ...]
) -> None:
    lock = {"format_version": 1, "defect_types": {"pitting": 1}, "backbones": {}, "classes": {}} | changes
    answer = sent(api, lock=lock)

    assert answer.status_code == 422
    assert answer.json()["field"] == field
    assert all(word in answer.json()["detail"] for word in words), answer.json()


REFUSED: dict[str, tuple[list[dict[str, Any]], dict[str, Any], Any, str, tuple[str, ...]]] = {
    "unknown type": (
        [{"defect_type": "pitting", "count": 1}, {"defect_type": "none", "count": 1}],
        {},
        problems.UNKNOWN_DEFECT_TYPE,
        "entries.1.defect_type",
        ("none", "GET /v1/defect-types"),
    ),
    "cannot draw masks": (
        [{"defect_type": "scratch", "count": 1}],
        {},
        problems.MASK_REQUIRED,
        "entries.0.defect_type",
        ("scratch@1", "masks: given"),
    ),
    "one of several cannot draw masks": (
        [{"defects": [{"defect_type": "pitting"}, {"defect_type": "scratch"}], "count": 1}],
        {},
        problems.MASK_REQUIRED,
        "entries.0.defects.1.defect_type",
        ("scratch@1",),
    ),
    "nothing to paste": (
        [{"defect_type": "pitting", "count": 1, "method": "paste"}],
        {},
        problems.INVALID_REQUEST,
        "entries.0.method",
        ("pitting@1 keeps none",),
    ),
    "controls of pasting": (
        [{"defect_type": "burr", "count": 1, "method": "paste"}],
        {"controls": "1"},
        problems.INVALID_REQUEST,
        "controls",
        ("entries.0.method is paste",),
    ),
    "two backbones in one image": (
        [{"defects": [{"defect_type": "pitting"}, {"defect_type": "elsewhere"}], "count": 1}],
        {},
        problems.INVALID_REQUEST,
        "entries.0.defects.1.defect_type",
        ("elsewhere@1 is on the backbone other",),
    ),
    "given masks of several": (
        [{"defects": [{"defect_type": "pitting"}, {"defect_type": "burr"}], "count": 1, "masks": "given"}],
        {"zips": {"masks": {"0.png": mask()}}},
        problems.INVALID_REQUEST,
        "entries.0.masks",
        ("leave masks out", "POST /v1/augmentations"),
    ),
    "given masks that nobody sent": (
        [{"defect_type": "scratch", "count": 1, "masks": "given"}],
        {},
        problems.INVALID_MASK,
        "entries.0.masks",
        ("no normal image came with a mask",),
    ),
    "given masks of which nothing is left": (
        [{"defect_type": "scratch", "count": 1, "masks": "given"}],
        {"zips": {"masks": {"0.png": mask(width=4)}, "regions": mask(left=40)}},
        problems.INVALID_MASK,
        "entries.0.masks",
        ("of which something is left",),
    ),
    "no room for masks": (
        [{"defect_type": "pitting", "count": 1}],
        {"zips": {"regions": mask(), "excludes": mask()}},
        problems.INVALID_MASK,
        "entries.0.masks",
        ("leave no pixel of any normal image",),
    ),
    "no items": (
        [{"defect_type": "pitting", "count": 0}],
        {},
        problems.INVALID_REQUEST,
        "entries.0.count",
        ("between 1 and 100000; got 0",),
    ),
    "far too many items": (
        [{"defect_type": "pitting", "count": 10**9}],
        {},
        problems.INVALID_REQUEST,
        "entries.0.count",
        ("between 1 and 100000; got 1000000000",),
    ),
    "too many in all": (
        [{"defect_type": "pitting", "count": MAX_ITEMS}, {"defect_type": "burr", "count": 1}],
        {},
        problems.INVALID_REQUEST,
        "entries",
        ("100,001 items", "at most 100,000"),
    ),
    "too many with normal images": (
        [{"defect_type": "pitting", "count": MAX_ITEMS - 2}],
        {},
        problems.INVALID_REQUEST,
        "entries",
        ("100,001 items of 3 normal images", "at most 100,000"),
    ),
    "severities the wrong way round": (
        [{"defect_type": "pitting", "count": 1, "severity": {"min": 0.8, "max": 0.3}}],
        {},
        problems.INVALID_REQUEST,
        "entries.0.severity",
        ("min must not be above max",),
    ),
    "severity out of range": (
        [{"defect_type": "pitting", "count": 1, "severity": 2}],
        {},
        problems.INVALID_REQUEST,
        "entries.0.severity",
        ("greater than 0 and at most 1, or a range", "got 2"),
    ),
    "two ways to count": (
        [{"defect_type": "pitting", "count": 1, "per_image": 1}],
        {},
        problems.INVALID_REQUEST,
        "entries.0",
        ("either count, items in all, or per_image",),
    ),
    "bins that overlap": (
        [{"defect_type": "pitting", "bins": [{**SIZE, "count": 1}, {**SIZE, "count": 2}]}],
        {},
        problems.INVALID_REQUEST,
        "entries.0",
        ("bins 0 and 1 overlap",),
    ),
    "bins that overlap where a pixel is so large": (
        [{"defect_type": "pitting", "bins": [{**SIZE, "count": 1}, {**LONG, "count": 2}]}],
        {"pixel_size_um": "2"},
        problems.INVALID_REQUEST,
        "entries.0.bins",
        ("bins 0 and 1 overlap where a pixel is 2 µm",),
    ),
    "a bin the wrong way round": (
        [{"defect_type": "pitting", "bins": [{"size": {"min": 9, "max": 2}, "count": 1}]}],
        {},
        problems.INVALID_REQUEST,
        "entries.0.bins.0.size",
        ("min must be below max; got 9 and 2",),
    ),
    "a bin of nothing": (
        [{"defect_type": "pitting", "bins": [{**SIZE, "count": 0}]}],
        {},
        problems.INVALID_REQUEST,
        "entries.0.bins.0.count",
        ("between 1 and 100000; got 0",),
    ),
    "a unit that nobody knows": (
        [{"defect_type": "pitting", "bins": [{"size": {"min": 1, "max": 2, "unit": "mm"}, "count": 1}]}],
        {},
        problems.INVALID_REQUEST,
        "entries.0.bins.0.size.unit",
        ("one of px, um",),
    ),
    "a contrast that is no range": (
        [{"defect_type": "pitting", "bins": [{"contrast": 0.2, "count": 1}]}],
        {},
        problems.INVALID_REQUEST,
        "entries.0.bins.0.contrast",
        ('such as {"min": 0.05',),
    ),
    "bins in a list that is none": (
        [{"defect_type": "pitting", "bins": {"count": 1}}],
        {},
        problems.INVALID_REQUEST,
        "entries.0.bins",
        ("a list of 1 to 32 bins",),
    ),
    "µm where a pixel is not known": (
        [{"defect_type": "pitting", "bins": [{**LONG, "count": 1}]}],
        {"zips": {"normals_metadata": LOTS}},
        problems.INVALID_REQUEST,
        "pixel_size_um",
        ("missing for 1.png, 2.png", "entries.0.bins.0.size is in µm"),
    ),
    "smaller than a window shows": (
        [{"defect_type": "pitting", "bins": [{**LONG, "count": 1}]}],
        {"pixel_size_um": "100"},
        problems.INVALID_REQUEST,
        "entries.0.bins.0.size",
        ("ends at 2 pixels", "shorter than 4"),
    ),
    "larger than the image": (
        [{"defect_type": "pitting", "bins": [{**LONG, "count": 1}]}],
        {"pixel_size_um": "0.1"},
        problems.INVALID_REQUEST,
        "entries.0.bins.0.size",
        ("begins at 300 pixels", "the diagonal of 64 × 48 pixels is shorter"),
    ),
    "too many in bins": (
        [{"defect_type": "pitting", "bins": [{**SIZE, "count": MAX_ITEMS}]}],
        {"controls": "1"},
        problems.INVALID_REQUEST,
        "entries",
        ("100,001 items",),
    ),
    "unknown field": (
        [{"defect_type": "pitting", "cuont": 1}],
        {},
        problems.INVALID_REQUEST,
        "entries.0.cuont",
        ("did you mean count?",),
    ),
    "crops of whole frames": (
        [{"defect_type": "pitting", "count": 1}],
        {"crop_size": "256"},
        problems.INVALID_REQUEST,
        "crop_size",
        ("say frame: crop beside it",),
    ),
    "crops of no size": (
        [{"defect_type": "pitting", "count": 1}],
        {"frame": "crop", "crop_size": "63"},
        problems.INVALID_REQUEST,
        "crop_size",
        ("between 64 and 4096; got 63",),
    ),
    "another frame": (
        [{"defect_type": "pitting", "count": 1}],
        {"frame": "window"},
        problems.INVALID_REQUEST,
        "frame",
        ("one of full, crop",),
    ),
    "another depth": (
        [{"defect_type": "pitting", "count": 1}],
        {"bit_depth": "12"},
        problems.INVALID_REQUEST,
        "bit_depth",
        ("one of keep, 8",),
    ),
    "shares of less than all": (
        [{"defect_type": "pitting", "count": 1}],
        {"split": {"train": 0.5}},
        problems.INVALID_REQUEST,
        "split",
        ("must add up to 1; got 0.5",),
    ),
    "group of a column that is not there": (
        [{"defect_type": "pitting", "count": 1}],
        {"split": {"group_by": "camera"}, "zips": {"normals_metadata": LOTS}},
        problems.INVALID_REQUEST,
        "split.group_by",
        ("no normal image has camera", "there are lot"),
    ),
    "group of a column that some have": (
        [{"defect_type": "pitting", "count": 1}],
        {"split": {"group_by": "lot"}, "zips": {"normals_metadata": b"file,lot\n0.png,1\n1.png,\n"}},
        problems.INVALID_REQUEST,
        "split.group_by",
        ("2 of 3", "1.png, 2.png"),
    ),
    "metadata of no image": (
        [{"defect_type": "pitting", "count": 1}],
        {"zips": {"normals_metadata": b"file,lot\n9.png,1\n"}},
        problems.INVALID_NORMALS,
        "normals_metadata",
        ("9.png", "Leave the rows out"),
    ),
    "mask of no image": (
        [{"defect_type": "scratch", "count": 1, "masks": "given"}],
        {"zips": {"masks": {"0.png": mask(), "9.png": mask()}}},
        problems.INVALID_MASK,
        "masks",
        ("9.png", "belong to no normal image"),
    ),
    "exclude of no image": (
        [{"defect_type": "pitting", "count": 1}],
        {"zips": {"excludes": {"9.png": mask()}}},
        problems.INVALID_MASK,
        "excludes",
        ("9.png",),
    ),
    "mask of another size": (
        [{"defect_type": "scratch", "count": 1, "masks": "given"}],
        {"zips": {"masks": {"0.png": mask(of=(40, 40))}}},
        problems.INVALID_MASK,
        "masks",
        ("0.png, mask of 0.png", "40"),
    ),
    "a reference and not how": (
        [{"defect_type": "pitting", "count": 1}],
        {"zips": {"reference": photo(0), "regions": mask()}},
        problems.INVALID_REQUEST,
        "align",
        ("align is missing", "none, as they lie, shift, or rigid"),
    ),
    "no reference to align to": (
        [{"defect_type": "pitting", "count": 1}],
        {"zips": {"regions": mask()}, "align": "shift"},
        problems.INVALID_REQUEST,
        "reference",
        ("reference is missing, and align is shift",),
    ),
    "another way to align": (
        [{"defect_type": "pitting", "count": 1}],
        {"zips": {"reference": photo(0), "regions": mask()}, "align": "affine"},
        problems.INVALID_REQUEST,
        "align",
        ("one of none, shift, rigid",),
    ),
    "turned only": (
        [{"defect_type": "pitting", "count": 1}],
        {"zips": {"reference": photo(0), "regions": mask()}, "align": "shift", "max_rotation_deg": "20"},
        problems.INVALID_REQUEST,
        "max_rotation_deg",
        ("is of align: rigid, and align is shift",),
    ),
    "turned too far": (
        [{"defect_type": "pitting", "count": 1}],
        {"zips": {"reference": photo(0), "regions": mask()}, "align": "rigid", "max_rotation_deg": "181"},
        problems.INVALID_REQUEST,
        "max_rotation_deg",
        ("greater than 0 and at most 180",),
    ),
    "a reference that is no image": (
        [{"defect_type": "pitting", "count": 1}],
        {"zips": {"reference": BROKEN, "regions": mask()}, "align": "shift"},
        problems.INVALID_IMAGE,
        "reference",
        ("reference: ",),
    ),
    "a region of another size than the reference": (
        [{"defect_type": "pitting", "count": 1}],
        {"zips": {"reference": photo(0), "regions": mask(of=(40, 40))}, "align": "shift"},
        problems.INVALID_MASK,
        "regions",
        ("mask of reference", "40×40", "64×48"),
    ),
    "nothing drawn on the reference": (
        [{"defect_type": "pitting", "count": 1}],
        {"zips": {"reference": photo(0), "regions": {"0.png": mask()}}, "align": "shift"},
        problems.INVALID_IMAGE,
        "reference",
        ("nothing is drawn on it",),
    ),
    "a reference that shows nothing to hold on to": (
        [{"defect_type": "pitting", "count": 1}],
        {"zips": {"reference": photo(9), "regions": mask()}, "align": "shift"},
        problems.INVALID_IMAGE,
        "reference",
        ("too little to register photos on",),
    ),
    "nothing readable": (
        [{"defect_type": "pitting", "count": 1}],
        {"zips": {"normals": {"a.png": BROKEN, "b.png": b"x"}}},
        problems.INVALID_NORMALS,
        "normals",
        ("none of the 2 normal images can be read", "a.png"),
    ),
    "no ZIP": (
        [{"defect_type": "pitting", "count": 1}],
        {"zips": {"normals": photo(0)}},
        problems.INVALID_NORMALS,
        "normals",
        ("no ZIP",),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_made_is_refused_with_field_and_remedy(api: Api, name: str) -> None:
    entries, changes, kind, field, words = REFUSED[name]
    before = api.traces()
    answer = sent(api, *entries, **changes)

    assert_problem(answer, kind, field, *words)
    assert api.traces() == before


def test_more_bins_on_normal_images_than_can_be_planned_are_refused(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    bins = [{"size": {"min": least, "max": least + 4}, "count": 1} for least in (4, 8)]
    entries = {"defect_type": "pitting", "bins": bins}, {"defect_type": "burr", "count": 1}
    monkeypatch.setattr("service.datasets.entries.MAX_PAIRS", 9)
    assert sent(api, *entries, dry_run=True).status_code == 200
    monkeypatch.setattr("service.datasets.entries.MAX_PAIRS", 8)
    answer = sent(api, *entries, dry_run=True)
    assert_problem(answer, problems.INVALID_REQUEST, "entries", "are 3, each bin", "9 pairs with 3", "most 8")


def test_uploads_that_do_not_fit_are_refused_by_their_place(api: Api) -> None:
    image, small = uploaded(api, photo(0)), uploaded(api, mask(of=(40, 40)))
    nobodys = "sha256:" + 64 * "0"

    def asked(*normals: Any, masks: str = "given") -> httpx.Response:
        entry = {"defect_type": "pitting", "count": 1, "masks": masks}
        return api.client.post("/v1/datasets", json={"normals": normals, "entries": [entry]})

    answer = asked(image, {"image": image, "mask": nobodys})
    assert_problem(answer, problems.UNKNOWN_UPLOAD, "normals.1.mask", nobodys, "POST /v1/uploads")
    assert_problem(asked(image, nobodys), problems.UNKNOWN_UPLOAD, "normals.1", nobodys)
    answer = asked({"image": image, "mask": small})
    assert_problem(answer, problems.INVALID_MASK, "normals.0.mask", "40")
    answer = asked({"image": image, "metadata": {"pixel_size_um": "wide"}}, masks="drawn")
    assert_problem(answer, problems.INVALID_NORMALS, "normals.0.metadata", "pixel_size_um", "greater than 0")
    assert_problem(asked(image), problems.INVALID_MASK, "entries.0.masks", "no normal image came with a mask")
    answer = asked("x")
    assert_problem(answer, problems.INVALID_REQUEST, "normals.0", "upload id")


def test_what_is_missing_is_asked_for(api: Api) -> None:
    answer = api.client.post("/v1/datasets", files={"normals": packed(photos())})
    assert_problem(answer, problems.INVALID_REQUEST, "entries", "a list of 1 to 64 entries", "JSON text")
    entries = json.dumps([{"defect_type": "pitting", "count": 1}])
    answer = api.client.post("/v1/datasets", files={"masks": packed(photos())}, data={"entries": entries})
    assert_problem(answer, problems.INVALID_REQUEST, "normals", "a ZIP as a file of a form")
    answer = api.client.post("/v1/datasets", content=b"x", headers={"Content-Type": "text/plain"})
    assert_problem(answer, problems.UNSUPPORTED_MEDIA_TYPE, None, "multipart/form-data or application/json")


def test_what_is_drawn_on_a_reference_is_carried_over_and_told(api: Api) -> None:
    blank = alignment.file(alignment.lit(np.full((180, 240), 0.4), 3))
    part, moved = (alignment.file(alignment.part(*one)) for one in ((), (Place(-30, 20), 3)))
    region = alignment.file(alignment.drawn())
    fields: dict[str, Any] = {
        "zips": {
            "normals": {"a.png": moved, "blank.png": blank, "part.png": part},
            "reference": part,
            "regions": region,
        },
        "align": "shift",
    }
    rows = plan_of(api, sent(api, **fields))

    sources = {row.source.name: row.source for row in rows}
    assert set(sources) == {"a.png", "part.png"}
    assert sources["part.png"].region_sha256 != sources["a.png"].region_sha256
    how = sources["a.png"].alignment
    assert how is not None
    assert (how.x_px, how.y_px) == pytest.approx((-30, 20), abs=0.3)

    plan = sent(api, **fields, dry_run="true").json()
    assert [one["name"] for one in plan["alignments"]] == ["a.png", "part.png"]
    assert plan["alignments"][0] == {"name": "a.png"} | how.model_dump()
    (left,) = plan["dataset"]["left_out"]
    assert left["name"] == "blank.png"
    assert "does not register" in left["reason"]
    assert plan["dataset"]["alignment"] == {
        "images": 2,
        "median_residual_px": how.residual_px / 2,
        "greatest_residual_px": how.residual_px,
        "limit_px": 2,
    }
    assert (plan["request"]["align"], plan["request"]["max_rotation_deg"]) == ("shift", None)

    ids = [uploaded(api, data) for data in (moved, blank, part)]
    drawn_on = {"image": ids[2], "region": uploaded(api, region)}
    wish = {"entries": [{"defect_type": "pitting", "per_image": 2}], "seed": 7, "align": "shift"}
    answer = api.client.post("/v1/datasets", json={"normals": ids, "reference": drawn_on} | wish)
    assert {row.made for row in plan_of(api, answer)} == {row.made for row in rows}

    answer = api.client.post("/v1/datasets", json={"normals": ids, "reference": {"image": ids[2]}} | wish)
    assert_problem(answer, problems.INVALID_REQUEST, "reference", "name what is drawn on it")
    answer = api.client.post("/v1/datasets", json={"normals": ids, "reference": ids[2]} | wish)
    assert_problem(answer, problems.INVALID_REQUEST, "reference", "an object with an upload id")
    small = {"image": ids[2], "exclude": uploaded(api, mask())}
    answer = api.client.post("/v1/datasets", json={"normals": ids, "reference": small} | wish)
    assert_problem(answer, problems.INVALID_MASK, "reference.exclude", "64×48", "240×180")
    strange = {"image": ids[2], "mask": "sha256:" + 64 * "0"}
    answer = api.client.post("/v1/datasets", json={"normals": ids, "reference": strange} | wish)
    assert_problem(answer, problems.UNKNOWN_UPLOAD, "reference.mask", "POST /v1/uploads")


def test_a_side_without_images_is_told(api: Api) -> None:
    answer = sent(api, zips={"normals": photos(1)}, split={"train": 0.5, "test": 0.5})

    assert any("no normal image is on the side of" in text for text in answer.json()["warnings"])


def test_asked_for_twice_it_is_done_once(api: Api) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    first, second = sent(api, headers=key), sent(api, headers=key)

    assert first.status_code == second.status_code == 202
    assert second.content == first.content
    assert second.headers["Idempotency-Replayed"] == "true"
    answer = sent(api, headers=key, controls="1")
    assert_problem(answer, problems.IDEMPOTENCY_MISMATCH, "Idempotency-Key")


def test_without_a_seed_one_is_drawn_and_told(api: Api) -> None:
    ids = [uploaded(api, photo(0))]
    entries = [{"defect_type": "pitting", "count": 1}]
    seeds = {
        api.client.post("/v1/datasets", json={"normals": ids, "entries": entries}).json()["request"]["seed"]
        for _ in range(2)
    }

    assert len(seeds) == 2
