"""Counts of several processes become one total, whatever Redis does meanwhile."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from service.store.connection import connect_redis
from service.store.settings import StoreSettings
from service.telemetry import catalog, gauges
from service.telemetry.metrics import KEY, Metrics, totals
from tests.servers import running_valkey


class LosingAnswers:
    """A Redis whose answers get lost on the way, after the deed is done."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.losses = 0

    def eval(self, *arguments: Any) -> Any:
        answer = self._redis.eval(*arguments)
        if self.losses:
            self.losses -= 1
            raise RedisConnectionError("the answer was lost")
        return answer


def test_counts_of_processes_are_added_up(redis: Redis) -> None:
    processes = [Metrics(redis) for _ in range(3)]
    for number, metrics in enumerate(processes, start=1):
        metrics.count(catalog.ITEMS, number, outcome="succeeded")
        metrics.observe(catalog.BATCH_ITEMS, number)
        assert metrics.flush()
        assert metrics.flush()

    assert totals(redis) == {
        ("flawsmith_items_total", ("succeeded",), ""): 6,
        ("flawsmith_batch_items", (), "1.0"): 1,
        ("flawsmith_batch_items", (), "2.0"): 1,
        ("flawsmith_batch_items", (), "4.0"): 1,
        ("flawsmith_batch_items", (), "sum"): 6,
    }


def test_a_batch_whose_answer_was_lost_counts_once(redis: Redis) -> None:
    losing = LosingAnswers(redis)
    metrics = Metrics(losing)  # type: ignore[arg-type]
    losing.losses = 2
    metrics.count(catalog.SHARD_RETRIES)
    assert not metrics.flush()
    metrics.count(catalog.SHARD_RETRIES)
    assert not metrics.flush()
    metrics.count(catalog.SHARD_RETRIES)
    assert metrics.flush()

    assert totals(redis) == {("flawsmith_shard_retries_total", (), ""): 3}
    assert metrics.unsent() == {}


def test_counts_wait_while_redis_is_away(tmp_path: Path) -> None:
    with running_valkey(tmp_path) as valkey:
        settings = StoreSettings(redis_url=valkey.url, redis_timeout_s=0.5)
        with connect_redis(settings) as redis:
            metrics = Metrics(redis, interval_s=0.05)
            metrics.start()
            valkey.kill()
            for _ in range(1000):
                metrics.count(catalog.ITEMS, outcome="failed")
                metrics.observe(catalog.STEP, 0.02)
            assert len(metrics.unsent()) == 3, "what waits grows with the series, not with the counts"
            valkey.start()
            deadline = time.monotonic() + 10
            while metrics.unsent() and time.monotonic() < deadline:
                time.sleep(0.05)
            found = totals(redis)
            metrics.close()
    assert found["flawsmith_items_total", ("failed",), ""] == 1000
    assert found["flawsmith_step_seconds", (), "0.025"] == 1000
    assert found["flawsmith_step_seconds", (), "sum"] == pytest.approx(20)


def test_what_is_counted_last_is_sent_at_the_end(redis: Redis) -> None:
    metrics = Metrics(redis, interval_s=60)
    metrics.start()
    metrics.count(catalog.SHARD_RETRIES)
    metrics.close()

    assert totals(redis) == {("flawsmith_shard_retries_total", (), ""): 1}
    assert not [thread for thread in threading.enumerate() if thread.name == "metrics"]


def test_many_threads_lose_nothing(redis: Redis) -> None:
    metrics = Metrics(redis, interval_s=0.001)
    metrics.start()

    def count() -> None:
        for _ in range(2000):
            metrics.count(catalog.SHARD_RETRIES)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    metrics.close()

    assert totals(redis) == {("flawsmith_shard_retries_total", (), ""): 8000}


def test_what_others_wrote_is_passed_over(redis: Redis) -> None:
    metrics = Metrics(redis)
    metrics.count(catalog.SHARD_RETRIES)
    metrics.flush()
    for field, value in (("no json", 1), ("[1]", 1), ('["a",[],""]', "many"), ('["b",[],""]', "nan")):
        redis.hset(KEY, field, value)
    poisoned = '["flawsmith_items_total",["failed"],""]'
    redis.hset(KEY, poisoned, "poison")
    metrics.count(catalog.ITEMS, outcome="failed")
    metrics.count(catalog.SHARD_RETRIES)

    assert metrics.flush()
    assert totals(redis) == {("flawsmith_shard_retries_total", (), ""): 2}


def test_labels_take_no_free_text() -> None:
    metrics = Metrics(None)
    metrics.count(catalog.FAILURES, reason="two\nlines")
    metrics.count(catalog.FAILURES, reason="x" * 1000)

    assert metrics.unsent() == {("flawsmith_failures_total", ("other",), ""): 2}
    with pytest.raises(ValueError, match="labels"):
        metrics.count(catalog.FAILURES, tenant="acme")


def test_gauges_go_with_their_process(redis: Redis) -> None:
    one = [(catalog.DEVICE_MEMORY.name, ("host:1", "cpu", "used"), 5.0)]
    two = [(catalog.DEVICE_MEMORY.name, ("host:2", "cpu", "used"), 6.0)]
    gauges.report(redis, "one", one, ttl_s=1)
    gauges.report(redis, "two", two, ttl_s=60)
    assert gauges.reported(redis) == one + two
    time.sleep(1.1)
    assert gauges.reported(redis) == two
    assert redis.smembers(gauges.NAMES) == {b"two"}
    gauges.withdraw(redis, "two")
    assert gauges.reported(redis) == []
