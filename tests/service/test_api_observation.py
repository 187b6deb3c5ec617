"""What is seen of every request: its id, its line in the log, its counts, and ``/metrics``, which tells them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping

import httpx
import numpy as np
import pytest
from PIL import Image
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis
from rq import SimpleWorker

import flawsmith
from flawsmith.contract import problems
from flawsmith.contract.ids import new_job_id
from service.settings import ServiceSettings
from service.store import houses, records
from service.store.queue import shard_queue
from service.store.registry import Registry
from service.telemetry import catalog, context, gauges, traces
from service.telemetry.metrics import KEY, Metrics
from tests.servers import free_ports
from tests.service.conftest import Api
from tests.service.pictures import encoded, mask, part
from tests.service.serving import client_of, serving
from tests.service.telemetry.collector import running_collector
from tests.service.test_api_refusals import assert_problem

pytestmark = pytest.mark.parametrize("settings", ["folder"], indirect=True)

Samples = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]


def scraped(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((f"flawsmith_{name}", tuple(sorted(labels.items()))), 0.0)


def scrape(api: Api, after: float = 2.0) -> Samples:
    """The metrics, once the counts of requests before have had time to be sent."""
    time.sleep(after)
    return scraped(api.client.get("/metrics").text)


def logged(caplog: pytest.LogCaptureFixture, logger: str, count: int) -> list[logging.LogRecord]:
    """What was logged, which may come a moment after the answer."""
    for _ in range(100):
        found = [record for record in caplog.records if record.name == logger]
        if len(found) >= count:
            break
        time.sleep(0.02)
    return found


@pytest.fixture
def access(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG, "service.observation"):
        yield caplog


def test_requests_of_one_connection_have_nothing_in_common(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[Mapping[str, str | int]] = []
    noise = np.random.default_rng(0).integers(0, 256, (250, 250, 3), np.uint8)

    def note(record: logging.LogRecord) -> bool:
        lines.append(dict(context.fields()))
        return True

    with running_collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
        traces.configure("api")
        log = logging.getLogger("service.observation")
        monkeypatch.setattr(log, "level", logging.INFO)
        log.addFilter(note)
        try:
            with httpx.Client(base_url=api.address) as client:
                # Of a body that does not come at once the server goes on reading while it is at work on it.
                client.post("/v1/uploads", files={"file": encoded(Image.fromarray(noise))}).raise_for_status()
                client.get(f"/v1/jobs/{new_job_id()}")
                client.get("/v1/jobs")
        finally:
            time.sleep(0.2)  # a line is written after its answer
            log.removeFilter(note)
            traces.close()

    assert ["job_id" in line for line in lines] == [False, True, False]
    assert len({line["request_id"] for line in lines}) == 3
    assert len({span.trace_id for _, span in collector.spans}) == 3
    assert all(span.parent_span_id == b"" for _, span in collector.spans)


@pytest.mark.parametrize("given", ["a", "line-7.part_3", 64 * "x"])
def test_a_clients_request_id_comes_back(api: Api, given: str) -> None:
    assert api.client.get("/healthz", headers={"X-Request-ID": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", [None, "", "two words", 65 * "x", "é", '"}', "\x1b[2J"])
def test_any_other_is_replaced(api: Api, given: str | None) -> None:
    headers = {} if given is None else {"X-Request-ID": given.encode()}
    answers = [httpx.get(f"{api.address}/healthz", headers=headers) for _ in range(2)]

    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == 2
    assert all(found.startswith("req_") for found in ids)


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/jobs/none"])
def test_a_problem_names_its_request(api: Api, path: str) -> None:
    answer = api.client.get(path, headers={"X-Request-ID": "r-1"})

    assert_problem(answer, problems.NOT_FOUND, None)
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == "r-1"


def test_a_fault_is_logged_and_answered_under_the_same_id(
    api: Api, monkeypatch: pytest.MonkeyPatch, access: pytest.LogCaptureFixture
) -> None:
    def broken(registry: Registry, tenant: str) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(Registry, "list", broken)
    answer = api.client.get("/v1/defect-types", headers={"X-Request-ID": "r-2"})

    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "r-2"
    (fault,) = [record for record in logged(access, "service.observation", 2) if record.exc_info]
    assert fault.getMessage() == "a fault of the service"


def test_a_job_remembers_its_request(api: Api) -> None:
    files = {"image": encoded(part()), "mask": encoded(mask())}
    headers = {"X-Request-ID": "r-3"}
    answer = api.client.post("/v1/augmentations", files=files, data={"defect_type": "scratch"}, headers=headers)

    assert api.jobs.manifest("default", answer.json()["id"]).request_id == "r-3"


def test_a_request_is_a_line_and_a_probe_one_for_debugging(api: Api, access: pytest.LogCaptureFixture) -> None:
    api.client.get("/v1/jobs/none?wait=secret", headers={"Authorization": "Bearer secret"})
    api.client.get("/healthz")

    request, probe = logged(access, "service.observation", 2)
    assert request.levelno == logging.INFO
    assert request.getMessage().startswith("GET /v1/jobs/none 4")
    assert (request.method, request.route) == ("GET", "/v1/jobs/{job_id}")  # type: ignore[attr-defined]
    assert request.bytes_out > 100  # type: ignore[attr-defined]
    assert probe.levelno == logging.DEBUG
    assert "secret" not in str([record.__dict__ for record in access.records])


def test_requests_are_counted_by_route_and_never_by_what_a_client_sent(api: Api) -> None:
    before = scrape(api)
    for number in range(3):
        api.client.get(f"/v1/jobs/secret-{number}")
        httpx.get(f"{api.address}/secret-{number}")
        httpx.request(f"SECRET{number}", f"{api.address}/healthz")
    body = encoded(part(40, 40))
    api.client.post("/v1/uploads", content=body, headers={"Content-Type": "image/png"})
    text = api.client.get("/metrics").text
    after = scrape(api)

    def grown(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    job = {"method": "GET", "route": "/v1/jobs/{job_id}"}
    assert grown("http_requests_total", **job, status="404") == 3
    assert grown("http_request_duration_seconds_count", **job) == 3
    assert grown("http_request_duration_seconds_bucket", **job, le="+Inf") == 3
    assert 0 < grown("http_request_duration_seconds_sum", **job) < 10
    assert grown("http_requests_total", method="GET", route="other", status="404") == 3
    assert grown("http_requests_total", method="other", route="/healthz", status="405") == 3
    upload = {"method": "POST", "route": "/v1/uploads"}
    assert grown("http_request_bytes_total", **upload) == len(body)
    assert grown("http_response_bytes_total", **upload) > 100
    assert "secret" not in text.lower()


def test_jobs_are_counted_from_acceptance_to_end(api: Api) -> None:
    before = scrape(api)
    files = {"image": encoded(part()), "mask": encoded(mask())}
    form = {"defect_type": "scratch", "count": "6"}
    jobs = [api.client.post("/v1/augmentations", files=files, data=form).json()["id"] for _ in range(2)]
    api.client.post("/v1/augmentations", files=files, data={**form, "dry_run": "true"})
    for _ in range(2):
        api.client.post(f"/v1/jobs/{jobs[0]}/cancel")
    after = scrape(api)

    assert value(after, "jobs_accepted_total", kind="augmentation") == 2 + value(
        before, "jobs_accepted_total", kind="augmentation"
    )
    assert value(after, "jobs_finished_total", status="canceled") == 1
    assert value(after, "job_duration_seconds_count", status="canceled") == 1
    assert value(after, "items_total", outcome="canceled") == 6
    assert value(after, "queue_shards") == 2
    assert 1 < value(after, "queue_oldest_seconds") < 30


def test_all_that_there_is_to_know_is_there_from_the_start(api: Api) -> None:
    families = {family.name for family in text_string_to_metric_families(api.client.get("/metrics").text)}

    assert families == {family.name.removesuffix("_total") for family in catalog.FAMILIES.values()}
    samples = scrape(api, after=0)
    assert value(samples, "build_info", version=flawsmith.__version__) == 1
    assert value(samples, "queue_up") == 1
    assert ("flawsmith_items_total", (("outcome", "failed"),)) in samples


def test_live_workers_are_counted_and_their_memory_told(api: Api) -> None:
    worker = SimpleWorker([shard_queue(api.redis)], connection=api.redis)
    worker.register_birth()
    houses.beat(api.redis, "one", ttl_s=60)
    memory = ("host:1", "cuda:0", "used")
    gauges.report(api.redis, worker.name, [(catalog.DEVICE_MEMORY.name, memory, 5e9)], ttl_s=60)

    samples = scrape(api, after=0)
    assert value(samples, "workers", kind="compute") == 1
    assert value(samples, "workers", kind="house") == 1
    assert value(samples, "device_memory_bytes", worker="host:1", device="cuda:0", state="used") == 5e9
    assert api.client.get("/readyz").json()["house_workers"] == 1


def test_open_jobs_are_counted_over_all_tenants(api: Api) -> None:
    files = {"image": encoded(part()), "mask": encoded(mask())}
    jobs = [
        api.client.post("/v1/augmentations", files=files, data={"defect_type": "scratch"}).json()["id"]
        for _ in range(2)
    ]
    api.redis.sadd(records.TENANTS_KEY, "other")
    api.redis.sadd(records.open_key("other"), "job_1")
    assert value(scrape(api, after=0), "jobs_open") == 3

    api.client.post(f"/v1/jobs/{jobs[0]}/cancel")
    assert value(scrape(api, after=0), "jobs_open") == 2


def test_prometheus_and_openmetrics_are_answered(api: Api) -> None:
    plain = api.client.get("/metrics")
    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    accept = {"Accept": "application/openmetrics-text; version=1.0.0, text/plain; q=0.5"}
    modern = api.client.get("/metrics", headers=accept)
    assert modern.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert {family.name for family in open_metrics(modern.text)} == {
        family.name for family in text_string_to_metric_families(plain.text)
    }


def test_bounds_of_another_version_are_not_lost(api: Api) -> None:
    metrics = Metrics(api.redis)
    metrics.observe(catalog.BATCH_ITEMS, 4)
    metrics.flush()
    api.redis.hset(KEY, '["flawsmith_batch_items",[],"3.0"]', 2)
    api.redis.hset(KEY, '["flawsmith_batch_items",["more"],"3.0"]', 2)
    api.redis.hset(KEY, '["flawsmith_future_total",[],""]', 2)

    samples = scrape(api, after=0)
    assert value(samples, "batch_items_bucket", le="2.0") == 0
    assert value(samples, "batch_items_bucket", le="4.0") == 3
    assert value(samples, "batch_items_count") == 3


def test_while_redis_is_away_the_metrics_say_so_and_requests_are_answered(settings: ServiceSettings) -> None:
    away = settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_ports(1)[0]}/0"})
    with serving(away) as address, client_of(address) as client:
        for _ in range(3):
            assert client.get("/v1/defect-types").status_code == 200
            samples = scraped(client.get("/metrics").text)
            assert value(samples, "queue_up") == 0
            assert {name for name, _ in samples} == {"flawsmith_build_info", "flawsmith_queue_up"}


def test_a_second_process_tells_the_same(api: Api, redis: Redis) -> None:
    with serving(api.settings) as address, client_of(address) as client:
        for _ in range(5):
            client.get("/v1/defect-types")
            api.client.get("/v1/defect-types")
        time.sleep(2.0)
        of_one, of_other = (scraped(one.get("/metrics").text) for one in (api.client, client))

    labels = {"method": "GET", "route": "/v1/defect-types", "status": "200"}
    assert value(of_one, "http_requests_total", **labels) == value(of_other, "http_requests_total", **labels) == 10
