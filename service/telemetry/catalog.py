"""Every metric by name, type, labels and meaning. Labels take values of the code, never of a client.

Counters and histograms are counted by the processes and added up in Redis; a gauge is read at the moment of the
scrape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

OPEN: tuple[str, ...] = ()
"""A label whose values are not listed here; few all the same."""

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)

ITEM_OUTCOMES = ("succeeded", "rejected", "failed", "canceled")
SHARD_OUTCOMES = ("done", "stopped", "outage", "failed", "taken_over", "unreadable")
JOB_STATUSES = ("succeeded", "failed", "canceled")


@dataclass(frozen=True)
class Family:
    """One metric with all its series."""

    kind: Literal["counter", "histogram", "gauge"]
    name: str
    help: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Label → its values, or `OPEN`. Series of which all values are listed exist from the start, at zero."""
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets, ascending, without +Inf."""


def _counter(name: str, text: str, **labels: tuple[str, ...]) -> Family:
    return Family("counter", f"flawsmith_{name}", text, labels)


def _histogram(name: str, text: str, buckets: tuple[float, ...] = SECONDS, **labels: tuple[str, ...]) -> Family:
    return Family("histogram", f"flawsmith_{name}", text, labels, buckets)


def _gauge(name: str, text: str, **labels: tuple[str, ...]) -> Family:
    return Family("gauge", f"flawsmith_{name}", text, labels)


HTTP_REQUESTS = _counter(
    "http_requests_total",
    "HTTP requests; 499 is one whose client left before the answer",
    method=OPEN,
    route=OPEN,
    status=OPEN,
)
HTTP_DURATION = _histogram(
    "http_request_duration_seconds", "Time from a request's head to the end of its answer", method=OPEN, route=OPEN
)
HTTP_REQUEST_BYTES = _counter("http_request_bytes_total", "Bytes of bodies read", method=OPEN, route=OPEN)
HTTP_RESPONSE_BYTES = _counter("http_response_bytes_total", "Bytes of bodies sent", method=OPEN, route=OPEN)

JOBS_ACCEPTED = _counter(
    "jobs_accepted_total",
    "Jobs accepted: augmentations, data sets, trainings, evaluations",
    kind=("augmentation", "dataset", "training", "evaluation"),
)
JOBS_FINISHED = _counter("jobs_finished_total", "Jobs that ended, by their final status", status=JOB_STATUSES)
JOB_DURATION = _histogram("job_duration_seconds", "Time from a job's acceptance to its end", status=JOB_STATUSES)

ITEMS = _counter(
    "items_total",
    "Items by outcome: succeeded, rejected (drawn, but not accepted), failed, canceled",
    outcome=ITEM_OUTCOMES,
)
ITEMS_REUSED = _counter(
    "items_reused_total", "Items of data sets that were there already, of those that succeeded or were rejected"
)
FAILURES = _counter("failures_total", "Failed items by reason code", reason=OPEN)

SHARDS = _counter("shards_total", "Runs of shards by how they ended", outcome=SHARD_OUTCOMES)
SHARD_RETRIES = _counter("shard_retries_total", "Shards begun that were begun before")
SHARD_WAIT = _histogram("shard_wait_seconds", "Time from a shard's entry into the queue to its beginning")
SHARD_RUN = _histogram("shard_run_seconds", "Time that a worker spends on a shard")
STEP = _histogram("step_seconds", "Time from one model call of the denoiser to the next of its batch")
BATCH_ITEMS = _histogram("batch_items", "Items drawn together", (1, 2, 4, 8, 16, 32, 64))
BATCH_SHARDS = _histogram("batch_shards", "Shards whose items were drawn together", (1, 2, 4, 8, 16, 32, 64))
OUT_OF_MEMORY = _counter("out_of_memory_total", "Batches for which the device had too little memory")

BUILD = _gauge("build_info", "Always 1; the version of the API process that answered", version=OPEN)
QUEUE_UP = _gauge("queue_up", "1 if Redis answers; without it no metric but this one and build_info is there")
QUEUE_SHARDS = _gauge("queue_shards", "Shards that wait for a worker")
QUEUE_OLDEST = _gauge("queue_oldest_seconds", "How long the shard has waited that waits longest; 0 if none does")
SHARDS_AT_WORK = _gauge("shards_at_work", "Shards that a live worker is at")
WORKERS = _gauge("workers", "Workers that are alive", kind=("compute", "house"))
JOBS_OPEN = _gauge("jobs_open", "Jobs accepted and not ended")
DEVICE_MEMORY = _gauge(
    "device_memory_bytes",
    "Memory of a worker's device: used by tensors (on the CPU: by the process), reserved by the allocator, total",
    worker=OPEN,
    device=OPEN,
    state=OPEN,
)

FAMILIES: Mapping[str, Family] = {
    value.name: value for value in list(globals().values()) if isinstance(value, Family)
}
