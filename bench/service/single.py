"""One item asked for on an idle worker: what it takes beyond drawing it, and where that goes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from bench.service import figures
from bench.service.bare import Bare
from bench.service.wishes import Wish, finished
from bench.stack import Stack
from flawsmith.client import Flawsmith
from tests.service.telemetry.collector import Collector

GOAL_S = 0.15
"""What the service may add."""
TRACED = {"OTEL_BSP_SCHEDULE_DELAY": "100"}
"""How a stack is started whose spans are asked for soon."""
_PATIENCE_S = 20.0
_PAUSE_S = 0.3
"""Before each request: the worker is idle, and spans of the one before are on their way."""


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        seconds: from its first byte until the item's image is there.
        stages: seconds of them, in their order.
        bare: seconds of the bare pipeline for the same item.
        bare_stages: of them by stage of the method.
    """

    seconds: float
    stages: dict[str, float]
    bare: float
    bare_stages: dict[str, float]


def measure(
    stack: Stack, collector: Collector, bare: Bare, requests: int, side: int, steps: int | None
) -> list[Request]:
    """Requests one after the other, each for another photo; the first two, which load things, are left out.

    Raises:
        RuntimeError: an item has other pixels than the bare pipeline gives.
    """
    found = []
    with Flawsmith(stack.url, timeout=120) as client:
        for number in range(requests + 2):
            wish = Wish.made(side, seed=2000 + number, steps=steps)
            drawn = bare.draw(wish)
            time.sleep(_PAUSE_S)
            sent = time.time_ns()
            job = finished(client, wish.sent(client))
            final = time.time_ns()
            client.item_image(job, 0)
            fetched = time.time_ns()
            if job.items[0].pixels_sha256 != drawn.pixels[0]:
                raise RuntimeError(f"the item of {job.id} has other pixels than the bare pipeline gives")
            spans = _spans_of(collector, job.id)
            stages = figures.stages(timeline(spans, sent, final, fetched))
            found.append(Request((fetched - sent) / 1e9, stages, drawn.seconds, drawn.stages))
    return found[2:]


def timeline(spans: dict[str, Span], sent: int, final: int, fetched: int) -> list[tuple[str, float]]:
    """What was done up to which moment.

    Args:
        spans: of the request, by name.
        sent, final, fetched: when the client sent it, heard of its end, and had the image; ns since the epoch.
    """
    http, admit, accept = spans["POST /v1/augmentations"], spans["admit"], spans["accept"]
    shard, material, item = spans["shard"], spans["material"], spans["item"]
    encode, store = spans["encode"], spans["store"]
    marks = [
        ("", sent),
        ("send", http.start_time_unix_nano),
        ("read the form", admit.start_time_unix_nano),
        ("decode, canonical", admit.end_time_unix_nano),
        ("manifest", accept.start_time_unix_nano),
        ("store and queue", accept.end_time_unix_nano),
        ("wait for the worker", shard.start_time_unix_nano),
        ("begin the shard", material.start_time_unix_nano),
        ("fetch of material", material.end_time_unix_nano),
        ("draw", encode.start_time_unix_nano),
        ("encode", encode.end_time_unix_nano),
        ("upload", store.end_time_unix_nano),
        ("finish the item", item.end_time_unix_nano),
        ("finish the job", shard.end_time_unix_nano),
        ("notice", final),
        ("fetch", fetched),
    ]
    return [(name, at / 1e9) for name, at in marks]


def _spans_of(collector: Collector, job_id: str) -> dict[str, Span]:
    """The spans of the request that made a job, by name, once they are there."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        spans = [span for _, span in list(collector.spans)]
        ours = {span.trace_id for span in spans if span.name == "accept" and _attribute(span, "job_id") == job_id}
        found = {span.name: span for span in spans if span.trace_id in ours}
        if {"POST /v1/augmentations", "shard"} <= found.keys():
            return found
        time.sleep(0.05)
    raise RuntimeError(f"the spans of {job_id} did not come")


def _attribute(span: Span, name: str) -> str:
    return next((one.value.string_value for one in span.attributes if one.key == f"flawsmith.{name}"), "")


def table(requests: Sequence[Request]) -> list[dict[str, Any]]:
    """Milliseconds by stage, medians over requests."""
    stages = figures.medians([one.stages for one in requests])
    return [{"stage": name, "ms": 1000 * seconds} for name, seconds in stages.items()]


def added(requests: Sequence[Request]) -> list[dict[str, Any]]:
    """Milliseconds in all, those of the bare pipeline, and the median of their differences."""
    return [
        {
            "requests": len(requests),
            "service, ms": 1000 * median(one.seconds for one in requests),
            "bare, ms": 1000 * median(one.bare for one in requests),
            "bare decode and encode, ms": 1000
            * median(one.bare_stages["decode PNG"] + one.bare_stages["encode PNG"] for one in requests),
            "added, ms": 1000 * median(one.seconds - one.bare for one in requests),
        }
    ]


def broken(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What was promised and is not kept."""
    return [
        f"a single request takes {row['added, ms']:.0f} ms more than its item"
        for row in rows
        if row["added, ms"] > 1000 * GOAL_S
    ]
