"""Fixtures that tests of all rooms share."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator

import pytest
from redis import Redis

from tests.servers import S3Server, Valkey, running_s3, running_valkey

_numbers = itertools.count()

# What a shell runs in the background ignores Ctrl-C, and so would all that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A Valkey server; tests that use it share it, and `redis_url` empties it for each."""
    with running_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def redis_url(valkey: Valkey) -> str:
    """URL of an empty Valkey."""
    with Redis.from_url(valkey.url) as client:
        client.flushall()
    return valkey.url


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    """A client of an empty Valkey."""
    with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server."""
    with running_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def bucket(s3_server: S3Server) -> str:
    """Name of an empty bucket."""
    name = f"tests-{next(_numbers)}"
    s3_server.make_bucket(name)
    return name
