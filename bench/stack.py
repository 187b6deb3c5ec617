"""The whole stack for a benchmark: a real Valkey, a real S3 server, the API and its workers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import httpx
from redis import Redis

from tests.servers import HOST, free_ports, running_s3, running_valkey

ROOT = Path(__file__).parent.parent


@dataclass
class Stack:
    """Addresses and processes of a running stack.

    Attributes:
        folder: where its logs lie.
        environment: of its processes.
        workers: compute workers that are running.
        servers: process ids of what is not ours and of the house worker, by name.
    """

    url: str
    folder: Path
    environment: dict[str, str]
    service: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    servers: dict[str, int] = field(default_factory=dict)

    @property
    def worker(self) -> subprocess.Popen[bytes]:
        """The only compute worker."""
        (worker,) = self.workers
        return worker

    @contextmanager
    def working(
        self,
        count: int,
        module: str = "worker",
        settings: Mapping[str, str] | None = None,
        *,
        niceness: int = 0,
    ) -> Iterator[list[subprocess.Popen[bytes]]]:
        """So many compute workers while the block runs; they and all that it needs are ready when it begins.

        Args:
            module: that they run, with ``WORKER_NUMBER`` in their environment.
            settings: of theirs.

        Raises:
            RuntimeError: they are not ready within three minutes.
        """
        with ExitStack() as cleanup:
            for number in range(count):
                environment = {**self.environment, **(settings or {}), "WORKER_NUMBER": str(number)}
                log = self.folder / (f"{module}.log" if count == 1 else f"{module}-{number}.log")
                self.workers.append(cleanup.enter_context(_running(module, environment, log, niceness)))
            try:
                _wait_until_ready(self)
                yield self.workers
            finally:
                cleanup.close()
                self.workers.clear()

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
    workers: int = 1,
    house: bool = False,
) -> Iterator[Stack]:
    """A stack while the block runs; logs lie in ``folder``, and what it stores if there is no S3.

    Args:
        workers: compute workers; with none, `Stack.working` starts them.
        house: whether there is a house worker.

    Raises:
        RuntimeError: it is not ready within three minutes.
    """
    with ExitStack() as cleanup:
        for name in ("valkey", "s3"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        valkey = cleanup.enter_context(running_valkey(folder / "valkey"))
        servers = {"Valkey": _pid(valkey.url)}
        if storage == "s3":
            s3 = cleanup.enter_context(running_s3(folder / "s3"))
            s3.make_bucket("flawsmith-bench")
            stored = s3.environment("flawsmith-bench")
            servers["S3"] = s3.pid
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

        def running(module: str) -> subprocess.Popen[bytes]:
            return cleanup.enter_context(_running(module, environment, folder / f"{module}.log", 0))

        stack = Stack(f"http://{HOST}:{port}", folder, environment, running("service"), servers=servers)
        if house:
            servers["house"] = running("worker.house").pid
        if workers:
            cleanup.enter_context(stack.working(workers, niceness=worker_niceness))
        yield stack


def _pid(redis_url: str) -> int:
    with Redis.from_url(redis_url) as redis:
        return int(redis.info("server")["process_id"])


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
            if answer.status_code == 200 and answer.json()["workers"] == len(stack.workers):
                return
        except httpx.TransportError:
            pass
        if any(process.poll() is not None for process in (stack.service, *stack.workers)):
            break
        time.sleep(0.2)
    raise RuntimeError("the stack did not become ready; see its logs")
