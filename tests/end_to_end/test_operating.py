"""API processes and a worker as they are deployed: one log to search, one set of totals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.servers import Valkey, free_ports, running_valkey
from tests.service.pictures import encoded, mask, part
from tests.worker.tiny_worker import ROOT, running_worker, save_backbone, until

pytestmark = pytest.mark.slow


class ApiProcess:
    """An API process that can be ended and started again."""

    def __init__(self, environment: dict[str, str], log: Path, *, processes: int = 1) -> None:
        self.url = f"http://127.0.0.1:{free_ports(1)[0]}"
        self._environment = environment | {"FLAWSMITH_PORT": self.url.rpartition(":")[2]}
        self._log = log
        self._program = ["service"]
        if processes > 1:
            uvicorn = ["uvicorn", "service.app:create_app", "--factory", "--workers", str(processes)]
            self._program = [*uvicorn, "--port", self._environment["FLAWSMITH_PORT"]]
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self._program],
                cwd=ROOT,
                env=os.environ | self._environment,
                stdout=log,
                stderr=log,
            )

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(self.url + path, headers=headers, timeout=30)

    def answers(self) -> bool:
        try:
            return self.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(self.get("/metrics").text)
            for sample in family.samples
            if sample.name == f"flawsmith_{name}" and labels.items() <= sample.labels.items()
        )


class Deployment:
    """Two API processes and a worker on one Valkey and one storage."""

    def __init__(self, folder: Path, valkey: Valkey, backbone: Path, running: ExitStack) -> None:
        self.valkey = valkey
        self.log = folder / "all.log"
        self.environment = environment = {
            "FLAWSMITH_REDIS_URL": valkey.url,
            "FLAWSMITH_REDIS_TIMEOUT_S": "1",
            "FLAWSMITH_STORAGE_URL": (folder / "storage").as_uri(),
            "FLAWSMITH_BACKBONE": str(backbone),
            "FLAWSMITH_DEVICE": "cpu",
            "FLAWSMITH_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        running.enter_context(running_worker(environment, self.log))
        self.apis = [ApiProcess(environment, self.log) for _ in range(2)]
        for api in self.apis:
            running.callback(api.end)
        until(lambda: all(api.answers() for api in self.apis), 60)
        until(lambda: self.apis[0].get("/readyz").json()["workers"] == 1, 120)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("deployment")
    (folder / "valkey").mkdir()
    save_backbone(folder / "tiny")
    with running_valkey(folder / "valkey") as valkey, ExitStack() as running:
        yield Deployment(folder, valkey, folder / "tiny", running)


def augment(api: ApiProcess, request_id: str, count: int) -> str:
    answer = httpx.post(
        f"{api.url}/v1/augmentations",
        files={"image": encoded(part()), "mask": encoded(mask())},
        data={"defect_type": "scratch", "count": str(count), "steps": "4", "min_quality": "0"},
        headers={"X-Request-ID": request_id},
        timeout=60,
    )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def comes(condition: Callable[[], bool]) -> None:
    """Counts of other processes come within a second or two."""
    until(condition, 10)


def test_one_search_follows_a_request_from_the_api_to_the_worker(deployment: Deployment) -> None:
    one, other = deployment.apis
    job_id = augment(one, "line-7", 3)
    until(lambda: other.get(f"/v1/jobs/{job_id}").json()["status"] == "succeeded", 60)
    time.sleep(0.2)

    found = [line for line in deployment.lines() if line.get("request_id") == "line-7"]
    assert {line["role"] for line in found} == {"api", "worker"}
    assert {line.get("job_id") for line in found} == {job_id}
    assert {line.get("tenant") for line in found} == {"default"}
    (access,) = [line for line in found if line["logger"] == "service.observation"]
    assert (access["method"], access["route"], access["status"]) == ("POST", "/v1/augmentations", 202)
    assert any(line.get("shard") == 0 and "took" in line["message"] for line in found)


def test_every_line_is_json_whatever_a_client_sends(deployment: Deployment) -> None:
    api = deployment.apis[0]
    forged = '%0a{"level":"critical","message":"forged"}%0d%1b[2J'
    api.get(f"/v1/jobs/{forged}")
    api.get("/healthz", **{"User-Agent": "x\ty", "X-Request-ID": "a b"})
    comes(lambda: "forged" in deployment.log.read_text())

    lines = deployment.lines()
    assert all({"time", "level", "logger", "message", "role"} <= line.keys() for line in lines)
    assert not [line for line in lines if line["message"] == "forged"]
    assert "/healthz" not in {line.get("path") for line in lines}


def test_every_api_process_tells_the_same_totals(deployment: Deployment) -> None:
    one, other = deployment.apis

    def counted(api: ApiProcess) -> list[float]:
        return [
            api.metric("items_total", outcome="succeeded"),
            api.metric("http_requests_total", route="/v1/augmentations", status="202"),
            api.metric("jobs_accepted_total"),
            api.metric("jobs_finished_total", status="succeeded"),
        ]

    time.sleep(2)  # what was counted before has come by then
    before = counted(one)
    augment(one, "totals-1", 4)
    augment(other, "totals-2", 1)
    for api in deployment.apis:
        expected = [count + more for count, more in zip(before, (5, 2, 2, 2), strict=True)]
        comes(lambda api=api, expected=expected: counted(api) == expected)  # type: ignore[misc]
        assert api.metric("workers", kind="compute") == 1
        assert api.metric("device_memory_bytes", state="used") > 1e7
        assert api.metric("step_seconds_count") > 0


def test_totals_outlive_an_api_process(deployment: Deployment) -> None:
    """What it counted in its last moment, too: it is ended right after."""
    one, other = deployment.apis
    before = other.metric("http_requests_total", route="/v1/defect-types")
    for _ in range(7):
        one.get("/v1/defect-types")
    one.end()
    assert other.metric("http_requests_total", route="/v1/defect-types") == before + 7
    one.start()
    until(one.answers, 60)
    assert one.metric("http_requests_total", route="/v1/defect-types") == before + 7


def test_processes_behind_one_port_tell_the_same(deployment: Deployment, tmp_path: Path) -> None:
    api = ApiProcess(deployment.environment, tmp_path / "uvicorn.log", processes=2)
    try:
        until(api.answers, 60)
        before = api.metric("http_requests_total", route="/v1/defect-types")
        for _ in range(30):
            api.get("/v1/defect-types")
        comes(lambda: api.metric("http_requests_total", route="/v1/defect-types") == before + 30)
        assert {api.metric("http_requests_total", route="/v1/defect-types") for _ in range(10)} == {before + 30}
    finally:
        api.end()


def test_without_redis_requests_are_answered_and_counted_later(deployment: Deployment) -> None:
    one, other = deployment.apis
    before = one.metric("http_requests_total", route="/v1/defect-types")
    deployment.valkey.kill()
    try:
        for api in (one, other, one):
            assert api.get("/v1/defect-types").status_code == 200
        assert one.metric("queue_up") == 0
        time.sleep(2)
    finally:
        deployment.valkey.start()
    comes(lambda: other.metric("http_requests_total", route="/v1/defect-types") == before + 3)
