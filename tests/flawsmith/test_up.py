"""`flawsmith up` as a person meets it: starts, keeps, survives, ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from flawsmith import Flawsmith
from flawsmith.contract.jobs import Job, JobStatus
from tests.flawsmith.conftest import Part
from tests.flawsmith.running import ROOT, Up, is_alive, run_flawsmith, running_up
from tests.servers import free_ports

pytestmark = pytest.mark.slow


def until(condition: Callable[[], bool], patience_s: float = 120) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def draw(client: Flawsmith, part: Part, steps: int = 4) -> Job:
    return client.augment(part.image, part.mask, "scratch", count=2, steps=steps, severity=1.0, min_quality=0.0)


def test_it_says_where_it_listens(up: Up) -> None:
    until(lambda: "Ready" in up.said.read_text())
    said = up.said.read_text()
    for word in (up.url, f"{up.url}/docs", str(up.data_dir), str(up.data_dir / "logs")):
        assert word in said
    assert httpx.get(f"{up.url}/docs").status_code == 200


def test_a_second_one_on_the_folder_or_the_port_is_refused_before_anything_starts(up: Up, tmp_path: Path) -> None:
    children = up.children()
    same_folder = run_flawsmith("up", "--port", "0", "--data-dir", up.data_dir)
    assert same_folder.returncode == 1
    assert f"already runs on {up.data_dir} (process {up.process.pid}, {up.url})" in same_folder.stderr
    same_port = run_flawsmith("up", "--port", up.url.rpartition(":")[2], "--data-dir", tmp_path)
    assert same_port.returncode == 1
    assert "--port" in same_port.stderr
    assert not (tmp_path / "up.json").exists()
    assert list((tmp_path / "logs").iterdir()) == []
    assert up.children() == children
    assert all(is_alive(pid) for pid in children.values())


def test_a_killed_worker_comes_back_and_finishes_the_job(up: Up, part: Part) -> None:
    with Flawsmith(up.url) as client:
        job = draw(client, part, steps=100)
        until(lambda: client.job(job).status is JobStatus.RUNNING)
        killed = up.children()["worker"]
        os.kill(killed, signal.SIGKILL)
        done = client.wait(job, timeout=240)
    assert done.status is JobStatus.SUCCEEDED
    assert done.counts.succeeded == 2
    assert up.children()["worker"] != killed
    assert "worker was ended by SIGKILL" in up.said.read_text()


def test_jobs_outlive_every_end(backbone: Path, part: Part, tmp_path: Path) -> None:
    data_dir = tmp_path / "data dir"
    port = free_ports(1)[0]
    with running_up(data_dir, backbone, port) as up, Flawsmith(up.url) as client:
        up.wait_until_ready()
        done = client.wait(draw(client, part), timeout=240)
        image = client.item_image(done, 1)
        unfinished = client.augment(part.image, part.mask, "scratch", count=8, steps=50, min_quality=0.0)
        children = up.children()
        assert up.end(signal.SIGINT) == 0, up.account()
        assert not any(is_alive(pid) for pid in children.values())
        assert not (data_dir / "up.json").exists()

    with running_up(data_dir, backbone, port) as up, Flawsmith(up.url) as client:
        up.wait_until_ready()
        assert client.job(done) == done
        assert client.item_image(done, 1) == image
        children = up.children()
        assert up.end(signal.SIGKILL) == -signal.SIGKILL

    with running_up(data_dir, backbone, port) as up, Flawsmith(up.url) as client:
        up.wait_until_ready()
        assert not any(is_alive(pid) for pid in children.values())
        assert client.job(done) == done
        assert client.wait(unfinished, timeout=240).counts.succeeded == 8
        children = up.children()
        assert up.end(signal.SIGTERM) == 0, up.account()
        assert not any(is_alive(pid) for pid in children.values())


def test_a_terminal_that_closes_ends_it_unless_that_is_to_be_ignored() -> None:
    program = (
        "import os, signal; from flawsmith.cli.up import _Signals\n"
        "signals = _Signals(); os.kill(os.getpid(), signal.SIGHUP); print(signals.received.wait(1))\n"
        "os.kill(os.getpid(), signal.SIGTERM); print(signals.received.wait(1))"
    )
    heeded = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # whatever these tests run under
    for before, said in (([], "True\nTrue\n"), (["nohup"], "False\nTrue\n")):
        command = [*before, sys.executable, "-c", program if before else heeded + program]
        assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == said


def test_a_start_that_cannot_succeed_says_why(tmp_path: Path) -> None:
    failed = run_flawsmith("up", "--port", "0", "--data-dir", tmp_path, FLAWSMITH_REDIS_TIMEOUT_S="soon")
    assert failed.returncode == 1
    assert " does not start; the end of " in failed.stderr
    assert "redis_timeout_s" in failed.stderr
    assert not (tmp_path / "up.json").exists()


def test_the_logs_are_for_people(up: Up) -> None:
    httpx.get(f"{up.url}/v1/defect-types", headers={"X-Request-ID": "for-people"}).raise_for_status()

    log = up.data_dir / "logs" / "api.log"
    until(lambda: "for-people" in log.read_text())  # a request is logged once its answer has gone
    lines = log.read_text().splitlines()
    (line,) = [line for line in lines if "for-people" in line]
    assert re.fullmatch(
        r"\S+Z INFO service\.observation: GET /v1/defect-types 200 in [\d.]+ ms"
        r" \[request_id=for-people tenant=default\]",
        line,
    )
    worker = (up.data_dir / "logs" / "worker.log").read_text()
    assert re.search(r"Z INFO worker\.compute: worker \w+ is ready$", worker, re.MULTILINE)
