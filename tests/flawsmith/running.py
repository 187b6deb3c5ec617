"""`flawsmith up` as a process, on a tiny backbone: real queue, real API, real worker."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from flawsmith.cli import main
from flawsmith.client import Flawsmith, FlawsmithError
from tests.servers import free_ports

ROOT = Path(__file__).parents[2]
START_PATIENCE_S = 240.0


@dataclass
class Up:
    """A running `flawsmith up`."""

    process: subprocess.Popen[str]
    url: str
    data_dir: Path
    said: Path

    def children(self) -> dict[str, int]:
        """Process ids of queue, API and workers, in this order, as it noted them itself."""
        pids = [pid for pid, _ in json.loads((self.data_dir / "up.json").read_text())["children"]]
        return dict(zip(("valkey", "api", "house", "worker"), pids, strict=True))

    def wait_until_ready(self) -> None:
        """Return when it says that a request would be worked on.

        Raises:
            AssertionError: it ended, or the patience did.
        """
        deadline = time.monotonic() + START_PATIENCE_S
        with Flawsmith(self.url, retries=0) as client:
            while True:
                assert self.process.poll() is None, self.account()
                assert time.monotonic() < deadline, self.account()
                try:
                    readiness = client.ready()
                    if readiness.ready and readiness.workers:
                        return
                except FlawsmithError:
                    pass
                time.sleep(0.2)

    def end(self, number: signal.Signals) -> int:
        """Send a signal and wait for the end; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(60)

    def account(self) -> str:
        """What it and its children said."""
        logs = [self.said, *sorted((self.data_dir / "logs").glob("*.log"))]
        return "\n".join(f"--- {log.name}\n{log.read_text()[-4000:]}" for log in logs if log.exists())


@contextmanager
def running_up(
    data_dir: Path, backbone: Path, port: int | None = None, arguments: Sequence[str] = ()
) -> Iterator[Up]:
    """`flawsmith up` while the block runs; ended like any program afterwards, unless it has ended."""
    port = port or free_ports(1)[0]
    data_dir.mkdir(parents=True, exist_ok=True)
    said = data_dir / "said.txt"
    environment = os.environ | {
        "FLAWSMITH_BACKBONE": str(backbone),
        # A killed worker's shard comes back sooner than it would in earnest.
        "FLAWSMITH_WORKER_TTL_S": "4",
        "FLAWSMITH_HEARTBEAT_INTERVAL_S": "1",
        "FLAWSMITH_MAINTENANCE_INTERVAL_S": "1",
    }
    with said.open("a") as output:
        process = subprocess.Popen(
            [*FLAWSMITH, "up", "--port", str(port), "--data-dir", str(data_dir), *arguments],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        yield Up(process, f"http://127.0.0.1:{port}", data_dir, said)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(60)
            finally:
                process.kill()


FLAWSMITH = (sys.executable, "-m", "flawsmith")


def run_flawsmith(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command, to its end."""
    return subprocess.run(
        [*FLAWSMITH, *map(str, arguments)],
        env=os.environ | {"COLUMNS": "200"} | environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def run_here(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command in this process, which starts in no time; for commands that need no process of their own."""
    typed = ["flawsmith", *map(str, arguments)]
    out, err = io.StringIO(), io.StringIO()
    status = 0
    with (
        redirect_stdout(out),
        redirect_stderr(err),
        warnings.catch_warnings(),
        patch.object(sys, "argv", typed),
        patch.dict(os.environ, {"COLUMNS": "200"}),
    ):
        try:
            main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
    return subprocess.CompletedProcess(typed, status, out.getvalue(), err.getvalue())


def is_alive(pid: int) -> bool:
    """Whether the process runs: not gone, and not only waiting to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
