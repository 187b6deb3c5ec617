"""Work that processes share: all is done, each piece once, whoever dies on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from bench.quality.chores import Chore, work

_WORKER = """
import sys, time
from pathlib import Path
from functools import partial
from bench.quality.chores import Chore, work

folder, takes = Path(sys.argv[1]), float(sys.argv[2])

def do(number):
    with (folder / "log").open("a") as log:
        print("began", number, file=log)
    time.sleep(takes)
    (folder / f"{number}.done").touch()

chores = [Chore(f"{n % 4}", (folder / f"{n}.done").exists, partial(do, n)) for n in range(8)]
work(chores, folder / "begun")
"""


def worker(folder: Path, takes: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _WORKER, str(folder), str(takes)])


def begun(folder: Path) -> list[str]:
    log = folder / "log"
    return log.read_text().split("\n")[:-1] if log.exists() else []


def test_processes_side_by_side_do_each_chore_once(tmp_path: Path) -> None:
    for process in [worker(tmp_path, 0.2) for _ in range(3)]:
        assert process.wait(60) == 0
    assert sorted(begun(tmp_path)) == [f"began {number}" for number in range(8)]


def test_what_a_killed_process_was_at_is_done_by_another(tmp_path: Path) -> None:
    killed = worker(tmp_path, 600)
    while not begun(tmp_path):
        time.sleep(0.05)
    other = worker(tmp_path, 0)
    while sum(1 for _ in tmp_path.glob("*.done")) < 6:  # all but the two that go by the first one's name
        time.sleep(0.05)
    assert other.poll() is None
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait(60)
    assert other.wait(60) == 0
    assert begun(tmp_path).count("began 0") == 2
    assert sum(1 for _ in tmp_path.glob("*.done")) == 8


def test_a_chore_waits_until_it_is_ready_and_those_that_are_go_first(tmp_path: Path) -> None:
    did: list[str] = []
    chores = [
        Chore("last", lambda: "last" in did, lambda: did.append("last"), lambda: "first" in did),
        Chore("first", lambda: "first" in did, lambda: did.append("first")),
    ]
    work(chores, tmp_path)
    assert did == ["first", "last"]
