"""The API and a worker on a tiny backbone that learns nothing, as processes, over a Valkey and a folder."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from pydantic import SecretStr

from flawsmith.contract.access import Scope
from flawsmith.contract.ids import DEFAULT_TENANT
from service.store.access import AccessRegistry, KeyHasher
from service.store.folder import FolderStorage
from tests.service.process import ServiceProcess, service_process
from tests.worker.tiny_worker import running_module, save_backbone

MAX_UPLOAD_BYTES = 2_000_000
SECRET = 40 * "s"


def make_key(folder: Path, *scopes: Scope) -> str:
    """A new API key of the tenant ``default`` for the stack in ``folder``, which need not run yet."""
    access = AccessRegistry(FolderStorage(folder / "storage"))
    return access.create(KeyHasher(SecretStr(SECRET)), DEFAULT_TENANT, scopes)[0].text


@contextmanager
def small_stack(folder: Path, redis_url: str, settings: dict[str, str] | None = None) -> Iterator[ServiceProcess]:
    """The API while the block runs, ready; ``folder`` holds storage, spool and logs.

    Raises:
        RuntimeError: it is not ready within a minute.
    """
    for name in ("storage", "spool"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    save_backbone(folder / "tiny")
    environment = {
        "FLAWSMITH_REDIS_URL": redis_url,
        "FLAWSMITH_STORAGE_URL": (folder / "storage").as_uri(),
        "FLAWSMITH_SPOOL_DIR": str(folder / "spool"),
        "FLAWSMITH_MAX_UPLOAD_BYTES": str(MAX_UPLOAD_BYTES),
        "FLAWSMITH_KEY_SECRET": SECRET,
        "FLAWSMITH_RATE_LIMIT": "off",
        "FLAWSMITH_CREATE_RATE_LIMIT": "off",
        "FLAWSMITH_MAX_OPEN_JOBS": "1000000",
        "FLAWSMITH_BACKBONE": str(folder / "tiny"),
        "FLAWSMITH_DEVICE": "cpu",
        "FLAWSMITH_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "TEACHING_STEPS": "3",
        "TEACHING_STEP_S": "0.01",
        **(settings or {}),
    }
    with (
        running_module("tests.worker.teaching_worker", environment, folder / "worker.log"),
        service_process(environment, folder / "service.log") as service,
    ):
        _wait_until_ready(service, folder / "worker.log")
        yield service


def _wait_until_ready(service: ServiceProcess, log: Path) -> None:
    deadline = time.monotonic() + 120
    while not httpx.get(f"{service.address}/readyz", timeout=10).json()["workers"]:
        if time.monotonic() > deadline:
            raise RuntimeError(f"no worker came: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.1)
