"""The API as a process of its own, and the memory that it and its decoding processes take (Linux)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.servers import HOST, free_ports

ROOT = Path(__file__).parents[2]
SAMPLED_EVERY_S = 0.002


@dataclass(frozen=True)
class ServiceProcess:
    """A running ``python -m service``."""

    address: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid


@contextmanager
def service_process(environment: dict[str, str], log: Path) -> Iterator[ServiceProcess]:
    """The API on a free port while the block runs; ``log`` holds what it said.

    Raises:
        RuntimeError: it does not answer within thirty seconds.
    """
    (port,) = free_ports(1)
    address = f"http://{HOST}:{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "service"],
            cwd=ROOT,
            env=os.environ | environment | {"FLAWSMITH_HOST": HOST, "FLAWSMITH_PORT": str(port)},
            stdout=output,
            stderr=output,
        )
    try:
        _wait_for_answer(address, process, log)
        yield ServiceProcess(address, process, log)
    finally:
        process.terminate()
        try:
            process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_answer(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(httpx.TransportError):
            httpx.get(f"{address}/healthz", timeout=5)
            return
        time.sleep(0.05)
    raise RuntimeError(f"the API did not start: {log.read_text(errors='replace')[-2000:]}")


class MemoryWatch:
    """Peak resident memory of a process, and of its children and theirs, while the block runs."""

    def __init__(self, pid: int, every_s: float = SAMPLED_EVERY_S) -> None:
        self._pid = pid
        self._every_s = every_s
        self._before = 0
        self._children = 0
        self._largest_child = 0
        self._most_children = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> MemoryWatch:
        Path(f"/proc/{self._pid}/clear_refs").write_text("5")  # the peak is from now on
        self._before = peak(self._pid)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def own(self) -> int:
        """Peak of the process itself in bytes."""
        return peak(self._pid)

    @property
    def grown(self) -> int:
        """By how many bytes the process itself rose above what it had when the block began."""
        return self.own - self._before

    @property
    def children(self) -> int:
        """Most bytes that its children together had at one moment, each counted with its own peak."""
        return self._children

    @property
    def largest_child(self) -> int:
        """Most bytes that one of its children had."""
        return self._largest_child

    @property
    def most_children(self) -> int:
        """Most children at one moment."""
        return self._most_children

    def _watch(self) -> None:
        while not self._ended.wait(self._every_s):
            found = [peak(child) for child in _children(self._pid)]
            self._children = max(self._children, sum(found))
            self._largest_child = max(self._largest_child, *found, 0)
            self._most_children = max(self._most_children, len(found))


def peak(pid: int) -> int:
    """Peak resident memory of a process in bytes; 0 if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("ascii", errors="replace")
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


def _children(pid: int) -> list[int]:
    """Its children and theirs; not one that is the process itself still, between its fork and its own program."""
    itself = _command(pid)
    found = [child for child in _forked(pid) if _command(child) != itself]
    return found + [grandchild for child in found for grandchild in _forked(child)]


def _forked(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, task.read_text().split())
    return found


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
