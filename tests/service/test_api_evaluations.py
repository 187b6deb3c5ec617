"""``POST /v1/evaluations``: what is accepted, what lies in queue and storage, what is seen of an evaluation."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from flawsmith.contract import problems
from flawsmith.contract.base import FORMAT_VERSION, now
from flawsmith.contract.evaluations import (
    Evaluation,
    EvaluationMetric,
    EvaluationRecord,
    EvaluationState,
    HoldOut,
    HoldOutManifest,
)
from flawsmith.contract.files import SAMPLES_FILE
from flawsmith.contract.ids import new_job_id
from flawsmith.contract.jobs import Item, ItemStatus
from flawsmith.contract.manifests import EvaluationManifest, TrainingManifest
from flawsmith.contract.trainings import ResolvedTraining, SampleRecord, SamplesManifest
from flawsmith.contract.uploads import ImageInfo
from service.images.canonical import CanonicalImage, pixels_sha256
from service.images.encoding import encode_mask_png, encode_png
from service.store import keys
from service.store.queue import QUEUE_NAME
from service.store.registry import Registry
from tests.service.bundles import made
from tests.service.conftest import Api
from tests.service.images.files import noise
from tests.service.samples.sets import HEIGHT, WIDTH, mask, mask_pixels, normals, pairs, photo, zipped
from tests.service.test_api_datasets import BURR, manifest_of, sent
from tests.service.test_api_events import watching
from tests.service.test_api_refusals import assert_problem
from tests.service.test_api_retraining import files_of, listed, publish
from tests.service.test_api_trainings import end as learn

FOUND = Evaluation(
    verdict="helps",
    metric=EvaluationMetric.AUROC,
    gain=0.125,
    interval=(0.0625, 0.25),
    reasons=["image AUROC is better by 0.125 [0.062, 0.250]"],
    hold_out=HoldOut(good_images=2, good_parts=2, defective_images=2, defective_parts=2),
    trainings_without=3,
    trainings_with=3,
    figures=[],
)


def good(count: int, first: int = 0) -> dict[str, bytes]:
    return {f"good/{number:03d}.png": photo(2000 + number) for number in range(first, first + count)}


@pytest.fixture
def taught(api: Api) -> str:
    """Id of the training that made ``pitting@1`` from the photos of `pairs` and `normals`, three and one."""
    api.storage.delete_prefix("default/")
    files, listed = dict[str, bytes](), dict[str, list[SampleRecord]]()
    for kind, seeds in (("samples", range(3)), ("normals", range(1000, 1001))):
        listed[kind] = []
        for number, seed in enumerate(seeds):
            pixels = noise(HEIGHT, WIDTH, 3, seed=seed)
            info = ImageInfo(
                width=WIDTH,
                height=HEIGHT,
                mode="rgb",
                bit_depth=8,
                source_format="png",
                lossy=False,
                pixels_sha256=pixels_sha256(pixels),
            )
            files[f"{kind}/{number}/image.png"] = encode_png(CanonicalImage(pixels, info))
            if kind == "samples":
                files[f"{kind}/{number}/mask.png"] = encode_mask_png(mask_pixels() > 0)
            listed[kind].append(
                SampleRecord(sha256=64 * "1", group=info.pixels_sha256, source=f"{number}.png", image=info)
            )
    manifest = TrainingManifest(
        format_version=FORMAT_VERSION,
        tenant="default",
        job_id=new_job_id(),
        created_at=now(),
        training=ResolvedTraining(name="pitting", part="part", seed=1, samples=3, normals=1),
    )
    files[SAMPLES_FILE] = SamplesManifest(format_version=FORMAT_VERSION, **listed).model_dump_json().encode()
    api.jobs.accept(manifest, files)
    learn(api, manifest.job_id)
    api.redis.delete(f"rq:queue:{QUEUE_NAME}")  # who learns takes it
    publish(api, manifest.job_id)
    return manifest.job_id


@pytest.fixture
def held(tmp_path: Path) -> bytes:
    """A hold-out of two defective photos and two good ones, none of which the type was taught from."""
    return zipped(tmp_path / "held.zip", pairs(2, first=100) | good(2)).read_bytes()


def post(api: Api, hold_out: bytes, headers: dict[str, str] | None = None, **form: str) -> httpx.Response:
    return api.client.post(
        "/v1/evaluations",
        files={"hold_out": ("held.zip", hold_out)},
        data={"defect_type": "pitting@1"} | form,
        headers=headers or {},
    )


def advance(
    api: Api, job_id: str, phase: str = "training", step: int = 3, found: Evaluation | None = None
) -> None:
    """Do a worker's part of one slice."""
    state = EvaluationState.model_validate({"phase": phase, "step": step, "steps": 10, "result": found})
    record = EvaluationRecord(
        format_version=FORMAT_VERSION, state=state, backbone="tiny", backbone_digest="sha256:0", kept_at=now()
    )
    api.jobs.begin_shard("default", job_id, 0)
    api.jobs.keep("default", job_id, record)


def end(api: Api, job_id: str) -> None:
    """Do a worker's part of the last slice."""
    advance(api, job_id, "done", 10, FOUND)
    api.jobs.finish_item("default", job_id, Item(index=0, seed=1, status=ItemStatus.SUCCEEDED))
    api.jobs.finish_shard("default", job_id, 0)


def hold_out_of(api: Api, job_id: str) -> HoldOutManifest:
    return HoldOutManifest.model_validate_json(api.storage.get(keys.job_file("default", job_id, SAMPLES_FILE)))


def test_a_hold_out_is_accepted_as_an_evaluation(api: Api, taught: str, held: bytes) -> None:
    answer = post(api, held, count="50", seed="7", metric="escapes-1", metadata='{"line": 4}')

    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["kind"], job["status"], job["items"]) == ("evaluation", "queued", [])
    assert job["progress"] == {"done": 0, "total": 1, "step": 0.0}
    assert job["warnings"] == []
    assert job["training"] is None
    assert job["request"] == {
        "defect_type": "pitting@1",
        "count": 50,
        "controls": 40,
        "detectors": 3,
        "steps": 300,
        "metric": "escapes-1",
        "parts": None,
        "seed": 7,
        "samples": 3,
        "normals": 1,
        "defective": 2,
        "good": 2,
        "metadata": {"line": 4},
    }
    assert job["evaluation"] == {"phase": "preparing", "step": 0, "steps": 0, "result": None}
    assert api.client.get(answer.headers["location"]).json() == job | {"queue_position": 0}
    assert api.client.get("/v1/jobs").json()["jobs"][0]["evaluation"] == job["evaluation"]


def test_an_accepted_evaluation_is_queued_with_copies_of_all_it_needs(api: Api, taught: str, held: bytes) -> None:
    job_id = post(api, held).json()["id"]

    assert f"{job_id}-0".encode() in api.redis.lrange(f"rq:queue:{QUEUE_NAME}", 0, -1)
    assert files_of(api, job_id) == files_of(api, taught)
    found, lent = hold_out_of(api, job_id), listed(api, taught)
    assert (found.samples, found.normals) == (lent.samples, lent.normals)
    assert [one.source for one in found.held] == ["images/100.png", "images/101.png"]
    assert [one.source for one in found.held_normals] == ["good/000.png", "good/001.png"]
    prefix = keys.job_prefix("default", job_id)
    names = {key.removeprefix(prefix) for key in api.storage.list(prefix)} - set(files_of(api, job_id))
    assert names == {
        *(f"held/{number}/{name}.png" for number in range(2) for name in ("image", "mask")),
        *(f"held-normals/{number}/image.png" for number in range(2)),
        "samples.json",
        "request.json",
    }
    assert isinstance(api.jobs.manifest("default", job_id), EvaluationManifest)


def test_it_needs_nothing_of_the_training_any_more(api: Api, taught: str, held: bytes) -> None:
    job_id = post(api, held).json()["id"]
    before = files_of(api, job_id)

    assert api.client.delete(f"/v1/jobs/{taught}").status_code == 204
    assert files_of(api, job_id) == before


def test_classes_of_the_hold_out_are_kept_as_labels(api: Api, taught: str, tmp_path: Path) -> None:
    content = {f"test/good/{number}.png": photo(3000 + number) for number in range(2)}
    for number, kind in enumerate(("pit", "burr", "pit")):
        content[f"test/{kind}/{number}.png"] = photo(3100 + number)
        content[f"ground_truth/{kind}/{number}_mask.png"] = mask(left=number)
    answer = post(api, zipped(tmp_path / "mvtec.zip", content).read_bytes())

    job = answer.json()
    labels = {one.source: one.label for one in hold_out_of(api, job["id"]).held}
    assert labels == {"test/pit/0.png": "pit", "test/burr/1.png": "burr", "test/pit/2.png": "pit"}
    assert not [warning for warning in job["warnings"] if "several classes" in warning]


def test_photos_of_one_part_are_grouped_where_their_names_say_so(api: Api, taught: str, tmp_path: Path) -> None:
    content = {"images/b1_2.png": photo(100), "images/b1_1.png": photo(101), "images/b2_1.png": photo(102)}
    content |= {name.replace("images", "masks"): mask(left=i) for i, name in enumerate(content)}
    content |= {"good/b8_1.png": photo(103), "good/b9_1.png": photo(104), "good/b9_2.png": photo(105)}
    hold_out = zipped(tmp_path / "parts.zip", content).read_bytes()

    job = post(api, hold_out, parts="{part}_*").json()
    found = hold_out_of(api, job["id"])
    assert job["request"]["parts"] == "{part}_*"
    assert {one.source: one.group for one in (*found.held, *found.held_normals)} == {
        name: name.partition("/")[2][:2] for name in content if "masks" not in name
    }
    for pattern, parts in (("{part}_*", (2, 2)), ("", (3, 3))):
        plan = post(api, hold_out, dry_run="true", **({"parts": pattern} if pattern else {})).json()
        assert (plan["defective_parts"], plan["good_parts"]) == parts
    before = api.traces()
    answer = post(api, hold_out, parts="{part}_2")
    assert_problem(
        answer, problems.INVALID_HOLD_OUT, "parts", "'images/b1_1.png' does not fit '{part}_2'", "or none"
    )
    assert api.traces() == before


def test_classes_that_nobody_named_are_not_made_up(api: Api, taught: str, held: bytes) -> None:
    job_id = post(api, held).json()["id"]

    assert [one.label for one in hold_out_of(api, job_id).held] == [None, None]


def test_photos_that_the_type_was_taught_from_are_left_out(api: Api, taught: str, tmp_path: Path) -> None:
    content = pairs(3) | pairs(1, first=100) | normals(1) | good(2, first=5)
    job = post(api, zipped(tmp_path / "mixed.zip", content).read_bytes()).json()

    (warning,) = [text for text in job["warnings"] if "pitting@1 was taught from" in text]
    assert all(name in warning for name in ("(4)", "images/000.png", "images/002.png", "good/000.png"))
    assert (job["request"]["defective"], job["request"]["good"]) == (1, 2)
    assert [one.source for one in hold_out_of(api, job["id"]).held] == ["images/100.png"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (pairs(2) | good(1), ("all 2 photos of defective parts", "pitting@1", "add others")),
        (pairs(1, first=100) | normals(1), ("all 1 photos of good parts", "pitting@1", "add others")),
        (pairs(1, first=100), ("no photos of good parts", "`good`")),
        (good(1), ("no image of the ZIP has a mask", "images/ and masks/")),
    ],
    ids=["defective taught", "good taught", "no good", "no defective"],
)
def test_a_hold_out_by_which_nothing_can_be_judged_is_refused(
    api: Api, taught: str, tmp_path: Path, content: dict[str, bytes], words: tuple[str, ...]
) -> None:
    before = api.traces()
    hold_out = zipped(tmp_path / "held.zip", content).read_bytes()

    assert_problem(post(api, hold_out), problems.INVALID_HOLD_OUT, "hold_out", *words)
    assert api.traces() == before


def test_a_dry_run_reports_on_the_hold_out_and_leaves_nothing(api: Api, taught: str, tmp_path: Path) -> None:
    hold_out = zipped(tmp_path / "held.zip", pairs(1) | pairs(2, first=100) | good(3)).read_bytes()
    before = api.traces()
    answer = post(api, hold_out, dry_run="true")

    assert answer.status_code == 200
    plan = answer.json()
    assert (plan["request"]["defect_type"], plan["request"]["defective"]) == ("pitting@1", 2)
    assert [sample["source"] for sample in plan["report"]["samples"]] == ["images/100.png", "images/101.png"]
    assert (plan["report"]["normals"], plan["report"]["sizes"][0]["count"]) == (3, 5)
    assert plan["report"]["advice"] == []
    assert plan["warnings"] == plan["report"]["warnings"]
    assert "images/000.png" in plan["warnings"][0]
    assert api.traces() == before


def test_a_name_alone_is_its_newest_version(api: Api, taught: str, held: bytes) -> None:
    publish(api, taught, version=4)

    assert post(api, held, defect_type="pitting").json()["request"]["defect_type"] == "pitting@4"


def test_a_version_without_samples_is_refused_with_the_remedy(api: Api, taught: str, held: bytes) -> None:
    Registry(api.storage).publish(made.record(version=7, job_id=None))
    for of, why in (("scratch@1", "comes with Flawsmith"), ("pitting@7", "was imported")):
        assert_problem(
            post(api, held, defect_type=of), problems.INVALID_SAMPLES, "defect_type", of, why, "teach it here"
        )
    for of in ("pitting@9", "dent"):
        answer = post(api, held, defect_type=of)
        assert_problem(answer, problems.UNKNOWN_DEFECT_TYPE, "defect_type", of, "GET /v1/defect-types")
    assert api.client.delete(f"/v1/jobs/{taught}").status_code == 204
    assert_problem(post(api, held), problems.INVALID_SAMPLES, "defect_type", "pitting@1", taught, "deleted")


def test_samples_that_go_while_they_are_read_are_refused_as_well(api: Api, taught: str, held: bytes) -> None:
    api.storage.delete(keys.job_file("default", taught, keys.sample_file("samples", 2, "mask")))
    before = api.traces()
    assert_problem(post(api, held), problems.INVALID_SAMPLES, "defect_type", "pitting@1", "deleted")
    assert api.traces() == before


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("count", "0", "between 1 and 1000"),
        ("controls", "501", "between 0 and 500"),
        ("detectors", "11", "between 1 and 10"),
        ("steps", "9", "between 10 and 10000"),
        ("metric", "f1", "one of auroc, escapes-1, escapes-0.1, pixel-ap"),
        ("seed", "x", "between 0"),
        ("parts", "b_*", "with {part} once"),
        ("parts", "{part}*", "a text between any two"),
        ("dry_run", "1", "true or false"),
        ("defect_type", "Pitting", "name@version"),
    ],
)
def test_what_is_out_of_range_is_refused_by_name(
    api: Api, held: bytes, field: str, value: str, expected: str
) -> None:
    assert_problem(post(api, held, **{field: value}), problems.INVALID_REQUEST, field, expected)


def test_what_is_missing_is_asked_for(api: Api, held: bytes) -> None:
    form: Any = {"defect_type": (None, "pitting")}
    answer = api.client.post("/v1/evaluations", files=form)
    assert_problem(answer, problems.INVALID_REQUEST, "hold_out", "a ZIP of real photos")
    answer = api.client.post("/v1/evaluations", files={"hold_out": ("held.zip", held)})
    assert_problem(answer, problems.INVALID_REQUEST, "defect_type", "GET /v1/defect-types")
    answer = api.client.post("/v1/evaluations", files={"holdout": ("held.zip", held)})
    assert_problem(answer, problems.INVALID_REQUEST, "holdout", "did you mean hold_out?")


def test_json_is_not_accepted(api: Api) -> None:
    answer = api.client.post("/v1/evaluations", json={"defect_type": "pitting"})

    assert_problem(answer, problems.UNSUPPORTED_MEDIA_TYPE, None, "send multipart/form-data")


def test_asked_for_twice_it_is_done_once(api: Api, taught: str, held: bytes) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    first, second = post(api, held, key, count="5"), post(api, held, key, count="5")

    assert first.status_code == second.status_code == 202
    assert second.content == first.content
    assert_problem(post(api, held, key, count="6"), problems.IDEMPOTENCY_MISMATCH, "Idempotency-Key")


def test_the_job_tells_how_far_it_is_and_then_what_it_found(api: Api, taught: str, held: bytes) -> None:
    job_id = post(api, held).json()["id"]
    advance(api, job_id)
    seen = api.client.get(f"/v1/jobs/{job_id}").json()
    assert seen["status"] == "running"
    assert seen["evaluation"] == {"phase": "training", "step": 3, "steps": 10, "result": None}
    assert seen["progress"]["step"] == 0.3
    assert seen["eta"] is not None

    end(api, job_id)
    seen = api.client.get(f"/v1/jobs/{job_id}").json()
    assert (seen["status"], seen["evaluation"]["phase"]) == ("succeeded", "done")
    assert Evaluation.model_validate(seen["evaluation"]["result"]) == FOUND
    api.redis.flushall()
    assert api.client.get(f"/v1/jobs/{job_id}").json() == seen


def test_a_canceled_one_has_found_nothing(api: Api, taught: str, held: bytes) -> None:
    job_id = post(api, held).json()["id"]
    advance(api, job_id, "done", 10, FOUND)
    assert api.client.post(f"/v1/jobs/{job_id}/cancel").status_code == 200
    api.jobs.finish_shard("default", job_id, 0)

    seen = api.client.get(f"/v1/jobs/{job_id}").json()
    assert (seen["status"], seen["evaluation"]["result"]) == ("canceled", None)
    with zipfile.ZipFile(io.BytesIO(api.client.get(f"/v1/jobs/{job_id}/archive").content)) as archive:
        assert archive.namelist() == ["job.json"]


def test_who_watches_hears_of_it(api: Api, taught: str, held: bytes) -> None:
    job_id = post(api, held).json()["id"]
    with watching(api, job_id) as events:
        assert json.loads(next(events).data)["evaluation"]["phase"] == "preparing"
        advance(api, job_id, "drawing", 2)
        heard = next(one for one in events if json.loads(one.data)["evaluation"]["step"] == 2)
        assert json.loads(heard.data)["evaluation"]["phase"] == "drawing"
        end(api, job_id)
        *_, last = events
    assert json.loads(last.data)["evaluation"]["result"]["verdict"] == "helps"


def test_the_archive_holds_what_was_found(api: Api, taught: str, held: bytes) -> None:
    job_id = post(api, held).json()["id"]
    assert_problem(api.client.get(f"/v1/jobs/{job_id}/archive"), problems.NOT_FINISHED, None)
    end(api, job_id)

    answer = api.client.get(f"/v1/jobs/{job_id}/archive")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["job.json", "evaluation.json"]
        assert Evaluation.model_validate_json(archive.read("evaluation.json")) == FOUND
    assert api.client.get(f"/v1/jobs/{job_id}/archive").content == answer.content


def test_it_has_no_items_and_no_files_of_other_jobs(api: Api, taught: str, held: bytes) -> None:
    job_id = post(api, held).json()["id"]
    for path in ("input", "mask", "sheet", "items/0/image"):
        answer = api.client.get(f"/v1/jobs/{job_id}/{path}")
        assert_problem(answer, problems.NOT_FOUND, None, job_id)


def test_its_type_stays_until_it_ends(api: Api, taught: str, held: bytes) -> None:
    job_id = post(api, held).json()["id"]
    answer = api.client.delete("/v1/defect-types/pitting")
    assert_problem(answer, problems.DEFECT_TYPE_IN_USE, None, job_id, "pitting@1", "cancel")

    end(api, job_id)
    assert api.client.delete("/v1/defect-types/pitting").status_code == 204


def test_a_data_set_names_its_verdict_and_keeps_it(api: Api, taught: str, held: bytes) -> None:
    job_id = post(api, held).json()["id"]
    end(api, job_id)

    answer = sent(api, {"defect_type": "pitting", "per_image": 1}, evaluations=[job_id])

    manifest = manifest_of(api, answer)
    assert [(one.evaluation, one.defect_type, one.result) for one in manifest.verdicts] == [
        (job_id, "pitting@1", FOUND)
    ]
    assert answer.json()["request"]["evaluations"] == [job_id]
    assert api.client.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert manifest_of(api, answer).verdicts == manifest.verdicts


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("another type", ["judged pitting@1", "no entry draws that type"]),
        ("another version", ["judged pitting@1", "what is drawn is pitting@2", "evaluate that version"]),
        ("not over", ["has no verdict", "wait until it has succeeded"]),
        ("no evaluation", ["no evaluation has this id"]),
        ("twice", ["a second time"]),
    ],
)
def test_a_verdict_that_says_nothing_of_a_data_set_is_refused(
    api: Api, taught: str, held: bytes, case: str, says: list[str]
) -> None:
    job_id = post(api, held).json()["id"]
    if case != "not over":
        end(api, job_id)
    for name, version in (("burr", 1), ("pitting", 2)):
        Registry(api.storage).publish(BURR.model_copy(update={"name": name, "version": version}))
    entry = {"defect_type": {"another type": "burr", "another version": "pitting"}.get(case, "pitting@1")}
    named = {"no evaluation": [taught], "twice": [job_id, job_id]}.get(case, [job_id])

    answer = sent(api, entry | {"per_image": 1}, evaluations=named)

    assert_problem(answer, problems.INVALID_REQUEST, f"evaluations.{len(named) - 1}", *says)
