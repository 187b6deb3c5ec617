"""What stands in Redis at this moment."""

from __future__ import annotations

from redis import Redis

from service.store import records
from service.store.jobs import Jobs
from service.store.readings import Readings
from tests.service.store.test_jobs import accepted, manifest


def test_open_jobs_of_all_tenants_are_counted_past_what_is_no_tenant(jobs: Jobs, redis: Redis) -> None:
    for tenant in ("default", "other"):
        accepted(jobs, manifest(tenant=tenant))
    redis.sadd(records.TENANTS_KEY, b"\xff", "../x")
    assert Readings(redis).open_jobs() == 2
