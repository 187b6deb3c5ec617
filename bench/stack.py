"""The whole stack for a benchmark: a real Valkey, a real S3 server, the API and one compute worker."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx

from tests.servers import HOST, free_ports, running_s3, running_valkey

ROOT = Path(__file__).parent.parent


@dataclass
class Stack:
    """Addresses and processes of a running stack."""

    url: str
    environment: dict[str, str]
    service: subprocess.Popen[bytes]
    worker: subprocess.Popen[bytes]

    def peak_memory(self, process: subprocess.Popen[bytes]) -> int:
        """Peak resident set of a process in bytes (Linux)."""
        status = Path(f"/proc/{process.pid}/status").read_text("ascii")
        (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024


@contextmanager
def running_stack(
    folder: Path,
    settings: dict[str, str] | None = None,
    *,
    storage: Literal["s3", "folder"] = "s3",
    worker_niceness: int = 0,
) -> Iterator[Stack]:
    """A stack while the block runs; logs lie in ``folder``, and what it stores if there is no S3.

    Raises:
        RuntimeError: it is not ready within three minutes.
    """
    with ExitStack() as cleanup:
        for name in ("valkey", "s3"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        valkey = cleanup.enter_context(running_valkey(folder / "valkey"))
        if storage == "s3":
            s3 = cleanup.enter_context(running_s3(folder / "s3"))
            s3.make_bucket("flawsmith-bench")
            stored = s3.environment("flawsmith-bench")
        else:
            stored = {"FLAWSMITH_STORAGE_URL": (folder / "storage").as_uri()}
        (port,) = free_ports(1)
        environment = {
            **os.environ,
            **stored,
            "FLAWSMITH_REDIS_URL": valkey.url,
            "FLAWSMITH_HOST": HOST,
            "FLAWSMITH_PORT": str(port),
            **(settings or {}),
        }
        service, worker = (
            cleanup.enter_context(_running(module, environment, folder / f"{module}.log", niceness))
            for module, niceness in (("service", 0), ("worker", worker_niceness))
        )
        stack = Stack(f"http://{HOST}:{port}", environment, service, worker)
        _wait_until_ready(stack)
        yield stack


@contextmanager
def _running(
    module: str, environment: dict[str, str], log: Path, niceness: int
) -> Iterator[subprocess.Popen[bytes]]:
    launch = [sys.executable, "-m", "flawsmith.stack.launch", str(os.getpid()), str(niceness)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*launch, sys.executable, "-m", module], cwd=ROOT, env=environment, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(stack: Stack) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            answer = httpx.get(f"{stack.url}/readyz", timeout=5)
            if answer.status_code == 200 and answer.json()["workers"]:
                return
        except httpx.TransportError:
            pass
        if stack.service.poll() is not None or stack.worker.poll() is not None:
            break
        time.sleep(0.2)
    raise RuntimeError("the stack did not become ready; see its logs")
