"""``python -m service.doctor``: what is wrong with a deployment, and the remedy.

It looks from where it runs, with the settings that it finds there, so it is run where the API runs.
"""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError, ResponseError
from rq.registry import FailedJobRegistry

from flawsmith.contract.ids import DEFAULT_TENANT, SYSTEM_TENANT
from service.settings import ServiceSettings
from service.store import houses
from service.store.clock import redis_time
from service.store.connection import QueueUnavailableError, connect_redis, queue_errors
from service.store.folder import FolderStorage
from service.store.idempotency import SKEW_MS
from service.store.identity import AnotherStorageError, Identity
from service.store.jobs import Jobs
from service.store.mending import Mender
from service.store.opening import open_storage
from service.store.queue import shard_queue
from service.store.readings import Readings
from service.store.registry import Registry
from service.store.storage import Storage, StorageError

if TYPE_CHECKING:
    from redis import Redis

SLOW_S = 1.0
OLD_S = 600.0
"""A shard that waited for so long waits for workers that are too few, or dead."""
SKEW_S = 2.0
LITTLE_SPACE = 0.05
GRACE_S = 120.0
ORPHAN_AGE_S = 3600.0

State = Literal["ok", "note", "bad"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    about: str
    state: State
    what: str
    remedy: str | None = None


def examine(settings: ServiceSettings) -> Iterator[Finding]:
    """Look at everything, one thing after the other; what cannot be looked at is a finding too."""
    try:
        redis = connect_redis(settings)
    except ValueError as error:
        yield Finding("queue", "bad", f"it has no address: {error}", "correct FLAWSMITH_REDIS_URL")
        return
    with closing(redis):
        queue_answers = False  # also one that is ill tells of workers and work
        for finding in _guarded("queue", lambda: _queue(redis)):
            queue_answers |= finding.state != "bad"
            yield finding
        try:
            storage = open_storage(settings)
        except (StorageError, ValueError) as error:
            yield Finding(
                "storage", "bad", str(error), "correct FLAWSMITH_STORAGE_URL, or make the folder writable"
            )
            return
        if queue_answers:
            try:
                Identity(redis, storage).check()
            except AnotherStorageError as error:
                yield Finding("storage", "bad", str(error), "see docs/faults.md, Storage")
                return
            except (StorageError, QueueUnavailableError):
                pass  # said below
        yield from _guarded("storage", lambda: _storage(storage))
        yield from _guarded("defect types", lambda: _defect_types(storage))
        if queue_answers:
            yield from _guarded("clock", lambda: _clock(redis))
            yield from _guarded("workers", lambda: _workers(redis, storage, settings))
            yield from _guarded("work", lambda: _work(redis, storage, settings))


def rebuild(settings: ServiceSettings) -> str:
    """Fill Redis from storage, queued jobs included; what was done, in words.

    Raises:
        QueueUnavailableError: Redis does not answer.
        RedisError: it refuses something.
        StorageError: storage does not answer; what was rebuilt before stays.
        ValueError: a setting names no address.
    """
    with closing(connect_redis(settings)) as redis:
        storage = open_storage(settings)
        Identity(redis, storage).confirm()
        return str(_mender(redis, storage, settings).rebuild())


def _guarded(about: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except (QueueUnavailableError, RedisError) as error:
        cause = error.__cause__ if isinstance(error, QueueUnavailableError) else error
        if isinstance(cause, ResponseError):
            yield _refused(about, cause)
        else:
            remedy = "start Redis or Valkey, or correct FLAWSMITH_REDIS_URL"
            yield Finding(about, "bad", str(error), remedy)
    except StorageError as error:
        yield Finding(
            about,
            "bad",
            str(error),
            "see that it runs, has room and takes the credentials of FLAWSMITH_S3_…",
        )


def _queue(redis: Redis) -> Iterator[Finding]:
    with queue_errors():
        began = time.monotonic()
        redis.ping()
        took = time.monotonic() - began
        info = redis.info()
    version = info.get("valkey_version") or info.get("redis_version")
    yield Finding(
        "queue",
        "ok" if took < SLOW_S else "note",
        f"{info.get('server_name', 'redis')} {version} answers in {1000 * took:.0f} ms",
        None if took < SLOW_S else "bring it nearer to the API, or give it a machine with time to spare",
    )
    yield from _persistence(redis, info)
    if info.get("maxmemory", 0) and info.get("maxmemory_policy") != "noeviction":
        yield Finding(
            "queue",
            "bad",
            f"it forgets keys when it is full (maxmemory-policy {info.get('maxmemory_policy')})",
            "set maxmemory-policy noeviction",
        )


def _clock(redis: Redis) -> Iterator[Finding]:
    with queue_errors():
        skew = abs(time.time() - redis_time(redis))
    if skew > SKEW_S:
        too_far = skew * 1000 > SKEW_MS
        yield Finding(
            "clock",
            "bad" if too_far else "note",
            f"that of the queue differs from this one by {skew:.0f} s"
            + (": of two jobs under one Idempotency-Key it cannot be told which was promised" if too_far else ""),
            "let all computers follow NTP",
        )


def _persistence(redis: Redis, info: dict[str, Any]) -> Iterator[Finding]:
    if info.get("aof_enabled") == 0:
        yield Finding(
            "queue",
            "note",
            "it keeps no append-only file: a restart forgets what is queued, until it is rebuilt from storage",
            "set appendonly yes",
        )
    elif info.get("aof_last_write_status", "ok") != "ok":
        yield Finding("queue", "bad", "it cannot write its append-only file", "give its volume room")
    try:
        redis.set("flawsmith:doctor", 1, ex=10)
    except ResponseError as error:
        yield _refused("queue", error)


def _refused(about: str, error: ResponseError) -> Finding:
    """What a queue that answers does not do, and what is to be done about it."""
    what = f"the queue takes no writes: {error}"
    if isinstance(error, OutOfMemoryError):
        return Finding(about, "bad", what, "give it memory: raise its maxmemory, or remove what others keep in it")
    if isinstance(error, ReadOnlyError):
        return Finding(about, "bad", what, "point FLAWSMITH_REDIS_URL at the primary")
    if str(error).startswith("MISCONF"):
        return Finding(about, "bad", what, "make room on its disk, and see its log for why it cannot save")
    if str(error).startswith("NOREPLICAS"):
        return Finding(about, "bad", what, "bring its replicas back, or lower its min-replicas-to-write")
    return Finding(
        about, "bad", f"the queue refuses: {error}", "let the user of FLAWSMITH_REDIS_URL run all commands on it"
    )


def _storage(storage: Storage) -> Iterator[Finding]:
    key = f"{SYSTEM_TENANT}/doctor/{secrets.token_hex(8)}"
    sent = secrets.token_bytes(64)
    began = time.monotonic()
    storage.check()
    storage.put(key, sent)
    try:
        came_back = storage.get(key) == sent
    finally:
        storage.delete(key)
    took = time.monotonic() - began
    if not came_back:
        yield Finding("storage", "bad", "what was written came back otherwise", "check the storage server")
    else:
        yield Finding("storage", "ok", f"an object is written, read and deleted in {1000 * took:.0f} ms")
    if isinstance(storage, FolderStorage):
        usage = shutil.disk_usage(storage.root)
        if usage.free < LITTLE_SPACE * usage.total:
            yield Finding(
                "storage",
                "note",
                f"{usage.free / 1e9:.1f} GB are free in {storage.root}",
                "make room, or set FLAWSMITH_KEEP_JOBS_DAYS",
            )


def _defect_types(storage: Storage) -> Iterator[Finding]:
    try:
        records = Registry(storage).list(DEFAULT_TENANT)
    except ValidationError as error:
        first = error.errors()[0]["msg"]
        yield Finding(
            "defect types", "bad", f"a record is unreadable: {first}", "upgrade to the newest version used"
        )
        return
    if records:
        names = sorted({record.name for record in records})
        yield Finding("defect types", "ok", f"{len(names)}: {', '.join(names)}")
    else:
        yield Finding("defect types", "bad", "there are none", "start a compute worker, which brings its own")


def _workers(redis: Redis, storage: Storage, settings: ServiceSettings) -> Iterator[Finding]:
    computing = Jobs(redis, storage, settings).workers()
    if computing:
        yield Finding("workers", "ok", f"compute workers alive: {computing}")
    else:
        yield Finding("workers", "bad", "no compute worker lives", "start one (`python -m worker`); see its log")
    keeping = houses.living(redis)
    if keeping:
        yield Finding("workers", "ok", f"house workers alive: {keeping}")
    else:
        yield Finding(
            "workers",
            "bad",
            "no house worker is alive: work that loses its place is not found again",
            "start one (`python -m worker.house`); see its log",
        )


def _work(redis: Redis, storage: Storage, settings: ServiceSettings) -> Iterator[Finding]:
    queue = shard_queue(redis)
    with queue_errors():
        waiting = queue.count
        failed = FailedJobRegistry(queue=queue).count
    age = Readings(redis).oldest_wait_s()
    yield Finding(
        "work",
        "ok" if age < OLD_S else "note",
        f"pieces waiting: {waiting}" + (f", the oldest since {age:.0f} s" if waiting else ""),
        None if age < OLD_S else "start more compute workers, or see why those there are do nothing",
    )
    if failed:
        yield Finding("work", "note", f"pieces given up by the queue: {failed}", "see the compute workers' logs")
    lost = _mender(redis, storage, settings).missing()
    if lost:
        yield Finding(
            "work",
            "bad",
            f"unfinished jobs that Redis does not know: {lost}",
            "`flawsmith doctor --rebuild` queues them again; a house worker does so by itself",
        )
    else:
        yield Finding("work", "ok", "Redis knows all unfinished jobs that storage holds")


def _mender(redis: Redis, storage: Storage, settings: ServiceSettings) -> Mender:
    return Mender(redis, storage, settings, grace_s=GRACE_S, orphan_age_s=ORPHAN_AGE_S)


def _say(finding: Finding) -> None:
    line = f"{finding.state:5} {finding.about:13} {finding.what}"
    sys.stdout.write(line + (f"\n{'':19} → {finding.remedy}" if finding.remedy else "") + "\n")
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> int:
    """Examine, and rebuild if asked to; 1 if something is bad."""
    parser = argparse.ArgumentParser(prog="flawsmith doctor", description="What is wrong, and the remedy.")
    parser.add_argument("--rebuild", action="store_true", help="first fill Redis from storage, queued jobs too")
    parser.add_argument("--json", action="store_true", help="print JSON for programs to read")
    wanted = parser.parse_args(arguments)
    try:
        settings = ServiceSettings()
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            name = "_".join(["FLAWSMITH", *map(str, fault["loc"])]).upper()
            _say(Finding("settings", "bad", f"{name}: {fault['msg']}", f"correct or unset {name}"))
        return 1
    if wanted.rebuild:
        try:
            sys.stderr.write(f"rebuilt: {rebuild(settings)}\n")
        except (QueueUnavailableError, RedisError, StorageError, ValueError) as error:
            sys.stderr.write(f"not rebuilt: {error}\n")
            return 1
    findings = []
    for finding in examine(settings):
        findings.append(finding)
        if not wanted.json:
            _say(finding)
    if wanted.json:
        sys.stdout.write(json.dumps([asdict(finding) for finding in findings], indent=2) + "\n")
    return 1 if any(finding.state == "bad" for finding in findings) else 0


if __name__ == "__main__":
    sys.exit(main())
