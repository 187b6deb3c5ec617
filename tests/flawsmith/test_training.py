"""Teaching from the client and the command: folders, ZIPs and uploads, checked, sent and waited for."""

from __future__ import annotations

import asyncio
import io
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flawsmith import AsyncFlawsmith, Flawsmith, FlawsmithError, InvalidParameterError
from flawsmith.contract.jobs import JobStatus
from tests.flawsmith.running import Up, run_flawsmith
from tests.flawsmith.training_server import DESCRIPTION, JOB_ID, SHEET, TrainingServer, training_server
from tests.service.images import files
from tests.service.samples.sets import EMPTY, normals, pairs, photo, zipped

UPLOADS = [f"sha256:{64 * digit}" for digit in "abcdef"]


@pytest.fixture
def server() -> Iterator[TrainingServer]:
    with training_server() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of six pairs, and what lies around in folders."""
    return written(
        tmp_path / "samples", pairs(6) | {"notes.txt": b"x", ".cache/1.png": b"x", "images/.2.png": b"x"}
    )


def written(folder: Path, content: dict[str, bytes]) -> Path:
    for name, data in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def names(data: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.namelist()


def test_a_folder_is_sent_as_one_zip(server: TrainingServer, folder: Path, tmp_path: Path) -> None:
    good = written(tmp_path / "good", normals(2))
    with Flawsmith(server.url) as client:
        job = client.train("pitting", folder, good, part="a ball screw", steps=50, metadata={"line": 3})
    assert job.id == JOB_ID
    assert server.texts == {"name": "pitting", "part": "a ball screw", "steps": "50", "metadata": '{"line": 3}'}
    assert names(server.files["samples"]) == sorted(pairs(6))
    assert names(server.files["normals"]) == sorted(normals(2))
    assert server.keys[0]


def test_a_folder_makes_the_same_bytes_whenever_it_is_sent(server: TrainingServer, folder: Path) -> None:
    sent = []
    with Flawsmith(server.url) as client:
        for _ in range(2):
            client.train("pitting", str(folder), idempotency_key="one")
            sent.append(server.files["samples"])
            os.utime(folder / "images" / "000.png", (0, 0))
    assert sent[0] == sent[1]
    assert server.keys == ["one", "one"]


def test_a_zip_is_sent_as_it_is_and_again_when_the_service_is_busy(server: TrainingServer, tmp_path: Path) -> None:
    path = zipped(tmp_path / "set.zip", pairs(3))
    server.busy = 2
    with Flawsmith(server.url) as client:
        client.train("pitting", path)
    assert server.files["samples"] == path.read_bytes()
    assert len(server.keys) == 3
    assert len(set(server.keys)) == 1


def test_uploads_are_sent_by_their_ids(server: TrainingServer) -> None:
    with Flawsmith(server.url) as client:
        client.train("pitting", [(UPLOADS[0], UPLOADS[1]), (UPLOADS[2], UPLOADS[3])], [UPLOADS[4]], rank=4)
    assert server.json == {
        "name": "pitting",
        "rank": 4,
        "samples": [{"image": UPLOADS[0], "mask": UPLOADS[1]}, {"image": UPLOADS[2], "mask": UPLOADS[3]}],
        "normals": [UPLOADS[4]],
    }


def test_what_cannot_be_right_is_not_sent(server: TrainingServer, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with Flawsmith(server.url) as client:
        with pytest.raises(InvalidParameterError, match="cannot be read"):
            client.train("pitting", tmp_path / "absent.zip")
        with pytest.raises(InvalidParameterError, match="holds no image"):
            client.train("pitting", tmp_path / "empty")
        with pytest.raises(InvalidParameterError, match="name"):
            client.train("No Name", folder)
        with pytest.raises(InvalidParameterError, match="both the same way"):
            client.train("pitting", folder, [UPLOADS[0]])
        with pytest.raises(InvalidParameterError, match="both the same way"):
            client.train("pitting", [(UPLOADS[0], UPLOADS[1])], folder)
        with pytest.raises(InvalidParameterError, match="no upload"):
            client.train("pitting", [("a.png", "b.png")])
        with pytest.raises(InvalidParameterError, match="names no defect type"):
            client.defect_type("Pitting@0")
    assert server.keys == []


def test_samples_are_checked_without_being_taught(server: TrainingServer, folder: Path) -> None:
    with Flawsmith(server.url) as client:
        plan = client.check_samples(folder)
    assert server.texts["dry_run"] == "true"
    assert server.keys == [None]
    assert len(plan.report.samples) == 6
    assert [advice.code for advice in plan.report.advice] == ["no-normals"]


def test_types_are_shown_and_deleted_by_version(server: TrainingServer) -> None:
    with Flawsmith(server.url) as client:
        assert client.defect_type("pitting").version == 2
        assert client.defect_type("pitting@1").version == 1
        with pytest.raises(FlawsmithError, match="pitting@3"):
            client.defect_type("pitting@3")
        client.delete_defect_type("pitting@1")
        client.delete_defect_type("pitting")
        assert client.sheet(JOB_ID) == SHEET
    assert server.deleted == ["pitting 1", "pitting all"]


def test_async_does_the_same(server: TrainingServer, folder: Path) -> None:
    async def session() -> None:
        async with AsyncFlawsmith(server.url) as client:
            server.busy = 1
            job = await client.train("pitting", folder, folder)
            assert names(server.files["samples"]) == sorted(pairs(6))
            assert (await client.wait(job)).status is JobStatus.SUCCEEDED
            assert len((await client.check_samples(folder)).report.samples) == 6
            assert (await client.defect_type("pitting@1")).version == 1
            await client.delete_defect_type("pitting@1")
            assert await client.sheet(job) == SHEET

    asyncio.run(session())


# The command


def test_check_prints_what_was_found(server: TrainingServer, tmp_path: Path) -> None:
    big = {
        "images/9.png": files.png(files.noise(96, 128, 3)),
        "masks/9.png": files.png(files.noise(96, 128) | 128),
    }
    folder = written(tmp_path / "samples", pairs(2) | {"images/8.png": photo(8), "masks/8.png": EMPTY} | big)
    done = run_flawsmith("check", folder, "--url", server.url)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "3 samples and 1 normal images (pairs of images and masks)"
    assert "Sizes: 64×48 (3), 128×96 (1)" in lines
    assert any(line.startswith("Note: ") and "images/8.png" in line for line in lines)
    told = [line.partition(")")[0] for line in lines if line.startswith("Advice")]
    assert told == ["Advice (few-pairs", "Advice (large-masks", "Advice (mixed-sizes"]
    assert "    images/9.png" in lines
    report = json.loads(run_flawsmith("check", folder, "--json", "--url", server.url).stdout)
    assert report["normals"] == 1


def test_check_exits_with_1_if_nothing_can_be_taught(server: TrainingServer, tmp_path: Path) -> None:
    folder = written(tmp_path / "samples", {"images/1.png": photo()})
    done = run_flawsmith("check", folder, "--url", server.url)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "no image of the ZIP has a mask" in done.stderr
    labelled = written(tmp_path / "more", pairs(2))
    done = run_flawsmith("check", labelled, "--label", "hole", "--url", server.url)
    assert done.returncode == 1
    assert "leave label out" in done.stderr
    assert run_flawsmith("check", tmp_path / "absent", "--url", server.url).returncode == 2


def test_train_sends_and_says_the_job(server: TrainingServer, folder: Path) -> None:
    done = run_flawsmith("defects", "train", "pitting", "--samples", folder, "--url", server.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{JOB_ID}\n"
    assert server.texts == {"name": "pitting"}


def test_train_waits_and_shows_the_card(server: TrainingServer, folder: Path, tmp_path: Path) -> None:
    good = zipped(tmp_path / "good.zip", normals(2))
    said = ("--part", "a ball screw", "--kind", "logical", "--seed", "7")
    options = ("--normals", good, *said, "--wait", "--url", server.url)
    done = run_flawsmith("defects", "train", "pitting", "--samples", folder, *options)
    assert done.returncode == 0, done.stderr
    assert server.texts == {"name": "pitting", "part": "a ball screw", "kind": "logical", "seed": "7"}
    assert server.files["normals"] == good.read_bytes()
    for words in ("pitting@2", "poor", "three samples are few", "realism 0.75", "drawn if none is sent"):
        assert words in done.stdout
    server.looks = 0
    done = run_flawsmith("defects", "train", "pitting", "--samples", folder, "--json", *options)
    assert json.loads(done.stdout)["defect_type"]["version"] == 2


def test_watch_tells_how_a_training_goes_on(server: TrainingServer) -> None:
    done = run_flawsmith("watch", JOB_ID, "--url", server.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"{JOB_ID} queued, step 0 of 20",
        f"{JOB_ID} running, learning, defect loss 0.5, step 10 of 20",
        f"{JOB_ID} succeeded, step 20 of 20, made pitting@2 (poor)",
    ]


def test_a_training_that_fails_exits_with_1(server: TrainingServer, folder: Path) -> None:
    server.fails = True
    done = run_flawsmith("defects", "train", "pitting", "--samples", folder, "--wait", "--url", server.url)
    assert done.returncode == 1
    assert "the loss is not finite" in done.stderr
    assert done.stdout == ""


def test_samples_that_are_refused_exit_with_2(server: TrainingServer, tmp_path: Path) -> None:
    folder = written(tmp_path / "samples", {"images/1.png": photo()})
    done = run_flawsmith("defects", "train", "pitting", "--samples", folder, "--url", server.url)
    assert done.returncode == 2
    assert "images/ and masks/" in done.stderr


def test_types_are_listed_shown_and_deleted(server: TrainingServer) -> None:
    assert "poor" in run_flawsmith("defects", "--url", server.url).stdout
    shown = run_flawsmith("defects", "show", "pitting@1", "--url", server.url)
    assert shown.returncode == 0, shown.stderr
    assert "pitting@1" in shown.stdout
    assert (
        json.loads(run_flawsmith("defects", "show", "pitting", "--json", "--url", server.url).stdout)["version"]
        == 2
    )
    assert run_flawsmith("defects", "show", "dent@1", "--url", server.url).returncode == 1
    assert run_flawsmith("defects", "delete", "pitting@1", "--url", server.url).stdout == "pitting@1 is deleted\n"
    assert server.deleted == ["pitting 1"]
    misplaced = run_flawsmith("defects", "--url", server.url, "delete", "pitting")
    assert misplaced.returncode == 2
    assert "give options after `delete`" in misplaced.stderr


def test_what_people_wrote_is_shown_as_it_is(
    server: TrainingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for command in (["defects"], ["defects", "show", "pitting"]):
        assert DESCRIPTION in run_flawsmith(*command, "--url", server.url).stdout
    nowhere = tmp_path / "[red] :key: [/x]"
    done = run_flawsmith("check", nowhere, "--url", server.url)
    assert str(nowhere) in done.stderr


# Against the service itself


@pytest.mark.slow
def test_the_service_checks_samples(up: Up, folder: Path, tmp_path: Path) -> None:
    good = zipped(tmp_path / "good.zip", normals(2))
    done = run_flawsmith("check", folder, "--normals", good, "--url", up.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "6 samples and 2 normal images (pairs of images and masks)"
    refused = run_flawsmith("check", good, "--url", up.url)
    assert refused.returncode == 1
    assert "no image of the ZIP has a mask" in refused.stderr


@pytest.mark.slow
def test_the_service_checks_uploads(up: Up) -> None:
    content = pairs(2)
    with Flawsmith(up.url) as client:
        sent = [
            (client.upload(content[f"images/{number:03d}.png"]), client.upload(content[f"masks/{number:03d}.png"]))
            for number in range(2)
        ]
        plan = client.check_samples(sent)
    assert [sample.source for sample in plan.report.samples] == ["samples.0", "samples.1"]


@pytest.mark.slow
def test_types_that_come_with_the_service_stay(up: Up) -> None:
    assert "scratch@1" in run_flawsmith("defects", "show", "scratch", "--url", up.url).stdout
    done = run_flawsmith("defects", "delete", "scratch", "--url", up.url)
    assert done.returncode == 1
    assert "comes with Flawsmith" in done.stderr
