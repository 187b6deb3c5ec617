"""The command against a real service: what it prints, what it writes, how it exits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flawsmith import Flawsmith, __version__
from flawsmith.contract.jobs import JobStatus
from tests.flawsmith.conftest import Part
from tests.flawsmith.running import FLAWSMITH, Up, run_flawsmith
from tests.servers import free_ports

pytestmark = pytest.mark.slow

QUICK = ("--defect", "scratch", "--steps", "4", "--min-quality", "0")


def test_generate_writes_everything_and_says_where(up: Up, part: Part, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run_flawsmith(
        "generate",
        part.image,
        "--mask",
        part.mask,
        *QUICK,
        "-n",
        "2",
        "--seed",
        "7",
        "--out",
        out,
        "--url",
        up.url,
    )
    assert done.returncode == 0, done.stderr
    names = ["overview.png"]
    names += [f"item-{i:02d}{part}.png" for i in (0, 1) for part in ("", "-mask", "-preview")]
    names += ["job.json"]
    assert done.stdout.splitlines() == [str(out / name) for name in names]
    assert "quality" in done.stderr
    with Image.open(out / "overview.png") as overview, Image.open(out / "item-00-preview.png") as preview:
        assert overview.width > preview.width
        assert overview.height > 2 * preview.height


def test_generate_takes_its_address_from_the_environment_and_prints_json(
    up: Up, part: Part, tmp_path: Path
) -> None:
    options = (
        "--method",
        "diffusion",
        "--control",
        "--part",
        "a plate",
        "--pixel-size-um",
        "20",
        "--severity",
        "0.5",
        "--guidance",
        "1.5",
    )
    done = run_flawsmith(
        "generate",
        part.image,
        "--mask",
        part.mask,
        *QUICK,
        *options,
        "--out",
        tmp_path,
        "--json",
        FLAWSMITH_URL=up.url,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["job"]["status"] == "succeeded"
    wanted = {
        "control": True,
        "part": "a plate",
        "pixel_size_um": 20.0,
        "severity": 0.5,
        "guidance": 1.5,
        "steps": 4,
    }
    assert wanted.items() <= result["job"]["request"].items()
    assert Path(result["overview"]).is_file()
    assert Path(result["items"][0]["mask"]).is_file()


def test_several_defects_are_drawn_in_one_image(up: Up, part: Part, tmp_path: Path) -> None:
    second = tmp_path / "second.png"
    Image.fromarray(np.roll(np.asarray(Image.open(part.mask)), 22, axis=0)).save(second)
    pairs = ("--defect", "scratch", "--mask", part.mask, "--defect", "scratch@1", "--mask", second)
    command = ("generate", part.image, *pairs, "--severity", "0.5", "--steps", "4", "--min-quality", "0")
    done = run_flawsmith(*command, "--out", tmp_path / "out", "--json", "--url", up.url)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [one["severity"] for one in result["job"]["request"]["defects"]] == [0.5, 0.5]
    names = ["item-00-mask-0-scratch.png", "item-00-mask-1-scratch.png"]
    assert result["items"][0]["defect_masks"] == [str(tmp_path / "out" / name) for name in names]

    again = run_flawsmith("download", result["job"]["id"], "--out", tmp_path / "again", "--url", up.url)
    assert [str(tmp_path / "again" / name) in again.stdout.splitlines() for name in names] == [True, True]
    assert "scratch + scratch 0" in again.stderr
    assert "scratch, scratch" in run_flawsmith("jobs", "--url", up.url).stdout


def test_defects_and_masks_that_do_not_pair_exit_with_2(part: Part) -> None:
    twice = ("--defect", "scratch", "--defect", "dent")
    for arguments, complaint in (
        (("--mask", part.mask), "2 --defect and 1 --mask"),
        (("--mask", part.mask, "--mask", part.mask, *3 * ("--severity", "1")), "3 --severity"),
        (3 * ("--size", "2..9"), "3 --size"),
    ):
        done = run_flawsmith("generate", part.image, *twice, *arguments)
        assert done.returncode == 2
        assert complaint in done.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--defect", "no-such-type"), "no-such-type is not known here"),
        (("--defect", "scratch", "--severity", "2"), "severity"),
        (("--defect", "scratch", "--method", "paste"), "scratch@1 keeps none"),
        (("--defect", "scratch", "--method", "draw"), "--method"),
        (("--defect", "scratch", "-n", "65"), "-n"),
        ((), "--defect"),
    ],
)
def test_what_is_typed_wrong_exits_with_2(up: Up, part: Part, arguments: tuple[str, ...], complaint: str) -> None:
    done = run_flawsmith("generate", part.image, "--mask", part.mask, *arguments, "--url", up.url)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert done.stdout == ""


def test_files_that_cannot_be_used_exit_with_2(up: Up, part: Part, tmp_path: Path) -> None:
    words = tmp_path / "words.png"
    words.write_text("not an image")
    for image in (tmp_path / "absent.png", words):
        done = run_flawsmith("generate", image, "--mask", part.mask, *QUICK, "--url", up.url)
        assert done.returncode == 2
        assert "image" in done.stderr.lower()


def test_an_absent_service_exits_with_3(part: Part) -> None:
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    for command in (("defects",), ("generate", part.image, "--mask", part.mask, *QUICK)):
        done = run_flawsmith(*command, "--url", url)
        assert done.returncode == 3
        assert f"no Flawsmith service answers at {url}" in done.stderr
        assert "flawsmith up" in done.stderr


def test_ctrl_c_cancels_the_job(up: Up, part: Part) -> None:
    command = ("generate", str(part.image), "--mask", str(part.mask), "--defect", "scratch", "-n", "64")
    process = subprocess.Popen(
        [*FLAWSMITH, *command, "--steps", "250", "--severity", "1"],
        env=os.environ | {"FLAWSMITH_URL": up.url},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with Flawsmith(up.url) as client:
        deadline = time.monotonic() + 120
        while not (running := list(client.jobs(status=JobStatus.RUNNING))):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=240)
        assert process.returncode == 130
        assert f"{running[0].id} is canceled" in said
        assert client.job(running[0]).status is JobStatus.CANCELED


def test_a_job_is_watched_to_its_end(up: Up, part: Part) -> None:
    with Flawsmith(up.url) as client:
        job = client.augment(part.image, part.mask, "scratch", count=2, steps=4, min_quality=0.0)
    done = run_flawsmith("watch", job.id, "--url", up.url)
    assert done.returncode == 0
    assert f"{job.id} item 1: succeeded, quality " in done.stdout
    assert done.stdout.splitlines()[-1].startswith(f"{job.id} succeeded, 2.0 of 2 items")
    lines = run_flawsmith("watch", job.id, "--json", "--url", up.url).stdout.splitlines()
    assert json.loads(lines[-1])["job"]["status"] == "succeeded"


def test_defects_are_listed(up: Up) -> None:
    table = run_flawsmith("defects", "--url", up.url)
    assert table.returncode == 0
    assert "scratch" in table.stdout
    listed = json.loads(run_flawsmith("defects", "--json", "--url", up.url).stdout)
    assert [kind["name"] for kind in listed["defect_types"]] == ["scratch"]


def test_jobs_are_listed_canceled_and_deleted(up: Up, part: Part) -> None:
    with Flawsmith(up.url) as client:
        job = client.augment(part.image, part.mask, "scratch", count=64, steps=250, severity=1.0)
        assert job.id in run_flawsmith("jobs", "--url", up.url).stdout
        early = run_flawsmith("delete", job.id, "--url", up.url)
        assert early.returncode == 1
        assert "is not final" in early.stderr
        assert run_flawsmith("cancel", job.id, "--url", up.url).returncode == 0
        client.wait(job, timeout=240)
    listed = json.loads(run_flawsmith("jobs", "--status", "canceled", "--json", "--url", up.url).stdout)
    assert job.id in {entry["id"] for entry in listed["jobs"]}
    assert json.loads(run_flawsmith("cancel", job.id, "--json", "--url", up.url).stdout)["status"] == "canceled"
    assert run_flawsmith("delete", job.id, "--url", up.url).stdout == f"{job.id} is deleted\n"
    gone = run_flawsmith("delete", job.id, "--url", up.url)
    assert gone.returncode == 1
    assert job.id in gone.stderr


def test_an_earlier_job_is_downloaded(up: Up, part: Part, tmp_path: Path) -> None:
    with Flawsmith(up.url) as client:
        job = client.wait(client.augment(part.image, part.mask, "scratch", steps=4, min_quality=0.0), timeout=240)
    out, archive = tmp_path / "out", tmp_path / "new" / "results.zip"

    folder = run_flawsmith("download", job.id, "--out", out, "--url", up.url)
    assert folder.returncode == 0, folder.stderr
    names = ["overview.png", "item-00.png", "item-00-mask.png", "item-00-preview.png", "job.json"]
    assert folder.stdout.splitlines() == [str(out / name) for name in names]

    one = run_flawsmith("download", job.id, "--archive", archive, "--url", up.url)
    assert (one.returncode, one.stdout) == (0, f"{archive}\n"), one.stderr
    with zipfile.ZipFile(archive) as opened:
        assert opened.read("images/item-00.png") == (out / "item-00.png").read_bytes()

    assert run_flawsmith("download", job.id, "--out", out, "--archive", archive, "--url", up.url).returncode == 2
    lost = run_flawsmith("download", "job_00000000000000000000000000", "--url", up.url)
    assert lost.returncode == 1
    assert "no job has the id" in lost.stderr


def test_the_version_is_printed() -> None:
    assert run_flawsmith("--version").stdout == f"flawsmith {__version__}\n"
