"""``samples_of``: a version's samples teach another one."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import httpx
import pytest

from flawsmith.contract import problems
from flawsmith.contract.base import now
from flawsmith.contract.defect_types import DefectTypeCard
from flawsmith.contract.files import SAMPLES_FILE
from flawsmith.contract.jobs import JobKind
from flawsmith.contract.manifests import TrainingManifest
from flawsmith.contract.trainings import SamplesManifest
from service.store import keys
from service.store.registry import Registry
from tests.service.bundles import made
from tests.service.conftest import Api
from tests.service.samples.sets import normals, pairs, zipped
from tests.service.test_api_refusals import assert_problem
from tests.service.test_api_trainings import end, post

SCORES = {"realism": 0.75, "novelty": 0.5, "quality": 0.5}


@pytest.fixture
def taught(api: Api, tmp_path: Path) -> str:
    """Id of the training that made ``pitting@1`` from three pairs and a normal image."""
    api.storage.delete_prefix("default/")
    samples = zipped(tmp_path / "samples.zip", pairs(3) | normals(1)).read_bytes()
    job_id = str(post(api, samples, part="a spindle", description="Small craters.").json()["id"])
    end(api, job_id)
    publish(api, job_id)
    return job_id


def publish(api: Api, job_id: str | None, version: int = 1) -> None:
    card = DefectTypeCard(samples=[64 * "1"], scores=SCORES, verdict="fair")
    made.publish(api.storage, made.record(version=version, job_id=job_id, card=card, created_at=now()))


def ask(api: Api, of: str = "pitting@1", headers: dict[str, str] | None = None, **more: object) -> httpx.Response:
    body = {"name": "pitting", "samples_of": of} | more
    return api.client.post("/v1/defect-types", json=body, headers=headers or {})


def listed(api: Api, job_id: str) -> SamplesManifest:
    return SamplesManifest.model_validate_json(api.storage.get(keys.job_file("default", job_id, SAMPLES_FILE)))


def files_of(api: Api, job_id: str) -> dict[str, bytes]:
    """Samples and normal images of a training, by name."""
    prefix = keys.job_prefix("default", job_id)
    names = [key.removeprefix(prefix) for key in api.storage.list(prefix)]
    return {name: api.storage.get(prefix + name) for name in names if name.startswith(("samples/", "normals/"))}


def test_a_version_is_taught_anew_from_copies_of_its_samples(api: Api, taught: str) -> None:
    answer = ask(api, backbone="flawsmith-small-1", steps=50)

    assert answer.status_code == 202
    job = answer.json()
    assert job["kind"] == JobKind.TRAINING
    request = job["request"]
    assert (request["samples_of"], request["samples"], request["normals"]) == ("pitting@1", 3, 1)
    assert (request["backbone"], request["steps"]) == ("flawsmith-small-1", 50)
    assert listed(api, job["id"]) == listed(api, taught)
    assert files_of(api, job["id"]) == files_of(api, taught)
    assert len(files_of(api, taught)) == 7


def test_what_is_not_said_is_as_it_was_there(api: Api, taught: str) -> None:
    request = ask(api).json()["request"]
    assert (request["part"], request["description"]) == ("a spindle", "Small craters.")
    request = ask(api, name="dent", part="part").json()["request"]
    assert (request["name"], request["part"], request["description"]) == ("dent", "part", "Small craters.")


def test_the_job_knows_what_the_earlier_version_said_of_itself(api: Api, taught: str) -> None:
    job_id = ask(api, "pitting").json()["id"]

    manifest = api.jobs.manifest("default", job_id)
    assert isinstance(manifest, TrainingManifest)
    assert manifest.retrained_from is not None
    assert manifest.retrained_from.model_dump() == {
        "defect_type": "pitting@1",
        "backbone": made.BACKBONE,
        "scores": SCORES,
        "verdict": "fair",
    }


def test_a_form_may_name_a_version_too(api: Api, taught: str) -> None:
    form = {"name": (None, "pitting"), "samples_of": (None, "pitting"), "seed": (None, "5")}
    answer = api.client.post("/v1/defect-types", files=form)
    assert answer.status_code == 202
    assert (answer.json()["request"]["samples_of"], answer.json()["request"]["seed"]) == ("pitting@1", 5)


def test_a_dry_run_reports_on_the_samples_and_leaves_nothing(api: Api, taught: str) -> None:
    before = api.traces()
    answer = ask(api, dry_run=True)

    assert answer.status_code == 200
    plan = answer.json()
    assert plan["request"]["samples_of"] == "pitting@1"
    sources = [sample["source"] for sample in plan["report"]["samples"]]
    assert sources == [sample.source for sample in listed(api, taught).samples]
    assert all(sample["mask_pixels"] for sample in plan["report"]["samples"])
    assert plan["report"]["normals"] == 1
    assert "few-pairs" in [advice["code"] for advice in plan["report"]["advice"]]
    assert api.traces() == before


def test_neither_training_needs_the_others_files(api: Api, taught: str) -> None:
    first = ask(api).json()["id"]
    before = files_of(api, first)
    assert api.client.delete("/v1/defect-types/pitting").status_code == 204
    assert api.client.delete(f"/v1/jobs/{taught}").status_code == 204
    assert files_of(api, first) == before

    end(api, first)
    publish(api, first, version=2)
    second = ask(api, "pitting@2").json()["id"]
    assert api.client.delete(f"/v1/jobs/{first}").status_code == 204
    assert files_of(api, second) == before


def test_a_version_without_samples_is_refused_with_the_remedy(api: Api, taught: str) -> None:
    Registry(api.storage).publish(made.record(version=7, job_id=None))
    for of, why in (("scratch@1", "comes with Flawsmith"), ("pitting@7", "was imported")):
        assert_problem(
            ask(api, of), problems.INVALID_SAMPLES, "samples_of", of, why, "send the samples themselves"
        )
    for of in ("pitting@9", "dent", "pitting@2"):
        assert_problem(ask(api, of), problems.UNKNOWN_DEFECT_TYPE, "samples_of", of, "GET /v1/defect-types")
    assert api.client.delete(f"/v1/jobs/{taught}").status_code == 204
    before = api.traces()
    assert_problem(ask(api), problems.INVALID_SAMPLES, "samples_of", "pitting@1", taught, "deleted")
    assert api.traces() == before


def test_samples_that_go_while_they_are_read_are_refused_as_well(api: Api, taught: str) -> None:
    api.storage.delete(keys.job_file("default", taught, keys.sample_file("samples", 2, "mask")))
    before = api.traces()
    assert_problem(ask(api), problems.INVALID_SAMPLES, "samples_of", "pitting@1", "deleted")
    assert api.traces() == before


def test_samples_are_sent_or_lent_and_not_both(api: Api, taught: str, tmp_path: Path) -> None:
    pair = {"image": "sha256:" + 64 * "0", "mask": "sha256:" + 64 * "0"}
    assert_problem(ask(api, samples=[pair]), problems.INVALID_REQUEST, "samples", "samples_of")
    assert_problem(ask(api, normals=[pair["mask"]]), problems.INVALID_REQUEST, "normals", "samples_of")
    assert_problem(ask(api, label="pit"), problems.INVALID_REQUEST, "label", "samples_of")
    samples = zipped(tmp_path / "more.zip", pairs(1)).read_bytes()
    assert_problem(post(api, samples, samples_of="pitting"), problems.INVALID_REQUEST, "samples", "samples_of")
    for of in ("Pitting", "pitting@0", "", 3):
        answer = api.client.post("/v1/defect-types", json={"name": "pitting", "samples_of": of})
        assert_problem(answer, problems.INVALID_REQUEST, "samples_of", "pitting@2")
    assert_problem(
        api.client.post("/v1/defect-types", json={"name": "pitting"}),
        problems.INVALID_REQUEST,
        "samples",
        "pairs of upload ids",
        "samples_of",
    )


def test_an_unknown_backbone_is_refused_before_samples_are_read(api: Api, taught: str) -> None:
    assert_problem(ask(api, backbone="/etc"), problems.INVALID_REQUEST, "backbone", "flawsmith-small-1")


def test_asked_for_twice_it_is_done_once_even_when_the_version_went_meanwhile(api: Api, taught: str) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    first = ask(api, headers=key)
    assert api.client.delete("/v1/defect-types/pitting").status_code == 204
    second = ask(api, headers=key)

    assert first.status_code == second.status_code == 202
    assert second.content == first.content
    assert_problem(ask(api, "pitting", headers=key), problems.IDEMPOTENCY_MISMATCH, "Idempotency-Key")


def test_a_canceled_one_leaves_the_samples_it_was_lent(api: Api, taught: str) -> None:
    before = files_of(api, taught)
    job_id = ask(api).json()["id"]
    assert api.client.post(f"/v1/jobs/{job_id}/cancel").json()["status"] == "canceled"
    assert api.client.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert files_of(api, taught) == before


def test_its_card_is_answered_and_travels(api: Api, taught: str) -> None:
    card = {
        "samples": [64 * "1"],
        "verdict": "good",
        "retrained_from": {"defect_type": "pitting@1", "backbone": "other", "scores": SCORES, "verdict": "poor"},
    }
    record = made.record(version=3, card=DefectTypeCard.model_validate(card))
    made.publish(api.storage, record)
    shown = api.client.get("/v1/defect-types/pitting?version=3").json()["card"]
    assert shown["retrained_from"] == card["retrained_from"]

    bundle = api.client.get("/v1/defect-types/pitting/versions/3/bundle").content
    manifest = json.loads(made.contents(bundle)["manifest.json"])
    assert manifest["card"]["retrained_from"] == card["retrained_from"]
    path = "/v1/defect-types/moved/versions/1/bundle"
    answer = api.client.put(path, content=bundle, headers={"Content-Type": "application/zip"})
    assert answer.json()["defect_type"]["card"]["retrained_from"] == card["retrained_from"]
