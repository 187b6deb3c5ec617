"""`evaluate` of the clients and `flawsmith evaluate NAME --hold-out`: sent, waited for, and the verdict told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from flawsmith import AsyncFlawsmith, Flawsmith, InvalidParameterError
from flawsmith.contract.evaluations import Evaluation, EvaluationMetric, EvaluationVerdict
from flawsmith.contract.jobs import JobStatus
from tests.flawsmith.running import run_flawsmith
from tests.flawsmith.test_training import names, written
from tests.flawsmith.training_server import JOB_ID, TrainingServer, training_server
from tests.service.samples.sets import normals, pairs, zipped


@pytest.fixture
def server() -> Iterator[TrainingServer]:
    with training_server() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of four defective photos and two good ones."""
    return written(tmp_path / "held", pairs(4) | normals(2) | {"notes.txt": b"x"})


def test_a_folder_is_sent_as_one_zip_and_again_when_the_service_is_busy(
    server: TrainingServer, folder: Path
) -> None:
    server.busy = 1
    with Flawsmith(server.url) as client:
        job = client.evaluate(
            "pitting@2", folder, count=50, metric=EvaluationMetric.ESCAPES_1, metadata={"line": 3}
        )
    assert job.id == JOB_ID
    assert server.texts == {
        "defect_type": "pitting@2",
        "count": "50",
        "metric": "escapes-1",
        "metadata": '{"line": 3}',
    }
    assert names(server.files["hold_out"]) == sorted(pairs(4) | normals(2))
    assert len(server.keys) == 2
    assert len(set(server.keys)) == 1
    assert server.keys[0]


def test_a_zip_is_sent_as_it_is(server: TrainingServer, tmp_path: Path) -> None:
    path = zipped(tmp_path / "held.zip", pairs(2) | normals(1))
    with Flawsmith(server.url) as client:
        client.evaluate("pitting", path, idempotency_key="one")
    assert server.files["hold_out"] == path.read_bytes()
    assert server.keys == ["one"]


def test_what_cannot_be_right_is_not_sent(server: TrainingServer, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with Flawsmith(server.url) as client:
        with pytest.raises(InvalidParameterError, match="cannot be read"):
            client.evaluate("pitting", tmp_path / "absent.zip")
        with pytest.raises(InvalidParameterError, match="holds no image"):
            client.evaluate("pitting", tmp_path / "empty")
        with pytest.raises(InvalidParameterError, match="names no defect type"):
            client.evaluate("Pitting@0", folder)
        with pytest.raises(InvalidParameterError, match="count"):
            client.evaluate("pitting", folder, count=0)
    assert server.keys == []


def test_async_does_the_same(server: TrainingServer, folder: Path) -> None:
    async def session() -> None:
        async with AsyncFlawsmith(server.url) as client:
            job = await client.wait(await client.evaluate("pitting", folder))
            assert job.status is JobStatus.SUCCEEDED
            assert job.evaluation is not None
            assert job.evaluation.result is not None

    asyncio.run(session())
    assert names(server.files["hold_out"]) == sorted(pairs(4) | normals(2))


def test_the_command_sends_and_says_the_job(server: TrainingServer, folder: Path) -> None:
    options = ("--count", "9", "--controls", "6", "--detectors", "2", "--steps", "20", "--seed", "7")
    options += ("--parts", "{part}_*")
    done = run_flawsmith("evaluate", "pitting", "--hold-out", folder, *options, "--url", server.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{JOB_ID}\n"
    assert f"flawsmith watch {JOB_ID}" in done.stderr
    assert server.texts == {
        "defect_type": "pitting",
        "count": "9",
        "controls": "6",
        "detectors": "2",
        "steps": "20",
        "metric": "auroc",
        "parts": "{part}_*",
        "seed": "7",
    }


@pytest.mark.parametrize(("verdict", "status"), [("helps", 0), ("do not use", 4), ("cannot tell", 5)])
def test_the_command_waits_shows_the_figures_and_exits_as_the_verdict_says(
    server: TrainingServer, folder: Path, verdict: EvaluationVerdict, status: int
) -> None:
    server.verdict = verdict
    options = ("--hold-out", folder, "--wait", "--url", server.url)
    done = run_flawsmith("evaluate", "pitting", *options)
    assert done.returncode == status, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"Verdict: {verdict}"
    assert "Hold-out: 2 good images of 2 parts, 4 defective ones of 4" in lines
    assert "Detectors: 3 without synthetic data, 3 with it" in lines
    assert "image AUROC" in done.stdout
    if verdict == "helps":
        server.looks = 0
        done = run_flawsmith("evaluate", "pitting", "--json", *options)
        assert Evaluation.model_validate_json(done.stdout).verdict == verdict


def test_an_evaluation_that_fails_exits_with_1(server: TrainingServer, folder: Path) -> None:
    server.fails = True
    done = run_flawsmith("evaluate", "pitting", "--hold-out", folder, "--wait", "--url", server.url)
    assert done.returncode == 1
    assert "the loss is not finite" in done.stderr
    assert done.stdout == ""


def test_a_hold_out_that_is_refused_exits_with_2(server: TrainingServer, tmp_path: Path) -> None:
    folder = written(tmp_path / "held", normals(1))
    done = run_flawsmith("evaluate", "pitting", "--hold-out", folder, "--url", server.url)
    assert done.returncode == 2
    assert "images/ and masks/" in done.stderr


def test_either_predictions_or_a_hold_out_is_judged(server: TrainingServer, folder: Path, tmp_path: Path) -> None:
    scores = tmp_path / "scores.csv"
    scores.write_text("image,type,without,with\n")
    for arguments, words in (
        ((), "either --predictions"),
        (("pitting",), "either --predictions"),
        (("--hold-out", folder), "name the defect type"),
        (("pitting", "--hold-out", folder, "--predictions", scores), "either --predictions"),
        (("pitting", "--predictions", scores), "a defect type goes with --hold-out"),
        (("--predictions", scores, "--detectors", "3"), "--detectors goes with --hold-out"),
    ):
        done = run_flawsmith("evaluate", *arguments)
        assert done.returncode == 2, arguments
        assert words in " ".join(done.stderr.replace("│", " ").split()), arguments
    assert server.keys == []


def test_watch_and_jobs_tell_the_verdict(server: TrainingServer, folder: Path) -> None:
    with Flawsmith(server.url) as client:
        client.evaluate("pitting", folder)
    done = run_flawsmith("watch", JOB_ID, "--url", server.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"{JOB_ID} queued, step 0 of 20",
        f"{JOB_ID} running, training, step 10 of 20",
        f"{JOB_ID} succeeded, step 20 of 20, helps: gain of auroc +0.125 [+0.062, +0.250]",
    ]
    listed = run_flawsmith("jobs", "--url", server.url)
    assert "succeeded, helps" in listed.stdout
    assert "pitting@2" in listed.stdout
    page = json.loads(run_flawsmith("jobs", "--json", "--url", server.url).stdout)
    assert page["jobs"][0]["evaluation"]["result"]["verdict"] == "helps"
