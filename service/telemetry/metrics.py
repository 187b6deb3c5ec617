"""Counters and histograms of the whole deployment: counted in each process, added up in Redis.

A process that counts touches only its own memory. About once a second a thread sends what came together; a batch
has a number, and Redis takes each number of a process once, so that a batch whose answer was lost is sent again.
"""

from __future__ import annotations

import json
import logging
import math
import re
import secrets
import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from redis.exceptions import RedisError

from service.telemetry.catalog import Family

if TYPE_CHECKING:
    from redis import Redis

_log = logging.getLogger(__name__)

KEY = "flawsmith:metrics"
"""A hash: series → value."""
_MARKER_TTL_S = 24 * 3600
_VALUE = re.compile(r"[\x20-\x7e]{1,100}")

_ADD = """
-- KEYS: series, marker of the process; ARGV: number of the batch, seconds to remember it, then series, amount, …
-- Adds a batch unless it was added before.
if redis.call('GET', KEYS[2]) == ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
for at = 3, #ARGV, 2 do redis.pcall('HINCRBYFLOAT', KEYS[1], ARGV[at], ARGV[at + 1]) end
return 1
"""

Series = tuple[str, tuple[str, ...], str]
"""Name of the family, values of its labels in their order, and of a histogram the part: a bound, or ``sum``."""


class Metrics:
    """What this process has counted and not yet told. Any thread may count; it never waits for Redis.

    Args:
        redis: where totals are kept, by a connection with a short timeout; None keeps counts to this process.
        interval_s: how often they are sent.
    """

    def __init__(self, redis: Redis | None, interval_s: float = 1.0) -> None:
        self._redis = redis
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._counts: defaultdict[Series, float] = defaultdict(float)
        self._sending = threading.Lock()
        self._batch: dict[Series, float] = {}
        self._number = 0
        self._marker = f"{KEY}:sent:{secrets.token_hex(8)}"
        self._away = False
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Send in the background until `close`."""
        self._thread = threading.Thread(target=self._send_often, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Send what is left, if Redis answers, and stop."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.flush()

    def count(self, family: Family, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        series = (family.name, _values(family, labels), "")
        with self._lock:
            self._counts[series] += amount

    def observe(self, family: Family, value: float, **labels: str) -> None:
        """Add an observation to a histogram."""
        values = _values(family, labels)
        at = bisect_left(family.buckets, value)
        bound = family.buckets[at] if at < len(family.buckets) else math.inf
        with self._lock:
            self._counts[(family.name, values, repr(float(bound)))] += 1
            self._counts[(family.name, values, "sum")] += value

    def flush(self) -> bool:
        """Send now; False if Redis does not answer: then everything is kept for the next time."""
        if self._redis is None:
            return False
        with self._sending:
            while True:
                if not self._batch:
                    with self._lock:
                        self._batch, self._counts = dict(self._counts), defaultdict(float)
                    self._number += 1
                    if not self._batch:
                        return True
                if not self._send(self._redis):
                    return False
                self._batch = {}

    def unsent(self) -> dict[Series, float]:
        """What Redis does not have yet."""
        with self._sending, self._lock:
            found = defaultdict(float, self._counts)
            for series, amount in self._batch.items():
                found[series] += amount
        return dict(found)

    def _send(self, redis: Redis) -> bool:
        arguments: list[str | int | float] = [self._number, _MARKER_TTL_S]
        for series, amount in self._batch.items():
            arguments += [json.dumps(series, separators=(",", ":")), repr(float(amount))]
        try:
            redis.eval(_ADD, 2, KEY, self._marker, *arguments)
        except RedisError as error:
            if not self._away:
                _log.warning("metrics wait until the queue takes them: %s", error)
            self._away = True
            return False
        self._away = False
        return True

    def _send_often(self) -> None:
        while not self._ended.wait(self._interval_s):
            try:
                self.flush()
            except Exception:
                _log.exception("metrics could not be sent")


def totals(redis: Redis) -> dict[Series, float]:
    """All that was counted in the deployment; what cannot be read is left out.

    Raises:
        redis.exceptions.RedisError: it does not answer.
    """
    found: dict[Series, float] = {}
    for key, value in cast("Mapping[bytes, bytes]", redis.hgetall(KEY)).items():
        try:
            name, values, part = json.loads(key)
            series = (str(name), tuple(map(str, values)), str(part))
            amount = float(value)
        except (ValueError, TypeError):
            continue
        if math.isfinite(amount):
            found[series] = amount
    return found


def _values(family: Family, labels: Mapping[str, str]) -> tuple[str, ...]:
    if labels.keys() != family.labels.keys():
        raise ValueError(f"{family.name} has the labels {list(family.labels)}; got {list(labels)}")
    return tuple(labels[name] if _VALUE.fullmatch(labels[name]) else "other" for name in family.labels)
