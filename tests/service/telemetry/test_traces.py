"""Traces reach a collector, and cost nothing where none is configured."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from service.telemetry import traces
from tests.servers import free_ports
from tests.service.telemetry.collector import Collector, running_collector

ROOT = Path(__file__).parents[3]
CLIENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with running_collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
        yield collector
        traces.close()


def test_spans_reach_the_collector(collector: Collector) -> None:
    traces.configure("api")
    with traces.span("HTTP", kind="server", parent=CLIENT, path="/v1") as outer:
        outer.name("GET /v1")
        outer.set(status=200)
        assert outer.trace_id == CLIENT.split("-")[1]
        handed_on = traces.traceparent()
    traces.close()
    traces.configure("worker")
    with suppress(ValueError), traces.span("shard", kind="consumer", parent=handed_on):
        with traces.span("item", began_ns=1_000_000_000, item=3) as item:
            item.fail("no mask")
        raise ValueError("no room")
    traces.close()

    (of_api, request), (of_worker, inner), (_, shard) = collector.spans
    assert (of_api, of_worker) == ("flawsmith-api", "flawsmith-worker")
    assert (request.name, shard.name, inner.name) == ("GET /v1", "shard", "item")
    assert request.trace_id.hex() == shard.trace_id.hex() == inner.trace_id.hex() == CLIENT.split("-")[1]
    assert request.parent_span_id.hex() == CLIENT.split("-")[2]
    assert (shard.parent_span_id, inner.parent_span_id) == (request.span_id, shard.span_id)
    attributes = {one.key: one.value for one in request.attributes}
    assert attributes["http.response.status_code"].int_value == 200
    assert inner.start_time_unix_nano == 1_000_000_000
    assert (inner.status.code, inner.status.message) == (inner.status.STATUS_CODE_ERROR, "no mask")
    assert shard.status.code == shard.status.STATUS_CODE_ERROR


@pytest.mark.parametrize("parent", ["", "nonsense", "00-" + 32 * "0" + "-" + 16 * "0" + "-01", "x" * 100_000])
def test_a_false_traceparent_begins_a_new_trace(collector: Collector, parent: str) -> None:
    traces.configure("api")
    with traces.span("HTTP", parent=parent):
        pass
    traces.close()

    ((_, span),) = collector.spans
    assert span.parent_span_id == b""


def test_without_an_endpoint_nothing_is_kept_and_nothing_loaded() -> None:
    program = """
import sys
from service.telemetry import traces
traces.configure("api")
with traces.span("HTTP", parent="x") as span:
    span.set(status=200)
    assert span.trace_id is None and traces.traceparent() is None
traces.close()
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize("absent", ["opentelemetry.sdk.trace", "opentelemetry"])
def test_without_the_extra_a_warning_says_so(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, absent: str
) -> None:
    monkeypatch.setitem(sys.modules, absent, None)
    traces.configure("api")
    with traces.span("HTTP") as span:
        assert span.trace_id is None

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "extra `otel`" in record.getMessage()


def test_a_collector_that_is_away_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"http://127.0.0.1:{free_ports(1)[0]}/v1/traces")
    traces.configure("api")
    for _ in range(100):
        with traces.span("HTTP"):
            pass
    began = time.monotonic()
    traces.close()
    assert time.monotonic() - began < traces.CLOSE_PATIENCE_S + 2
