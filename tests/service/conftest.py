"""The API over a real Valkey and a real storage: a folder, and an S3 server."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from redis import Redis

from flawsmith.contract.base import FORMAT_VERSION
from flawsmith.contract.defect_types import DefectTypeDefaults, DefectTypeRecord
from flawsmith.contract.ids import BUILTIN_TENANT
from service.settings import ServiceSettings
from service.store.identity import Identity
from service.store.jobs import Jobs
from service.store.opening import open_storage
from service.store.registry import Registry
from service.store.storage import Storage
from tests.servers import S3Server, Valkey
from tests.service.serving import client_of, serving

SCRATCH = DefectTypeRecord(
    format_version=FORMAT_VERSION,
    tenant=BUILTIN_TENANT,
    name="scratch",
    version=1,
    description="A thin, bright line.",
    backbone="flawsmith-small-1",
    backbone_digest="sha256:" + 64 * "0",
    adapter_sha256=64 * "1",
    start="sketch",
    defaults=DefectTypeDefaults(
        severity=0.6, guidance=1.0, steps=20, seed_share=0.7, min_quality=0.3, part="a metal part"
    ),
)


@dataclass
class Api:
    """A running API, and what lies behind it."""

    address: str
    client: httpx.Client
    settings: ServiceSettings
    redis: Redis
    storage: Storage

    @property
    def jobs(self) -> Jobs:
        return Jobs(self.redis, self.storage, self.settings)

    def traces(self) -> tuple[dict[bytes, bytes | None], list[str]]:
        """All that queue and storage hold, but for what is counted of every request."""
        keys = (key for key in self.redis.scan_iter() if not key.startswith(b"flawsmith:metrics"))
        return {key: self.redis.dump(key) for key in keys}, list(self.storage.list(""))


_numbers = itertools.count()


@pytest.fixture(scope="session")
def api_bucket(s3_server: S3Server) -> str:
    """A bucket for all tests of the API; each has a prefix of its own, for a bucket takes a second to make."""
    s3_server.make_bucket("api-tests")
    return "api-tests"


ON_BOTH = pytest.mark.parametrize("settings", ["folder", "s3"], indirect=True)
"""For what the kind of storage makes a difference to: with others the second one waits for the nightly run."""


@pytest.fixture(scope="module", params=["folder", pytest.param("s3", marks=pytest.mark.nightly)])
def settings(
    request: pytest.FixtureRequest, valkey: Valkey, tmp_path_factory: pytest.TempPathFactory
) -> ServiceSettings:
    """Settings for a storage of each kind, and for small files."""
    folder = tmp_path_factory.mktemp("api")
    (folder / "spool").mkdir()
    environment = {
        "FLAWSMITH_REDIS_URL": valkey.url,
        "FLAWSMITH_STORAGE_URL": (folder / "storage").as_uri(),
        "FLAWSMITH_SPOOL_DIR": str(folder / "spool"),
        "FLAWSMITH_MAX_UPLOAD_BYTES": "400000",
    }
    if request.param == "s3":
        server: S3Server = request.getfixturevalue("s3_server")
        environment |= server.environment(f"{request.getfixturevalue('api_bucket')}/{next(_numbers)}")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return ServiceSettings()


@pytest.fixture(scope="module")
def running_api(settings: ServiceSettings) -> Iterator[Api]:
    """The API with one defect type published, as a worker does at its start."""
    storage = open_storage(settings)
    Registry(storage).publish(SCRATCH)
    with (
        Redis.from_url(settings.redis_url) as redis,
        serving(settings) as address,
        client_of(address) as client,
    ):
        yield Api(address, client, settings, redis, storage)


@pytest.fixture
def api(running_api: Api, redis: Redis) -> Iterator[Api]:
    """The API without jobs; uploads of tests before may be there."""
    running_api.storage.delete_prefix("default/jobs/")
    Identity(redis, running_api.storage).confirm()  # the queue was emptied
    yield running_api
    spool = running_api.settings.spool_dir
    assert spool is not None
    for _ in range(100):  # a request whose client is gone may take a moment to end
        if not list(spool.iterdir()):
            return
        time.sleep(0.05)
    pytest.fail("a request left files behind")
