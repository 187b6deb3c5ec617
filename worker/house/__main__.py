"""``python -m worker.house``: a house worker."""

from __future__ import annotations

import logging
import signal
import sys
import time
from functools import partial

from service.store.connection import connect_redis
from service.store.identity import Identity
from service.store.jobs import Jobs
from service.store.mending import Mender
from service.store.opening import open_storage
from service.store.storage import Storage, StorageUnavailableError
from service.telemetry import logs
from service.telemetry.jobs import count_final
from service.telemetry.metrics import Metrics
from worker.house.house import Duty, House
from worker.house.made import MadeItems
from worker.house.retention import Retention
from worker.house.settings import HouseSettings
from worker.house.watchdog import Watchdog

_log = logging.getLogger("worker.house")

_RETRY_S = 2.0


def main() -> None:
    """Keep house until asked to stop."""
    settings = HouseSettings()
    logs.configure("house", settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        # Until the house hears signals itself. Without a handler the first process of a container hears none.
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    storage = _opened(settings)
    redis = connect_redis(settings)
    metrics = Metrics(redis)
    metrics.start()
    jobs = Jobs(redis, storage, settings)
    mender = Mender(
        redis,
        storage,
        settings,
        grace_s=settings.watch_grace_s,
        orphan_age_s=settings.orphan_age_s,
        on_final=partial(count_final, metrics),
    )
    identity = Identity(redis, storage)
    duties = [Duty("watchdog", settings.watch_interval_s, Watchdog(mender, settings).look)]
    house = House(redis, duties, identity.confirm)
    made = MadeItems(storage, settings, house.stopping)
    duties.append(Duty("made items", settings.retention_interval_s, made.sweep))
    if settings.keep_jobs_days is not None or settings.keep_uploads_days is not None:
        retention = Retention(jobs, storage, settings, house.stopping)
        duties.append(Duty("retention", settings.retention_interval_s, retention.sweep))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: house.stop())
    house.run()
    metrics.close()


def _opened(settings: HouseSettings) -> Storage:
    while True:
        try:
            return open_storage(settings)
        except StorageUnavailableError as error:
            _log.warning("storage does not answer; trying again: %s", error)
            time.sleep(_RETRY_S)


if __name__ == "__main__":
    main()
