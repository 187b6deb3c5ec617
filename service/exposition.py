"""Metrics in the words of Prometheus: totals from Redis, and what stands there now."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

import flawsmith
from service.store.connection import queue_errors
from service.telemetry import catalog, gauges, metrics
from service.telemetry.catalog import Family

if TYPE_CHECKING:
    from redis import Redis

    from service.store.jobs import Jobs
    from service.store.readings import Readings

Values = tuple[str, ...]
"""Values of a family's labels, in their order."""


@dataclass(frozen=True)
class Scrape(Collector):
    """Everything that one scrape tells; ``found`` is what `read` gave, None if Redis did not answer."""

    found: list[Metric] | None

    def collect(self) -> Iterator[Metric]:
        """The metrics, as ``prometheus_client`` asks for them."""
        yield _gauge(catalog.BUILD, [((flawsmith.__version__,), 1)])
        yield _gauge(catalog.QUEUE_UP, [((), 0 if self.found is None else 1)])
        yield from self.found or ()


def read(redis: Redis, jobs: Jobs, readings: Readings) -> list[Metric]:
    """What Redis holds for the whole deployment.

    Raises:
        QueueUnavailableError: it does not answer.
    """
    found = [
        _gauge(catalog.QUEUE_SHARDS, [((), jobs.queued_shards())]),
        _gauge(catalog.QUEUE_OLDEST, [((), readings.oldest_wait_s())]),
        _gauge(catalog.SHARDS_AT_WORK, [((), readings.shards_at_work())]),
        _gauge(catalog.WORKERS, [(("compute",), jobs.workers()), (("house",), readings.house_workers())]),
        _gauge(catalog.JOBS_OPEN, [((), readings.open_jobs())]),
    ]
    with queue_errors():
        totals = metrics.totals(redis)
        reported = gauges.reported(redis)
    parts: defaultdict[str, dict[tuple[Values, str], float]] = defaultdict(dict)
    for (name, values, part), total in totals.items():
        if name in catalog.FAMILIES and len(values) == len(catalog.FAMILIES[name].labels):
            parts[name][values, part] = total
    for family in catalog.FAMILIES.values():
        if family.kind == "counter":
            found.append(_counter(family, parts[family.name]))
        elif family.kind == "histogram":
            found.append(_histogram(family, parts[family.name]))
    memory = catalog.DEVICE_MEMORY
    samples = [(values, value) for name, values, value in reported if name == memory.name]
    found.append(_gauge(memory, [sample for sample in samples if len(sample[0]) == len(memory.labels)]))
    return found


def _gauge(family: Family, samples: Iterable[tuple[Values, float]]) -> Metric:
    found = GaugeMetricFamily(family.name, family.help, labels=list(family.labels))
    for values, value in samples:
        found.add_metric(values, value)
    return found


def _counter(family: Family, parts: Mapping[tuple[Values, str], float]) -> Metric:
    totals = dict.fromkeys(_from_the_start(family), 0.0)
    totals.update({values: total for (values, _), total in parts.items()})
    found = CounterMetricFamily(family.name, family.help, labels=list(family.labels))
    for values, total in sorted(totals.items()):
        found.add_metric(values, total)
    return found


def _histogram(family: Family, parts: Mapping[tuple[Values, str], float]) -> Metric:
    """Counts of another version's bounds go to the next bound of this one."""
    counts: dict[Values, dict[float, float]] = {values: {} for values in _from_the_start(family)}
    sums: dict[Values, float] = {}
    for (values, part), total in parts.items():
        if part == "sum":
            sums[values] = total
        elif (bound := _bound(part)) is not None:
            counts.setdefault(values, {})[bound] = total
    found = HistogramMetricFamily(family.name, family.help, labels=list(family.labels))
    for values, by_bound in sorted(counts.items()):
        buckets = [
            (str(float(bound)).replace("inf", "+Inf"), sum(count for at, count in by_bound.items() if at <= bound))
            for bound in (*family.buckets, math.inf)
        ]
        found.add_metric(values, buckets, sums.get(values, 0.0))
    return found


def _from_the_start(family: Family) -> list[Values]:
    """Series that are there before anything is counted; none if a label is open."""
    return list(product(*family.labels.values()))


def _bound(part: str) -> float | None:
    try:
        return float(part)
    except ValueError:
        return None
