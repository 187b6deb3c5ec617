"""Storages to run the same tests on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from service.store.connection import connect_redis
from service.store.jobs import Jobs
from service.store.opening import open_storage
from service.store.settings import StoreSettings
from service.store.storage import Storage
from tests.servers import S3Server


def s3_settings(server: S3Server, bucket: str, **changes: object) -> StoreSettings:
    """Settings of a store in a bucket of the test server."""
    values: dict[str, object] = {
        "storage_url": f"s3://{bucket}/some/prefix",
        "s3_endpoint_url": server.endpoint_url,
        "s3_access_key_id": server.key_id,
        "s3_secret_access_key": server.secret,
    }
    return StoreSettings.model_validate(values | changes)


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty storage: in a folder, then in a bucket."""
    if request.param == "folder":
        return open_storage(StoreSettings(storage_url=(tmp_path / "storage").as_uri()))
    server, bucket = request.getfixturevalue("s3_server"), request.getfixturevalue("bucket")
    return open_storage(s3_settings(server, bucket))


@pytest.fixture
def settings(redis_url: str) -> StoreSettings:
    """Settings of an empty queue that is soon given up."""
    return StoreSettings(redis_url=redis_url, redis_timeout_s=1)


@pytest.fixture
def lose_answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it, and the answer to the next script is lost after the script has run."""
    parse, to_lose = Redis.parse_response, [False]

    def parse_or_lose(self: Redis, connection: Any, command: str, **options: Any) -> Any:
        answer = parse(self, connection, command, **options)  # type: ignore[no-untyped-call]
        if command == "EVALSHA" and to_lose[0]:
            to_lose[0] = False
            connection.disconnect()
            raise RedisConnectionError("reset by peer")
        return answer

    def lose() -> None:
        to_lose[0] = True

    monkeypatch.setattr(Redis, "parse_response", parse_or_lose)
    return lose


@pytest.fixture
def jobs(settings: StoreSettings, storage: Storage) -> Iterator[Jobs]:
    """Jobs in an empty queue, and in the storage of the module that asks."""
    with connect_redis(settings) as client:
        yield Jobs(client, storage, settings)
