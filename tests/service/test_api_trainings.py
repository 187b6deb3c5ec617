"""``POST /v1/defect-types``: what is accepted, what then lies in queue and storage, what is seen of a training."""

from __future__ import annotations

import hashlib
import io
import json
import uuid
import zipfile
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from flawsmith.contract import problems
from flawsmith.contract.base import FORMAT_VERSION, now
from flawsmith.contract.jobs import Item, ItemStatus
from flawsmith.contract.manifests import TrainingManifest
from flawsmith.contract.trainings import SamplesManifest, TrainingRecord, TrainingState
from service.store import keys
from service.store.queue import QUEUE_NAME
from tests.service.conftest import ON_BOTH, Api
from tests.service.pictures import encoded, mask, part
from tests.service.samples.sets import normals, pairs, zipped
from tests.service.test_api_events import watching
from tests.service.test_api_refusals import assert_problem

pytestmark = ON_BOTH

SHEETS = [encoded(part(8, 8)), encoded(part(16, 8))]


@pytest.fixture
def samples(tmp_path: Path) -> bytes:
    """A ZIP of three pairs and a normal image."""
    return zipped(tmp_path / "samples.zip", pairs(3) | normals(1)).read_bytes()


def post(api: Api, samples: bytes, headers: dict[str, str] | None = None, **form: str) -> httpx.Response:
    return api.client.post(
        "/v1/defect-types",
        files={"samples": ("samples.zip", samples)},
        data={"name": "pitting"} | form,
        headers=headers or {},
    )


def teach(api: Api, job_id: str, phase: str = "learning", step: int = 3, sheet: bytes = SHEETS[0]) -> None:
    """Do a worker's part of one slice."""
    digest = hashlib.sha256(sheet).hexdigest()
    api.storage.put(keys.training_sheet("default", job_id, digest), sheet, "image/png")
    state = TrainingState.model_validate(
        {
            "phase": phase,
            "step": step,
            "steps": 10,
            "losses": {"defect": 0.5, "background": 0.25},
            "sheet_url": f"/v1/jobs/{job_id}/sheet",
            "sheet_sha256": digest,
        }
    )
    state.defect_type, state.verdict = ("pitting@1", "good") if phase == "done" else (None, None)
    record = TrainingRecord(
        format_version=FORMAT_VERSION, state=state, backbone="tiny", backbone_digest="sha256:0", kept_at=now()
    )
    api.jobs.begin_shard("default", job_id, 0)
    api.jobs.keep("default", job_id, record)


def end(api: Api, job_id: str) -> None:
    """Do a worker's part of the last slice."""
    teach(api, job_id, "done", 10, SHEETS[1])
    api.jobs.finish_item("default", job_id, Item(index=0, seed=1, status=ItemStatus.SUCCEEDED))
    api.jobs.finish_shard("default", job_id, 0)


def test_a_zip_of_samples_is_accepted_as_a_training(api: Api, samples: bytes) -> None:
    answer = post(api, samples, part="a spindle", seed="7", steps="200", metadata='{"line": 4}')

    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["kind"], job["status"], job["items"]) == ("training", "queued", [])
    assert job["progress"] == {"done": 0, "total": 1, "step": 0.0}
    assert job["request"] == {
        "name": "pitting",
        "samples_of": None,
        "part": "a spindle",
        "description": "",
        "kind": "structural",
        "backbone": None,
        "steps": 200,
        "rank": None,
        "seed": 7,
        "samples": 3,
        "normals": 1,
        "metadata": {"line": 4},
    }
    assert job["training"] == {
        "phase": "preparing",
        "step": 0,
        "steps": 0,
        "losses": {},
        "defect_type": None,
        "sheet_url": None,
        "sheet_sha256": None,
        "verdict": None,
    }
    assert api.client.get(answer.headers["location"]).json() == job | {"queue_position": 0}
    assert api.client.get("/v1/jobs").json()["jobs"][0]["training"] == job["training"]


def test_an_accepted_training_is_in_the_queue_and_its_samples_in_storage(api: Api, samples: bytes) -> None:
    job_id = post(api, samples).json()["id"]

    assert api.redis.lrange(f"rq:queue:{QUEUE_NAME}", 0, -1) == [f"{job_id}-0".encode()]
    prefix = keys.job_prefix("default", job_id)
    names = {key.removeprefix(prefix) for key in api.storage.list(prefix)}
    assert names == {
        *(f"samples/{number}/{name}.png" for number in range(3) for name in ("image", "mask")),
        "normals/0/image.png",
        "samples.json",
        "request.json",
    }
    listed = SamplesManifest.model_validate_json(api.storage.get(prefix + "samples.json"))
    with zipfile.ZipFile(io.BytesIO(samples)) as archive:
        for number, record in enumerate(listed.samples):
            sent = archive.read(record.source)
            assert record.sha256 == hashlib.sha256(sent).hexdigest()
            stored = api.storage.get(prefix + f"samples/{number}/image.png")
            assert np.array_equal(
                np.asarray(Image.open(io.BytesIO(stored))), np.asarray(Image.open(io.BytesIO(sent)))
            )
            assert (record.image.width, record.image.height) == Image.open(io.BytesIO(sent)).size


def test_pairs_of_uploads_are_accepted_too(api: Api) -> None:
    def upload(data: bytes) -> str:
        return str(api.client.post("/v1/uploads", files={"file": data}).json()["id"])

    image, marked = upload(encoded(part())), upload(encoded(mask()))
    normal = upload(encoded(part().rotate(180)))
    body = {"name": "pitting", "samples": [{"image": image, "mask": marked}], "normals": [normal]}
    answer = api.client.post("/v1/defect-types", json=body)

    assert answer.status_code == 202
    request = answer.json()["request"]
    assert (request["samples"], request["normals"]) == (1, 1)
    prefix = keys.job_prefix("default", answer.json()["id"])
    listed = SamplesManifest.model_validate_json(api.storage.get(prefix + "samples.json"))
    assert (listed.samples[0].sha256, listed.normals[0].sha256) == (
        image.removeprefix("sha256:"),
        normal.removeprefix("sha256:"),
    )

    labelled = api.client.post("/v1/defect-types", json=body | {"label": "pit"})
    assert_problem(labelled, problems.INVALID_REQUEST, "label", "ZIP")
    unknown = {"image": image, "mask": "sha256:" + 64 * "0"}
    answer = api.client.post("/v1/defect-types", json=body | {"samples": [body["samples"][0], unknown]})
    assert_problem(answer, problems.UNKNOWN_UPLOAD, "samples.1.mask")


def test_a_dry_run_reports_on_the_samples_and_leaves_nothing(api: Api, samples: bytes) -> None:
    before = api.traces()
    answer = post(api, samples, dry_run="true")

    assert answer.status_code == 200
    plan = answer.json()
    assert plan["request"]["samples"] == 3
    assert len(plan["report"]["samples"]) == 3
    assert plan["report"]["normals"] == 1
    assert "few-pairs" in [advice["code"] for advice in plan["report"]["advice"]]
    assert api.traces() == before


def test_what_is_poor_in_the_samples_is_said_with_the_job(api: Api, samples: bytes) -> None:
    assert any("pairs" in warning for warning in post(api, samples).json()["warnings"])


@pytest.mark.parametrize(
    ("form", "at", "word"),
    [
        ({"name": "Pitting!"}, "name", "lower-case"),
        ({"steps": "1"}, "steps", "between 10 and"),
        ({"rank": "0"}, "rank", "between 1 and"),
        ({"kind": "magical"}, "kind", "logical"),
        ({"backbone": "/etc"}, "backbone", "flawsmith-small-1"),
        ({"backbone": "somebody/elses"}, "backbone", "known"),
        ({"part": ""}, "part", "1 to 200"),
        ({"stepps": "20"}, "stepps", "steps"),
    ],
)
def test_parameters_that_cannot_be_are_refused(
    api: Api, samples: bytes, form: dict[str, str], at: str, word: str
) -> None:
    before = api.traces()
    assert_problem(post(api, samples, **form), problems.INVALID_REQUEST, at, word)
    assert api.traces() == before


def test_a_wrong_arrangement_is_taught_as_one(api: Api, samples: bytes) -> None:
    job = post(api, samples, kind="logical").json()
    assert job["request"]["kind"] == "logical"
    manifest = api.jobs.manifest("default", job["id"])
    assert isinstance(manifest, TrainingManifest)
    assert manifest.training.kind == "logical"


def test_a_backbone_that_is_known_is_taken(api: Api, samples: bytes) -> None:
    assert post(api, samples, backbone="flawsmith-small-1").json()["request"]["backbone"] == "flawsmith-small-1"


def test_samples_that_cannot_be_taught_from_are_refused(api: Api, tmp_path: Path) -> None:
    before = api.traces()
    nothing = zipped(tmp_path / "nothing.zip", {"readme.txt": b"none"}).read_bytes()
    assert_problem(post(api, nothing), problems.INVALID_SAMPLES, "samples")
    assert_problem(post(api, b"no zip"), problems.INVALID_SAMPLES, "samples")
    answer = api.client.post("/v1/defect-types", files={"normals": nothing}, data={"name": "pitting"})
    assert_problem(answer, problems.INVALID_REQUEST, "samples", "ZIP")
    odd = api.client.post("/v1/defect-types", json={"name": "pitting", "samples": [{"image": "x"}]})
    assert_problem(odd, problems.INVALID_REQUEST, "samples.0.image", "POST /v1/uploads")
    for body in ({"samples": []}, {"samples": 3}, {}):
        answer = api.client.post("/v1/defect-types", json={"name": "pitting"} | body)
        assert_problem(answer, problems.INVALID_REQUEST, "samples", "pairs of upload ids")
    assert_problem(
        api.client.post("/v1/defect-types", content=b"x", headers={"Content-Type": "application/zip"}),
        problems.UNSUPPORTED_MEDIA_TYPE,
        None,
    )
    assert api.traces() == before


def test_a_training_that_is_asked_for_twice_is_made_once(api: Api, samples: bytes) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    first, second = post(api, samples, key), post(api, samples, key)

    assert first.status_code == second.status_code == 202
    assert second.content == first.content
    assert second.headers["idempotency-replayed"] == "true"
    assert len(api.client.get("/v1/jobs").json()["jobs"]) == 1
    other = post(api, samples, key, part="another")
    assert_problem(other, problems.IDEMPOTENCY_MISMATCH, "Idempotency-Key")


def test_progress_is_shown_while_a_training_goes_on(api: Api, samples: bytes) -> None:
    job_id = post(api, samples).json()["id"]
    teach(api, job_id)

    job = api.client.get(f"/v1/jobs/{job_id}").json()
    assert job["status"] == "running"
    assert job["progress"] == {"done": 0, "total": 1, "step": 0.3}
    assert job["training"]["losses"] == {"defect": 0.5, "background": 0.25}
    assert job["training"]["defect_type"] is None
    assert job["eta"] is not None


def test_the_sheet_grows_and_stays_at_the_end(api: Api, samples: bytes) -> None:
    job_id = post(api, samples).json()["id"]
    address = f"/v1/jobs/{job_id}/sheet"
    assert_problem(api.client.get(address), problems.ITEM_NOT_READY, None)

    teach(api, job_id)
    first = api.client.get(address, follow_redirects=True)
    assert first.content == SHEETS[0]
    assert first.headers["cache-control"] == "private, no-cache"
    end(api, job_id)
    last = api.client.get(address, headers={"If-None-Match": first.headers["etag"]})
    assert last.content == SHEETS[1]
    assert "immutable" in last.headers["cache-control"]


def test_a_training_that_has_ended_names_its_version(api: Api, samples: bytes) -> None:
    job_id = post(api, samples).json()["id"]
    end(api, job_id)

    job = api.client.get(f"/v1/jobs/{job_id}").json()
    assert (job["status"], job["eta"], job["items"]) == ("succeeded", None, [])
    assert (job["training"]["phase"], job["training"]["defect_type"]) == ("done", "pitting@1")
    assert job["training"]["verdict"] == "good"
    archive = zipfile.ZipFile(io.BytesIO(api.client.get(f"/v1/jobs/{job_id}/archive").content))
    assert archive.namelist() == ["job.json", "sheet.png"]
    assert json.loads(archive.read("job.json"))["id"] == job_id


def test_a_training_has_no_items_and_no_input(api: Api, samples: bytes) -> None:
    job_id = post(api, samples).json()["id"]
    end(api, job_id)

    for path in ("input", "mask", "items/0/image", "items/0/mask", "items/0/preview"):
        assert_problem(api.client.get(f"/v1/jobs/{job_id}/{path}"), problems.NOT_FOUND, None, "no augmentation")


def test_a_canceled_training_that_was_not_begun_ends_at_once(api: Api, samples: bytes) -> None:
    job_id = post(api, samples).json()["id"]
    assert api.client.post(f"/v1/jobs/{job_id}/cancel").json()["status"] == "canceled"
    assert api.redis.llen(f"rq:queue:{QUEUE_NAME}") == 0
    assert api.client.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert list(api.storage.list(keys.job_prefix("default", job_id))) == []


def test_events_tell_how_a_training_goes_on(api: Api, samples: bytes) -> None:
    job_id = post(api, samples).json()["id"]
    teach(api, job_id)
    seen = []
    with watching(api, job_id) as events:
        for event in events:
            seen.append((event.event, json.loads(event.data)))
            if len(seen) == 1:
                teach(api, job_id, step=6)
            elif len(seen) == 2:
                end(api, job_id)

    assert [event for event, _ in seen] == ["status", "progress", "status"]
    assert [job["training"]["step"] for _, job in seen] == [3, 6, 10]
    assert seen[-1][1]["status"] == "succeeded"
