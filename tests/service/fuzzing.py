"""Requests that schemathesis makes from ``openapi.yaml``, and answers held against it, on a live API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from tests.service.pictures import encoded, mask, part, part_16_bit
from tests.service.process import ROOT

KNOWN = "FUZZ_KNOWN"
"""Environment variable that tells the hooks what exists."""
DEEP = Image.fromarray(np.asarray(part_16_bit()) * 16)
"""A part of 16 bits that reaches over half of their range, so that it is no empty mask."""
TAUGHT = "taught"
EVALUATED = "evaluated"
"""A type that was taught, whose samples stay."""
MOVED = "moved"
"""A type that was imported, which nobody deletes."""
BUNDLE_PATH = f"/v1/defect-types/{MOVED}/versions/1/bundle"
FINAL = ("succeeded", "failed", "canceled")


@dataclass(frozen=True)
class Known:
    """What exists in the service that is fuzzed, and where that is."""

    address: str
    key: str | None
    defect_types: list[str]
    uploads: list[str]
    deep_upload: str
    """One of 16 bits, of the same size."""
    jobs: list[str]
    several: str
    """A finished one whose items have several defects."""
    dataset: str
    """A finished data set."""
    training: str
    """A job that has taught ``taught``."""
    taught: str
    evaluated: str
    taught_evaluated: str
    """The job that taught it: evaluations copy its samples, so that nobody deletes it."""

    @classmethod
    def from_json(cls, text: str) -> Known:
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Fuzzed:
    """What a run found."""

    cases: int
    failures: list[str]
    """Each with the operations that it was found at."""
    accepted: dict[str, int]
    """For each operation that was tested: the cases that it answered with success."""
    log: str
    """What schemathesis said, with a command that reproduces each failure."""


def prepare(address: str, key: str | None = None, timeout_s: float = 240.0) -> Known:
    """Uploads, finished jobs of one defect and of several, a data set, a long one for others to cancel, and types
    that were taught; what ran before is canceled.

    Raises:
        RuntimeError: the worker did not finish a job in time.
    """
    with httpx.Client(base_url=address, headers=headers(key), timeout=120) as client:
        _cancel_all(client)
        listed = client.get("/v1/defect-types").json()["defect_types"]
        (defect_type,) = {entry["name"] for entry in listed if entry["builtin"]}
        sent = {"image": encoded(part()), "mask": encoded(mask())}
        *uploads, deep = [
            client.post("/v1/uploads", files={"file": data}).json()["id"]
            for data in (*sent.values(), encoded(DEEP))
        ]
        jobs: list[str] = []
        for count in (2, 64):
            fields = {"defect_type": defect_type, "count": str(count), "steps": "4", "min_quality": "0"}
            jobs.append(client.post("/v1/augmentations", files=sent, data=fields).json()["id"])
        files = {"image": sent["image"], "mask_0": sent["mask"], "mask_1": encoded(mask().rotate(180))}
        listed_twice = json.dumps([{"defect_type": defect_type}] * 2)
        fields = {"defects": listed_twice, "steps": "4", "min_quality": "0"}
        several = client.post("/v1/augmentations", files=files, data=fields).json()["id"]
        entry = {"defect_type": defect_type, "count": 1, "masks": "given", "steps": 4, "min_quality": 0}
        spec = {"entries": [entry], "normals": [{"image": uploads[0], "mask": uploads[1]}]}
        dataset = client.post("/v1/datasets", json=spec).json()["id"]
        lesson = {"name": TAUGHT, "samples": [{"image": uploads[0], "mask": uploads[1]}]}
        training = client.post("/v1/defect-types", json=lesson).json()["id"]
        other = client.post("/v1/defect-types", json=lesson | {"name": EVALUATED}).json()["id"]
        deadline = time.monotonic() + timeout_s
        for job in (jobs[0], several, dataset, training, other):
            while client.get(f"/v1/jobs/{job}").json()["status"] not in FINAL:
                if time.monotonic() > deadline:
                    raise RuntimeError("the worker did not finish a job of two items and trainings")
                time.sleep(0.1)
        made = client.get(f"/v1/jobs/{training}").json()["training"]["defect_type"].replace("@", "/versions/")
        bundle = client.get(f"/v1/defect-types/{made}/bundle", params={"with_samples": "true"}).content
        client.put(BUNDLE_PATH, content=bundle, headers={"Content-Type": "application/zip"})
    return Known(
        address,
        key,
        [defect_type, f"{defect_type}@1"],
        uploads,
        deep,
        [jobs[0], *jobs],
        several,
        dataset,
        training,
        TAUGHT,
        EVALUATED,
        other,
    )


def _cancel_all(client: httpx.Client) -> None:
    """Cancel what an earlier run left in the queue."""
    for status in ("running", "queued"):
        cursor: dict[str, str] | None = {}
        while cursor is not None:
            page = client.get("/v1/jobs", params={"limit": "100", "status": status, **cursor}).json()
            for job in page["jobs"]:
                client.post(f"/v1/jobs/{job['id']}/cancel")
            cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else None


def fuzz(
    known: Known,
    folder: Path,
    *,
    seed: int,
    examples: int,
    key: str | None = None,
    phases: Sequence[str] = ("examples", "coverage", "fuzzing", "stateful"),
    timeout_s: float = 3600.0,
) -> Fuzzed:
    """One run of schemathesis, every check on; the same seed makes the same requests.

    Args:
        known: what exists, so that requests get farther than the first refusal.
        folder: for what it leaves.
        seed: of what is drawn.
        examples: requests that are drawn for each operation, beside those that the document itself calls for.
        key: that every request carries, for one other than that of ``known``; "" for none.
        phases: of schemathesis.
        timeout_s: longest run.

    Raises:
        RuntimeError: schemathesis itself failed.
    """
    report = folder / f"fuzz-{seed}.json"
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", str(ROOT / "openapi.yaml")),
        *("--url", known.address, "--checks", "all", "--phases", ",".join(phases)),
        *("--seed", str(seed), "--max-examples", str(examples), "--generation-database", "none"),
        *("--continue-on-failure", "--no-shrink", "--suppress-health-check", "all", "--request-timeout", "60"),
        *("--report", "json", "--report-json-path", str(report), "--no-color"),
    ]
    for name, value in headers(known.key if key is None else key).items():
        command += ["--header", f"{name}: {value}"]
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": "tests.service.fuzz_hooks",
        "PYTHONPATH": str(ROOT),
        KNOWN: json.dumps(asdict(known)),
    }
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout_s)
    if not report.exists():
        raise RuntimeError(f"schemathesis ended with status {run.returncode}:\n{run.stdout}\n{run.stderr}")
    found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    accepted = {
        operation: sum(phase["accepted"] for phase in by_phase.values())
        for operation, by_phase in found["valid_rates"].items()
    }
    failures = [
        f"{failure['title']} ({failure['count']}): {', '.join(map(str, failure.get('operations', [])))}"
        for failure in [*found["failures"], *found["errors"]]
    ]
    if run.returncode and not failures:
        failures = [f"schemathesis ended with status {run.returncode}"]
    return Fuzzed(found["test_cases"]["generated"], failures, accepted, run.stdout + run.stderr)


def headers(key: str | None) -> dict[str, str]:
    """What a request with this API key carries."""
    return {"Authorization": f"Bearer {key}"} if key else {}
