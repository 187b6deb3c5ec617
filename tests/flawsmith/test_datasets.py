"""Data sets from both clients and from the command: sent, waited for, gone on with, and taken as a whole."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flawsmith import AsyncFlawsmith, CorruptDownloadError, Flawsmith, InvalidParameterError
from flawsmith.client.unpacking import unpack
from flawsmith.contract.datasets import AlignmentState, DatasetBinPlan
from flawsmith.contract.jobs import JobStatus
from flawsmith.contract.specs import DatasetNormal, DatasetPrefix, DatasetReference
from flawsmith.contract.wishes import ContrastRange, SizeRange
from tests.flawsmith.dataset_server import LOCK, REPORT, DatasetServer, dataset_server, png, row
from tests.flawsmith.running import run_here
from tests.flawsmith.test_training import names, written

UPLOADS = [f"sha256:{64 * digit}" for digit in "abc"]
ENTRIES = [{"defect_type": "scratch", "count": 3, "severity": {"min": 0.25, "max": 0.5}}]
FIRST = "job_" + "1".zfill(26)
SECOND = "job_" + "2".zfill(26)


@pytest.fixture
def server() -> Iterator[DatasetServer]:
    with dataset_server() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A spec with two normal images, one of them with a mask."""
    text = "normals: photos\nmasks: masks\nseed: 7\nentries:\n  - {defect_type: scratch, count: 3}\n"
    content = {
        "photos/a.png": png(1),
        "photos/line/b.png": png(2),
        "masks/a.png": png(3),
        "spec.yaml": text.encode(),
    }
    return written(tmp_path / "set", content)


def build(server: DatasetServer, folder: Path, *arguments: str | Path) -> Any:
    return run_here("dataset", "build", folder / "spec.yaml", *arguments, "--url", server.url)


def test_a_folder_is_sent_as_a_form(server: DatasetServer, folder: Path) -> None:
    with Flawsmith(server.url) as client:
        job = client.create_dataset(
            folder / "photos",
            ENTRIES,
            masks=folder / "masks",
            regions=folder / "photos" / "a.png",
            seed=5,
            controls=2,
            formats=["coco"],
            lock=LOCK,
            split={"train": 0.5, "test": 0.5},
            bit_depth=8,
            frame="crop",
            crop_size=256,
        )
    assert job.id == FIRST
    assert (server.texts.pop("bit_depth"), server.texts.pop("frame")) == ("8", "crop")
    assert names(server.files["normals"]) == ["a.png", "line/b.png"]
    assert names(server.files["masks"]) == ["a.png"]
    assert server.files["regions"] == png(1)
    assert {name: json.loads(text) for name, text in server.texts.items()} == {
        "entries": ENTRIES,
        "seed": 5,
        "controls": 2,
        "formats": ["coco"],
        "lock": LOCK.model_dump(mode="json"),
        "split": {"train": 0.5, "test": 0.5},
        "crop_size": 256,
    }
    assert server.keys[0]


def test_masks_in_the_folder_of_photos_are_not_sent_as_photos(server: DatasetServer, folder: Path) -> None:
    (folder / "masks").rename(folder / "photos" / "masks")
    with Flawsmith(server.url) as client:
        client.create_dataset(
            folder / "photos",
            ENTRIES,
            masks=folder / "photos" / "masks",
            excludes=folder,
        )
    assert names(server.files["normals"]) == ["a.png", "line/b.png"]
    assert names(server.files["masks"]) == ["a.png"]


def test_uploads_are_sent_as_json(server: DatasetServer) -> None:
    normals = [UPLOADS[0], DatasetNormal(image=UPLOADS[1], mask=UPLOADS[2], metadata={"lot": "A"})]
    with Flawsmith(server.url) as client:
        client.create_dataset(normals, ENTRIES, idempotency_key="one")
    assert server.json == {
        "entries": ENTRIES,
        "normals": [UPLOADS[0], {"image": UPLOADS[1], "mask": UPLOADS[2], "metadata": {"lot": "A"}}],
    }
    assert server.keys == ["one"]


def test_a_place_in_storage_is_sent_as_json_or_beside_files_as_text(server: DatasetServer, folder: Path) -> None:
    normals = DatasetPrefix(prefix="lines/7/")
    with Flawsmith(server.url) as client:
        client.create_dataset(normals, ENTRIES, seed=5)
        assert server.json == {"entries": ENTRIES, "seed": 5, "normals": {"prefix": "lines/7/"}}
        client.plan_dataset(normals, ENTRIES, masks=folder / "masks")
    assert json.loads(server.texts["normals"]) == {"prefix": "lines/7/"}
    assert list(server.files) == ["masks"]


def test_a_reference_is_sent_as_normal_images_are(server: DatasetServer, folder: Path) -> None:
    photo = folder / "photos" / "a.png"
    drawn_on = DatasetReference(image=UPLOADS[1], region=UPLOADS[2])
    with Flawsmith(server.url) as client:
        client.create_dataset(
            folder / "photos", ENTRIES, regions=photo, reference=photo, align="rigid", max_rotation_deg=30
        )
        assert server.files["reference"] == png(1)
        assert (server.texts["align"], server.texts["max_rotation_deg"]) == ("rigid", "30.0")
        client.create_dataset([UPLOADS[0]], ENTRIES, reference=drawn_on, align="none")
        assert server.json == {
            "entries": ENTRIES,
            "normals": [UPLOADS[0]],
            "reference": {"image": UPLOADS[1], "region": UPLOADS[2]},
            "align": "none",
        }
        with pytest.raises(InvalidParameterError, match="reference names uploads and normals are files"):
            client.create_dataset(folder / "photos", ENTRIES, reference=drawn_on, align="none")
        with pytest.raises(InvalidParameterError, match="reference are files and normals uploads"):
            client.create_dataset([UPLOADS[0]], ENTRIES, reference=photo, align="none")


def test_a_dry_run_of_a_spec_with_a_reference_tells_how_photos_lie(server: DatasetServer, folder: Path) -> None:
    with (folder / "spec.yaml").open("a") as spec:
        spec.write("reference: photos/a.png\nregions: photos/a.png\nalign: shift\n")
    server.alignment = AlignmentState(images=2, median_residual_px=0.25, greatest_residual_px=1.5, limit_px=4)
    done = build(server, folder, "--dry-run")

    assert done.returncode == 0, done.stderr
    assert server.files["reference"] == server.files["regions"] == png(1)
    assert server.texts["align"] == "shift"
    said = " ".join(done.stdout.split())
    assert "2 normal images registered on the reference, within 0.25 pixels (median), 1.50 at most" in said


def test_what_cannot_be_right_is_not_sent(server: DatasetServer, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with Flawsmith(server.url) as client:
        for normals, entries, masks, complaint in (
            (folder / "absent", ENTRIES, None, "normals: .*cannot be read"),
            (tmp_path / "empty", ENTRIES, None, "normals: .*holds no image"),
            (folder / "photos", [], None, "entries"),
            (folder / "photos", [{"defect_type": "scratch"}], None, "say either count"),
            ([UPLOADS[0]], ENTRIES, folder / "masks", "masks are files and normals uploads"),
            (["part.png"], ENTRIES, None, "is no upload"),
        ):
            with pytest.raises(InvalidParameterError, match=complaint):
                client.create_dataset(normals, entries, masks=masks)
    assert server.keys == []


def test_both_clients_do_the_same(server: DatasetServer, folder: Path, tmp_path: Path) -> None:
    async def awaited() -> tuple[Any, ...]:
        async with AsyncFlawsmith(server.url) as client:
            job = await client.create_dataset(folder / "photos", ENTRIES, idempotency_key="one")
            sent = server.texts, server.files
            plan = await client.plan_dataset(folder / "photos", ENTRIES)
            rows = [one async for one in client.dataset_rows(job)]
            taken = await client.download_dataset(job, tmp_path / "awaited", formats=["classes"])
            report = await client.dataset_report(job)
            page = await client.save_dataset_report(job, tmp_path / "awaited.html")
            names = sorted(path.name for path in taken.path.rglob("*"))
            return job.id, sent, plan, rows, names, report, page.read_text()

    def plain() -> tuple[Any, ...]:
        with Flawsmith(server.url) as client:
            job = client.create_dataset(folder / "photos", ENTRIES, idempotency_key="one")
            sent = server.texts, server.files
            plan = client.plan_dataset(folder / "photos", ENTRIES)
            rows = list(client.dataset_rows(job))
            taken = client.download_dataset(job, tmp_path / "plain", formats=["classes"])
            report = client.dataset_report(job)
            page = client.save_dataset_report(job, tmp_path / "plain.html")
            names = sorted(path.name for path in taken.path.rglob("*"))
            return job.id, sent, plan, rows, names, report, page.read_text()

    one, other = plain(), asyncio.run(awaited())
    assert one == other
    assert one[3] == server.rows
    assert one[5:] == (REPORT, "<!doctype html>")
    assert server.formats == [["classes"], ["classes"]]


def test_an_archive_that_begins_late_is_waited_for(server: DatasetServer, tmp_path: Path) -> None:
    """The service goes through all items first, and would begin anew if it were asked again."""
    server.silence_s = 1.0

    async def awaited() -> None:
        async with AsyncFlawsmith(server.url, timeout=0.3) as client:
            await client.download_dataset(FIRST, tmp_path / "awaited")
            await client.dataset_report(FIRST)

    with Flawsmith(server.url, timeout=0.3) as client:
        client.download_dataset(FIRST, tmp_path / "plain")
        client.dataset_report(FIRST)
    asyncio.run(awaited())
    assert len(server.formats) == 2


def test_a_broken_archive_is_fetched_anew(server: DatasetServer, folder: Path, tmp_path: Path) -> None:
    server.breaks = [200, 700]
    with Flawsmith(server.url) as client:
        taken = client.download_dataset(FIRST, tmp_path / "out")
    assert list(taken.rows()) == server.rows
    assert len(server.formats) == 3
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("spoilt", "complaint"),
    [
        ({"images/train/part-defect-1.png": png(7)}, "part-defect-1.png .* not what its manifest says"),
        ({"images/test/part-defect-2.png": None}, "lacks images/test/part-defect-2.png"),
        ({"manifest.jsonl": None}, "lacks manifest.jsonl"),
        ({"flawsmith.lock": None}, "lacks flawsmith.lock"),
        ({"manifest.jsonl": b'{"index": 0}\n'}, "line 1, is no row"),
        ({"../evil.txt": b"x"}, "would lie elsewhere"),
        ({"C:/evil.txt": b"x"}, "would lie elsewhere"),
        ({"/evil.txt": b"x"}, "would lie elsewhere"),
    ],
)
def test_an_archive_that_is_not_what_it_says_changes_nothing(
    server: DatasetServer, tmp_path: Path, spoilt: dict[str, bytes | None], complaint: str
) -> None:
    with Flawsmith(server.url) as client:
        client.download_dataset(FIRST, tmp_path / "out")
        before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
        server.spoilt = spoilt
        with pytest.raises(CorruptDownloadError, match=complaint):
            client.download_dataset(FIRST, tmp_path / "out")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_bytes_that_are_no_zip_are_refused(server: DatasetServer, tmp_path: Path) -> None:
    whole = server.archive()
    place = whole.index(png(101))
    for data in (b"no zip", whole[:-30], whole[:place] + b"\0" + whole[place + 1 :]):
        with pytest.raises(CorruptDownloadError, match="broken"):
            unpack(io.BytesIO(data), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_archive_as_one_file_is_checked_too(server: DatasetServer, tmp_path: Path) -> None:
    server.jobs[FIRST] = JobStatus.SUCCEEDED
    with Flawsmith(server.url) as client:
        client.archive(FIRST, tmp_path / "set.zip", formats=["mvtec"])
        with zipfile.ZipFile(tmp_path / "set.zip") as archive:
            assert not any(name.startswith("images/") for name in archive.namelist())
        server.spoilt = {"images/train/part-defect-1.png": png(7)}
        with pytest.raises(CorruptDownloadError, match="not what its manifest says"):
            client.archive(FIRST, tmp_path / "set.zip")
    assert server.formats[0] == ["mvtec"]


def test_a_folder_takes_the_place_of_an_earlier_build_as_a_whole(server: DatasetServer, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with Flawsmith(server.url) as client:
        client.download_dataset(FIRST, out)
        (out / "images" / "train" / "stale.png").touch()
        server.rows = server.rows[:2]
        client.download_dataset(FIRST, out)
    assert sorted(path.name for path in (out / "images").rglob("*.png")) == [
        "part-defect-1.png",
        "part-normal-0.png",
    ]
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_folders_that_hold_something_else_are_left_alone(
    server: DatasetServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(
        tmp_path, {"mine/thesis.txt": b"x", "file": b"x", "here/manifest.jsonl": b"", "here/dataset.json": b""}
    )
    monkeypatch.chdir(tmp_path / "here")
    with Flawsmith(server.url) as client:
        for place, complaint in (("mine", "no data set"), ("file", "is a file"), ("here", "where you are")):
            with pytest.raises(InvalidParameterError, match=complaint):
                client.download_dataset(FIRST, tmp_path / place)
    assert server.formats == []
    assert (tmp_path / "mine" / "thesis.txt").read_bytes() == b"x"


def test_build_says_which_job_it_is(server: DatasetServer, folder: Path) -> None:
    done = build(server, folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{FIRST}\n"
    assert f"flawsmith watch {FIRST}" in done.stderr
    assert json.loads(server.texts["seed"]) == 7
    assert not (folder / "flawsmith.lock").exists()
    assert FIRST in run_here("jobs", "--url", server.url).stdout


def test_build_goes_on_with_its_job_and_writes_everything(
    server: DatasetServer, folder: Path, tmp_path: Path
) -> None:
    build(server, folder)
    done = build(server, folder, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert list(server.jobs) == [FIRST]
    assert len(set(server.keys)) == 1
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["Items", "train", "test"]
    assert ["scratch@1", "1", "1"] in [line.split() for line in lines]
    assert f"{FIRST} succeeded: 5 made, 0 reused, 1 not accepted, 0 failed, 0 canceled" in done.stdout
    assert lines[-1] == str(tmp_path / "out")
    assert "left out: line/torn.png: it is no image" in done.stderr
    assert "flawsmith.lock is written" in done.stderr
    assert json.loads((folder / "flawsmith.lock").read_text())["classes"] == {"scratch": 1}
    assert (tmp_path / "out" / "images" / "train" / "part-defect-1.png").is_file()

    again = build(server, folder, "--out", tmp_path / "out", "--json")
    assert again.returncode == 0, again.stderr
    said = json.loads(again.stdout)
    assert said["summary"]["splits"] == {
        "train": {"normal image": 1, "scratch@1": 1, "control": 1},
        "test": {"scratch@1": 1},
    }
    assert said["folder"] == str(tmp_path / "out")
    assert "has changed" not in again.stderr
    assert json.loads(server.texts["lock"])["classes"] == {"scratch": 1}


@pytest.mark.parametrize("first", [JobStatus.FAILED, JobStatus.CANCELED])
def test_a_job_that_ended_early_is_followed_by_another(
    server: DatasetServer, folder: Path, first: JobStatus
) -> None:
    server.outcomes = [first]
    build(server, folder)
    server.looks[FIRST] = 1  # it has ended meanwhile
    done = build(server, folder)
    assert done.stdout == f"{SECOND}\n"
    assert server.keys[1] == server.keys[0]
    assert build(server, folder).stdout == f"{SECOND}\n"
    assert len(server.jobs) == 2


def test_other_photos_in_storage_are_another_build(server: DatasetServer, folder: Path) -> None:
    spec = folder / "spec.yaml"
    spec.write_text(spec.read_text().replace("normals: photos", "normals: {prefix: lines/7/}"))
    assert build(server, folder).stdout == f"{FIRST}\n"
    assert build(server, folder).stdout == f"{FIRST}\n"
    server.listing = "another"
    assert build(server, folder).stdout == f"{SECOND}\n"
    assert build(server, folder, "--wait").returncode == 0
    assert len(server.jobs) == 2
    assert json.loads(server.texts["normals"]) == {"prefix": "lines/7/"}


def test_a_deleted_job_is_followed_by_another(server: DatasetServer, folder: Path) -> None:
    build(server, folder)
    del server.jobs[FIRST]
    server.jobs["job_other"] = JobStatus.SUCCEEDED
    assert build(server, folder).stdout == f"{SECOND}\n"


def test_items_that_failed_make_it_partial_and_are_made_by_the_next_build(
    server: DatasetServer, folder: Path, tmp_path: Path
) -> None:
    server.rows.append(row(5, "defect", status="failed", accepted=None, error="the mask is too small", image=None))
    done = build(server, folder, "--out", tmp_path / "out")
    assert done.returncode == 7
    assert "1 failed" in done.stdout
    assert "failed: part-defect-5: the mask is too small" in done.stderr
    assert (tmp_path / "out" / "manifest.jsonl").is_file()
    assert json.loads((folder / "flawsmith.lock").read_text())["defect_types"] == {"scratch": 1}
    server.rows.pop()
    assert build(server, folder, "--wait").returncode == 0
    assert len(server.jobs) == 2


def test_what_was_done_before_a_cancel_is_taken(server: DatasetServer, folder: Path, tmp_path: Path) -> None:
    server.outcomes = [JobStatus.CANCELED]
    done = build(server, folder, "--out", tmp_path / "out")
    assert done.returncode == 7
    assert "canceled" in done.stdout
    assert (tmp_path / "out" / "manifest.jsonl").is_file()


def test_a_build_of_which_nothing_is_there_fails(server: DatasetServer, folder: Path, tmp_path: Path) -> None:
    server.outcomes = [JobStatus.FAILED, JobStatus.CANCELED]
    done = build(server, folder, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert f"{FIRST} is failed" in done.stderr
    server.rows = [row(0, "defect", status="canceled", accepted=None)]
    assert build(server, folder, "--wait").returncode == 1
    assert not (tmp_path / "out").exists()
    assert not (folder / "flawsmith.lock").exists()


def test_bins_are_told_with_how_many_items_met_them(server: DatasetServer, folder: Path, tmp_path: Path) -> None:
    small, large = SizeRange(min=20, max=50), SizeRange(min=50, max=200, unit="um")
    server.bins = [
        DatasetBinPlan(size=small, items=2),
        DatasetBinPlan(size=large, contrast=ContrastRange(min=0.05, max=0.2), items=1),
    ]
    server.rows = [
        row(0, "defect", entry=0, bin=0),
        row(1, "defect", entry=0, bin=1),
        row(2, "defect", entry=0, bin=0, accepted=False, rejection="its largest region is 17 pixels long"),
        row(3, "control", entry=0),
    ]
    planned = build(server, folder, "--dry-run").stdout
    assert [line.split()[-1] for line in planned.splitlines() if ".." in line] == ["2", "1"]

    done = build(server, folder, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["scratch@1", "20..50", "px", "2", "1"] in lines
    assert ["scratch@1", "50..200", "µm,", "contrast", "0.05..0.2", "1", "1"] in lines
    said = json.loads(build(server, folder, "--out", tmp_path / "out", "--json").stdout)["summary"]["bins"]
    assert [(one["entry"], one["bin"], one["items"], one["met"]) for one in said] == [(0, 0, 2, 1), (0, 1, 1, 1)]


def test_a_dry_run_makes_nothing(server: DatasetServer, folder: Path) -> None:
    done = build(server, folder, "--dry-run", "--seed", "9", "--format", "coco", "--format", "yolo")
    assert done.returncode == 0, done.stderr
    assert server.jobs == {}
    assert server.texts["dry_run"] == "true"
    assert server.texts["seed"] == "9"
    assert json.loads(server.texts["formats"]) == ["coco", "yolo"]
    assert "to be made" in done.stdout
    assert "about 5 min" in done.stdout
    assert "one image is small" in done.stderr
    assert json.loads(build(server, folder, "--dry-run", "--json").stdout)["to_make"] == 4


@pytest.mark.parametrize(
    ("text", "arguments", "status", "complaint"),
    [
        ("normals: photos\n", (), 2, "entries: is missing"),
        (None, ("--format", "voc"), 2, "'voc' is none of mvtec"),
        (None, ("--out", "{folder}/photos"), 2, "holds something that is no data set"),
        (None, ("--seed", "-1"), 2, "--seed"),
    ],
)
def test_a_build_that_cannot_be_is_refused(
    server: DatasetServer, folder: Path, text: str | None, arguments: tuple[str, ...], status: int, complaint: str
) -> None:
    if text is not None:
        (folder / "spec.yaml").write_text(text)
    done = build(server, folder, *(argument.format(folder=folder) for argument in arguments))
    assert done.returncode == status
    assert complaint in done.stderr
    assert server.keys == []


def test_a_service_that_is_not_there_exits_with_3(folder: Path) -> None:
    done = run_here("dataset", "build", folder / "spec.yaml", "--url", "http://127.0.0.1:9")
    assert done.returncode == 3


def test_show_and_download_of_an_earlier_job(server: DatasetServer, folder: Path, tmp_path: Path) -> None:
    build(server, folder)
    server.looks[FIRST] = 0
    running = run_here("dataset", "download", FIRST, "--out", tmp_path / "out", "--url", server.url)
    assert running.returncode == 1
    assert "is running" in running.stderr
    server.looks[FIRST] = 0
    assert f"{FIRST} is running, 0 of 5 items" in run_here("dataset", "show", FIRST, "--url", server.url).stdout
    shown = run_here("dataset", "show", FIRST, "--json", "--url", server.url)
    assert json.loads(shown.stdout)["summary"]["splits"]["test"] == {"scratch@1": 1}
    assert "5 made" in run_here("dataset", "show", FIRST, "--url", server.url).stdout
    done = run_here(
        "dataset", "download", FIRST, "--out", tmp_path / "out", "--format", "mvtec", "--url", server.url
    )
    assert done.returncode == 0, done.stderr
    assert server.formats == [["mvtec"]]
    assert (tmp_path / "out" / "mvtec").is_dir()
    for name, begins in (("told.html", "<!doctype html>"), ("told.json", '{"format_version":1')):
        told = run_here("dataset", "report", FIRST, "--out", tmp_path / name, "--url", server.url)
        assert told.stdout.strip() == str(tmp_path / name)
        assert (tmp_path / name).read_text().startswith(begins)
    refused = run_here("download", FIRST, "--url", server.url)
    assert refused.returncode == 2
    assert f"flawsmith dataset download {FIRST}" in refused.stderr
