"""Builds of data sets by the command, as a person runs it, and what lies in storage afterwards."""

from __future__ import annotations

import hashlib
import json
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx

from bench.chaos.stack import Stack
from flawsmith.contract.ids import DEFAULT_TENANT
from service.store import keys
from tests.flawsmith.running import run_here

_POLLED_S = 0.1
_PATIENCE_S = 3600.0


@dataclass(frozen=True)
class Build:
    """A data set that was built and downloaded.

    Attributes:
        summary: as the command tells it with ``--json``.
        seconds: from the request to the folder.
        archive: SHA-256 of the archive as the API sends it. size: its bytes.
        rows: lines of ``manifest.jsonl``.
    """

    job_id: str
    summary: dict[str, Any]
    seconds: float
    archive: str
    size: int
    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class Disturbance:
    """What happens to the stack while a build is at work.

    Attributes:
        at: share of the items that are done before.
        part: ``worker``, one that is at work and is killed, or ``valkey``, which is down for ``lasts`` seconds.
    """

    at: float
    part: str
    lasts: float = 0.0


UNREST = (
    Disturbance(0.15, "worker"),
    Disturbance(0.35, "worker"),
    Disturbance(0.5, "valkey", 1.0),
    Disturbance(0.7, "worker"),
)
"""Workers killed three times, and the queue once."""


def build(stack: Stack, spec: Path, out: Path, disturbances: Sequence[Disturbance] = ()) -> Build:
    """Build a data set into a folder: send it, let the disturbances happen, and go on with it to its end.

    Raises:
        RuntimeError: the command failed, or there was no time for the disturbances.
    """
    began = time.monotonic()
    job = _command("dataset", "build", spec, "--json", "--url", stack.url)
    for disturbance in disturbances:
        _disturb(stack, job["id"], disturbance)
    told = _command("dataset", "build", spec, "--out", out, "--json", "--url", stack.url)
    seconds = time.monotonic() - began
    if told["job"]["id"] != job["id"]:
        raise RuntimeError(f"{job['id']} was followed by {told['job']['id']}: it did not end well")
    digest, size = hashlib.sha256(), 0
    with httpx.stream("GET", f"{stack.url}/v1/jobs/{job['id']}/archive", timeout=600) as answer:
        answer.raise_for_status()
        for chunk in answer.iter_bytes():
            digest.update(chunk)
            size += len(chunk)
    lines = (out / "manifest.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return Build(job["id"], told["summary"], seconds, digest.hexdigest(), size, rows)


def forget(stack: Stack, build: Build) -> None:
    """Delete the job; what it made stays."""
    _command("delete", build.job_id, "--url", stack.url)


def forget_made(stack: Stack) -> None:
    """Remove all that was made, so that it is made anew."""
    stack.storage.delete_prefix(keys.made_prefix(DEFAULT_TENANT))


def made(stack: Stack) -> dict[str, str]:
    """Digest of every file of items that were made, by its key."""
    storage = stack.storage
    found = sorted(storage.list(keys.made_prefix(DEFAULT_TENANT)))
    return {key: hashlib.sha256(storage.get(key)).hexdigest() for key in found}


def _disturb(stack: Stack, job_id: str, disturbance: Disturbance) -> None:
    """Wait until so much is done, and disturb."""
    deadline = time.monotonic() + _PATIENCE_S
    with httpx.Client(base_url=stack.url, timeout=30) as http:
        while time.monotonic() < deadline:
            answer = http.get(f"/v1/jobs/{job_id}")
            if answer.status_code == 200:  # while the queue comes back it is 503
                job = answer.json()
                done = job["progress"]["done"] / job["progress"]["total"]
                if job["status"] not in ("queued", "running"):
                    raise RuntimeError(f"{job_id} is {job['status']} before it was disturbed; ask for more items")
                if done >= disturbance.at and _done(stack, disturbance):
                    return
            time.sleep(_POLLED_S)
    raise RuntimeError(f"{job_id} did not come to {disturbance.at:.0%}; see {stack.folder}")


def _done(stack: Stack, disturbance: Disturbance) -> bool:
    """Disturb; False if no worker is at work now."""
    if disturbance.part == "valkey":
        stack.valkey.kill()
        time.sleep(disturbance.lasts)
        stack.valkey.start()
        return True
    busy = _busy(stack)
    at_work = [part for part in stack.parts.values() if part.process is not None and part.process.pid in busy]
    if at_work:
        min(at_work, key=lambda part: part.starts).signal(signal.SIGKILL)
    return bool(at_work)


def _busy(stack: Stack) -> set[int]:
    """Process ids of workers that are at work."""
    found = set()
    names: Any = stack.redis.smembers("rq:workers")
    for name in names:
        state, pid = cast("list[Any]", stack.redis.hmget(name, ["state", "pid"]))
        if state == b"busy":
            found.add(int(pid))
    return found


def _command(*typed: str | Path) -> Any:
    """Run `flawsmith`; what it says as JSON, or nothing.

    Raises:
        RuntimeError: it exits with another status than 0.
    """
    done = run_here(*typed)
    if done.returncode:
        raise RuntimeError(f"flawsmith {' '.join(map(str, typed))} exits with {done.returncode}: {done.stderr}")
    return json.loads(done.stdout) if "--json" in typed else None
