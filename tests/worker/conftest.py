"""What tests of the worker share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from flawsmith.contract.base import FORMAT_VERSION
from flawsmith.contract.defect_types import DefectTypeDefaults, DefectTypeRecord
from flawsmith.contract.ids import BUILTIN_TENANT
from service.store.connection import connect_redis
from service.store.folder import FolderStorage
from service.store.jobs import Jobs
from service.store.registry import Registry
from service.store.storage import Storage
from tests.worker.tiny_worker import TYPE, save_backbone
from worker.settings import WorkerSettings


@pytest.fixture(scope="session")
def backbone_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny backbone with one defect type."""
    folder = tmp_path_factory.mktemp("backbones") / "tiny"
    save_backbone(folder)
    return folder


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> WorkerSettings:
    """Settings of a worker that is soon taken for dead."""
    return WorkerSettings(
        redis_url=redis_url,
        redis_timeout_s=1,
        storage_url=(tmp_path / "storage").as_uri(),
        worker_ttl_s=2,
        heartbeat_interval_s=0.2,
        maintenance_interval_s=1,
    )


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    """A storage that knows the defect type of `tests.worker.tiny_worker`."""
    storage = FolderStorage(tmp_path / "storage")
    publish_type(storage)
    return storage


def publish_type(storage: Storage) -> None:
    """Make the defect type of `tests.worker.tiny_worker` known."""
    Registry(storage).publish(
        DefectTypeRecord(
            format_version=FORMAT_VERSION,
            tenant=BUILTIN_TENANT,
            name=TYPE,
            version=1,
            description="",
            backbone="tiny",
            backbone_digest="sha256:0",
            adapter_sha256="sha256:1",
            defaults=DefectTypeDefaults(
                severity=1, guidance=1, steps=10, seed_share=0.8, min_quality=0, part="part"
            ),
        )
    )


@pytest.fixture
def client(settings: WorkerSettings) -> Iterator[Redis]:
    """The worker's own connection."""
    with connect_redis(settings, blocking_s=1) as client:
        yield client


@pytest.fixture
def jobs(client: Redis, storage: FolderStorage, settings: WorkerSettings) -> Jobs:
    return Jobs(client, storage, settings)
