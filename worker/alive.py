"""``python -m worker.alive [house]``: exit status 0 if the worker on this computer lives; for health checks.

A worker lives while Redis has its heartbeat. So one that still loads its models, or has lost the queue, does not.
"""

from __future__ import annotations

import socket
import sys
from contextlib import closing
from typing import TYPE_CHECKING, cast

from rq.worker_registration import get_keys as worker_keys

from service.store import houses
from service.store.connection import QueueUnavailableError, connect_redis, queue_errors
from service.store.queue import shard_queue
from service.store.settings import StoreSettings

if TYPE_CHECKING:
    from redis import Redis

_PATIENCE_S = 3.0


def compute_worker_lives_on(redis: Redis, host: str) -> bool:
    """Whether a compute worker on ``host`` is alive.

    Raises:
        QueueUnavailableError: Redis cannot be reached.
    """
    with queue_errors():
        keys = worker_keys(shard_queue(redis))
        return any(cast("bytes | None", redis.hget(key, "hostname")) == host.encode() for key in keys)


def main(arguments: list[str]) -> int:
    """Ask Redis; the exit status."""
    lives = {"compute": compute_worker_lives_on, "house": houses.lives_on}
    kind = arguments[0] if arguments else "compute"
    if kind not in lives or len(arguments) > 1:
        print(f"say one of: {', '.join(lives)}", file=sys.stderr)  # noqa: T201
        return 2
    try:
        with closing(connect_redis(StoreSettings(redis_timeout_s=_PATIENCE_S))) as redis:
            return 0 if lives[kind](redis, socket.gethostname()) else 1
    except QueueUnavailableError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
