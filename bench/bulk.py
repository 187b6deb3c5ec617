"""``python -m bench bulk``: does the bookkeeping of data sets stay linear, and memory flat? The model is skipped.

Of each size a data set is accepted with its plan, then one process does what workers and the API do of it: begins
and finishes every shard, writes each item's record and counts it, and asks for the job, as a client would, once a
shard. Items are as they are in earnest, but have no files. Storage is a folder, the queue a Valkey that writes its
file every second.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from redis import Redis

from bench.shared import show, write
from flawsmith.contract.jobs import JobStatus
from service.store.connection import connect_redis
from service.store.jobs import Jobs
from service.store.opening import open_storage
from service.store.plans import Plans, write_plan
from service.store.queue import forget_shards, shard_queue
from service.store.settings import StoreSettings
from tests.servers import running_valkey
from tests.service.store.planned import TENANT, dataset, drawn, rows

SIZES = (1_000, 3_000, 10_000)
MOST_TIMES, MOST_BYTES = 1.5, 40e6
"""What is promised: seconds that 1,000 items of the largest compute over those of the smallest; growth of the
process."""


def measure(jobs: Jobs, plans: Plans, redis: Redis, count: int, shard_size: int, folder: Path) -> dict[str, Any]:
    """The numbers of one data set."""
    request = dataset(count, shard_size)
    queue = shard_queue(redis)
    before, began = _resident(), time.perf_counter()
    redis_before = _used(redis)
    jobs.accept(request, write_plan(rows(count, of=request.job_id), folder / request.job_id))
    accepted = time.perf_counter()
    slowest, cpu = 0.0, time.process_time()
    for shard in range(-(-count // shard_size)):
        started = time.perf_counter()
        with redis.pipeline() as pipeline:  # as who works on it does
            forget_shards(queue, request.job_id, [shard], pipeline)
            pipeline.execute()
        state = jobs.begin_shard(TENANT, request.job_id, shard)
        assert state.pending
        for row in plans.rows(request, state.pending):
            jobs.finish_item(TENANT, request.job_id, drawn(row.index, of=request.job_id))
        jobs.finish_shard(TENANT, request.job_id, shard)
        jobs.get(TENANT, request.job_id)
        slowest = max(slowest, time.perf_counter() - started)
    took, cpu = time.perf_counter() - accepted, time.process_time() - cpu
    job = jobs.get(TENANT, request.job_id)
    assert job is not None
    assert (job.status, job.counts.succeeded) == (JobStatus.SUCCEEDED, count)
    return {
        "items": count,
        "accepting, s per 1,000": 1000 * (accepted - began) / count,
        "working, s per 1,000": 1000 * took / count,
        "of it this process computes, s": 1000 * cpu / count,
        "slowest shard, ms": 1000 * slowest,
        "Redis at its end, MB": (_used(redis) - redis_before) / 1e6,
        "process grew, MB": (_resident() - before) / 1e6,
    }


def _used(redis: Redis) -> float:
    return float(redis.info("memory")["used_memory_dataset"])


def _resident() -> int:
    """Bytes of this process in memory, now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench bulk", description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=list(SIZES), help="data sets of so many items")
    parser.add_argument("--shard-size", type=int, default=StoreSettings.model_fields["shard_size"].default)
    parser.add_argument("--folder", type=Path, help="where storage and queue write; a temporary folder if absent")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        (folder / "valkey").mkdir()
        with running_valkey(folder / "valkey", appendfsync="everysec") as server:
            settings = StoreSettings(redis_url=server.url, storage_url=(folder / "storage").as_uri())
            storage = open_storage(settings)
            with connect_redis(settings) as redis:
                jobs, plans = Jobs(redis, storage, settings), Plans(storage)
                measure(jobs, plans, redis, 200, arguments.shard_size, folder)  # what is loaded once
                found = [
                    measure(jobs, plans, redis, count, arguments.shard_size, folder) for count in arguments.items
                ]
    show(found)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"most memory of the process: {peak:.0f} MiB; load average {os.getloadavg()}")
    write(arguments.json, arguments, found=found)
    first, last = found[0], found[-1]
    computed = "of it this process computes, s"
    times = last[computed] / first[computed]
    grew = max(row["process grew, MB"] for row in found) * 1e6
    broken = [
        *([f"an item of the largest computes {times:.1f} times as long"] if times > MOST_TIMES else []),
        *([f"the process grew by {grew / 1e6:.0f} MB"] if grew > MOST_BYTES else []),
    ]
    print(f"an item of the largest computes {times:.2f} times as long; broken: {broken or 'nothing'}")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
