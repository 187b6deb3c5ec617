"""``POST /v1/augmentations``: what is accepted, and what then lies in queue and storage."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from service.store import keys
from service.store.queue import QUEUE_NAME
from service.store.registry import Registry
from tests.service.conftest import ON_BOTH, SCRATCH, Api
from tests.service.pictures import encoded, mask, part, part_16_bit

pytestmark = ON_BOTH

FILES = {"image": ("part.png", encoded(part())), "mask": ("mask.png", encoded(mask()))}


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_a_form_is_accepted_as_a_job(api: Api) -> None:
    answer = api.client.post("/v1/augmentations", files=FILES, data={"defect_type": "scratch", "count": "3"})

    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert job["status"] == "queued"
    assert [item["status"] for item in job["items"]] == ["pending"] * 3
    assert api.client.get(answer.headers["location"]).json() == job | {"queue_position": 0}


def test_an_accepted_job_is_in_the_queue_and_its_inputs_in_storage(api: Api) -> None:
    job = api.client.post("/v1/augmentations", files=FILES, data={"defect_type": "scratch", "count": "9"}).json()

    shards = api.redis.lrange(f"rq:queue:{QUEUE_NAME}", 0, -1)
    assert shards == [f"{job['id']}-{shard}".encode() for shard in range(api.settings.shard_window)]
    manifest = api.jobs.manifest("default", job["id"])
    assert manifest.augmentation.count == 9
    assert manifest.augmentation.defects[0].defect_type_tenant == "builtin"
    stored_image = pixels(api.storage.get(keys.job_input("default", job["id"])))
    stored_mask = pixels(api.storage.get(keys.job_mask("default", job["id"])))
    assert np.array_equal(stored_image, np.asarray(part()))
    assert np.array_equal(stored_mask, np.asarray(mask()))


def test_the_request_is_answered_with_every_default_filled_in(api: Api) -> None:
    answer = api.client.post("/v1/augmentations", files=FILES, data={"defect_type": "scratch"})

    request = answer.json()["request"]
    assert 0 <= request.pop("seed") < 2**53
    assert request == {
        "defect_type": "scratch",
        "defect_type_version": 1,
        "method": "diffusion",
        "count": 1,
        "severity": 0.6,
        "guidance": 1.0,
        "steps": 20,
        "seed_share": 0.7,
        "part": "a metal part",
        "min_quality": 0.3,
        "black_level": None,
        "white_level": None,
        "pixel_size_um": None,
        "control": False,
        "mask": "sent",
        "metadata": {},
    }


def test_every_field_of_a_form_reaches_the_request(api: Api) -> None:
    sent = {
        "defect_type": "scratch@1",
        "count": "2",
        "seed": "9007199254740991",
        "severity": "0.25",
        "guidance": "2.5",
        "steps": "30",
        "part": "eine Welle, geschliffen – 16µm",
        "min_quality": "0",
        "black_level": "500",
        "white_level": "4000",
        "pixel_size_um": "3.2",
        "control": "true",
        "method": "diffusion",
        "metadata": '{"order": 17, "line": ["A", null]}',
        "dry_run": "false",
    }
    files = FILES | {"image": ("part.tif", encoded(part_16_bit(), "TIFF"))}

    request = api.client.post("/v1/augmentations", files=files, data=sent).json()["request"]

    assert request["seed"] == 2**53 - 1
    assert (request["severity"], request["guidance"], request["steps"]) == (0.25, 2.5, 30)
    assert request["part"] == sent["part"]
    assert (request["black_level"], request["white_level"]) == (500, 4000)
    assert request["control"] is True
    assert request["metadata"] == {"order": 17, "line": ["A", None]}


def test_a_size_and_a_contrast_reach_the_request_and_what_is_absent_is_not_told(api: Api) -> None:
    wish = {"size": {"min": 20, "max": 90, "unit": "um"}, "contrast": {"min": 0.1, "max": 0.3}}
    texts = {name: json.dumps(value) for name, value in wish.items()}
    data = {"defect_type": "scratch", "pixel_size_um": "2.5", **texts}
    job = api.client.post("/v1/augmentations", files=FILES, data=data).json()

    assert {name: job["request"][name] for name in wish} == wish
    (defect,) = api.jobs.manifest("default", job["id"]).augmentation.defects
    assert defect.size.pixels(2.5) == (8.0, 36.0)
    several = [{"defect_type": "scratch", **wish}, {"defect_type": "scratch"}]
    beside = encoded(Image.fromarray(np.roll(np.asarray(mask()), 25, axis=1)))
    files = {"image": FILES["image"], "mask_0": FILES["mask"], "mask_1": ("mask.png", beside)}
    data = {"defects": json.dumps(several), "pixel_size_um": "2"}
    answer = api.client.post("/v1/augmentations", files=files, data=data)
    first, second = answer.json()["request"]["defects"]
    assert {name: first[name] for name in wish} == wish
    assert not set(wish) & set(second)


def test_what_keeps_real_defects_can_be_pasted(api: Api) -> None:
    record = SCRATCH.model_copy(update={"tenant": "default", "name": "pit", "exemplars_sha256": "sha256:1"})
    Registry(api.storage).publish(record)
    try:
        answer = api.client.post("/v1/augmentations", files=FILES, data={"defect_type": "pit", "method": "paste"})
    finally:
        api.storage.delete_prefix("default/defect-types/")

    assert answer.status_code == 202
    assert answer.json()["request"]["method"] == "paste"
    assert api.jobs.manifest("default", answer.json()["id"]).augmentation.method == "paste"


def test_a_control_is_not_pasted(api: Api) -> None:
    record = SCRATCH.model_copy(update={"tenant": "default", "name": "pit", "exemplars_sha256": "sha256:1"})
    Registry(api.storage).publish(record)
    sent = {"defect_type": "pit", "method": "paste", "control": "true"}
    try:
        answer = api.client.post("/v1/augmentations", files=FILES, data=sent)
    finally:
        api.storage.delete_prefix("default/defect-types/")

    assert answer.status_code == 422
    assert answer.json()["field"] == "control"


def test_uploads_are_accepted_as_json(api: Api) -> None:
    image, requested = (
        api.client.post("/v1/uploads", files={"file": FILES[name]}).json()["id"] for name in ("image", "mask")
    )

    answer = api.client.post(
        "/v1/augmentations", json={"image": image, "mask": requested, "defect_type": "scratch", "seed": 7}
    )

    assert answer.status_code == 202
    job = answer.json()
    assert job["request"]["seed"] == 7
    assert api.storage.get(keys.job_input("default", job["id"])) == api.storage.get(
        keys.upload_canonical("default", image)
    )
    assert np.array_equal(pixels(api.storage.get(keys.job_mask("default", job["id"]))), np.asarray(mask()))


def test_form_and_uploads_of_the_same_files_give_the_same_input(api: Api) -> None:
    files = {
        "image": ("part.jpg", encoded(part(), "JPEG", quality=90)),
        "mask": ("mask.jpg", encoded(mask(), "JPEG", quality=90)),
    }
    by_form = api.client.post(
        "/v1/augmentations", files=files, data={"defect_type": "scratch", "seed": "1"}
    ).json()
    ids = {name: api.client.post("/v1/uploads", files={"file": files[name]}).json()["id"] for name in files}
    by_ids = api.client.post("/v1/augmentations", json={**ids, "defect_type": "scratch", "seed": 1}).json()

    first, second = (api.jobs.manifest("default", job["id"]) for job in (by_form, by_ids))
    assert first.image == second.image
    assert first.augmentation == second.augmentation
    assert len(by_form["warnings"]) == len(by_ids["warnings"])
    for key in (keys.job_input, keys.job_mask):
        assert api.storage.get(key("default", by_form["id"])) == api.storage.get(key("default", by_ids["id"]))


@pytest.mark.parametrize("as_form", [True, False], ids=["form", "json"])
def test_a_dry_run_says_what_would_be_done_and_does_nothing(api: Api, as_form: bool) -> None:
    ids = {name: api.client.post("/v1/uploads", files={"file": FILES[name]}).json()["id"] for name in FILES}
    before = api.traces()
    if as_form:
        answer = api.client.post(
            "/v1/augmentations", files=FILES, data={"defect_type": "scratch", "seed": "7", "dry_run": "true"}
        )
    else:
        answer = api.client.post(
            "/v1/augmentations", json={**ids, "defect_type": "scratch", "seed": 7, "dry_run": True}
        )

    assert answer.status_code == 200
    plan = answer.json()
    assert plan["request"]["seed"] == 7
    assert (plan["width"], plan["height"], plan["mode"], plan["bit_depth"]) == (64, 48, "rgb", 8)
    assert plan["mask_pixels"] == 200
    assert api.traces() == before


def test_warnings_name_the_file_they_speak_of(api: Api) -> None:
    files = FILES | {"mask": ("mask.jpg", encoded(mask(), "JPEG"))}

    job = api.client.post("/v1/augmentations", files=files, data={"defect_type": "scratch"}).json()

    assert [warning for warning in job["warnings"] if warning.startswith("mask: ")]


def test_absent_seeds_are_drawn_anew(api: Api) -> None:
    seeds = {
        api.client.post("/v1/augmentations", files=FILES, data={"defect_type": "scratch"}).json()["request"][
            "seed"
        ]
        for _ in range(3)
    }

    assert len(seeds) == 3


def test_null_in_json_means_absent(api: Api) -> None:
    ids = {name: api.client.post("/v1/uploads", files={"file": FILES[name]}).json()["id"] for name in FILES}

    answer = api.client.post(
        "/v1/augmentations", json={**ids, "defect_type": "scratch", "severity": None, "part": None, "seed": None}
    )

    assert answer.json()["request"]["severity"] == 0.6


def test_text_parts_may_be_files_of_their_own(api: Api) -> None:
    files = FILES | {"metadata": ("metadata.json", json.dumps({"a": 1}).encode())}

    answer = api.client.post("/v1/augmentations", files=files, data={"defect_type": "scratch"})

    assert answer.json()["request"]["metadata"] == {"a": 1}
