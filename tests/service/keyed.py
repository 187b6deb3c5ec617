"""An API that has keys, and clients of several tenants."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from pydantic import SecretStr
from redis import Redis

from flawsmith.contract.access import ApiKey, Scope
from flawsmith.contract.ids import DEFAULT_TENANT
from service.settings import ServiceSettings
from service.store.access import AccessRegistry, KeyHasher
from service.store.opening import open_storage
from service.store.registry import Registry
from tests.service.conftest import SCRATCH, Api
from tests.service.serving import client_of, serving

SECRET = SecretStr(40 * "s")
HASHER = KeyHasher(SECRET)


def bearer(key: ApiKey) -> dict[str, str]:
    return {"Authorization": f"Bearer {key.text}"}


@dataclass
class KeyedApi(Api):
    """A running API with keys; its own client has one of the tenant ``default`` with every scope."""

    @property
    def access(self) -> AccessRegistry:
        return AccessRegistry(self.storage)

    def key(self, *scopes: Scope, tenant: str = DEFAULT_TENANT) -> ApiKey:
        """A new key; with every scope if none is named."""
        return self.access.create(HASHER, tenant, scopes or list(Scope))[0]

    @contextmanager
    def client_for(self, tenant: str, *scopes: Scope) -> Iterator[httpx.Client]:
        """A client of another tenant."""
        with client_of(self.address) as client:
            client.headers.update(bearer(self.key(*scopes, tenant=tenant)))
            yield client


@contextmanager
def keyed_api(settings: ServiceSettings) -> Iterator[KeyedApi]:
    """The API, with one defect type published, on a storage that has a key."""
    settings = settings.model_copy(update={"key_secret": SECRET})
    storage = open_storage(settings)
    Registry(storage).publish(SCRATCH)
    key, _ = AccessRegistry(storage).create(HASHER, DEFAULT_TENANT, list(Scope))
    with (
        Redis.from_url(settings.redis_url) as redis,
        serving(settings) as address,
        client_of(address) as client,
    ):
        client.headers.update(bearer(key))
        yield KeyedApi(address, client, settings, redis, storage)


def folder_settings(redis_url: str, folder: Path, **changes: object) -> ServiceSettings:
    """Settings of an API whose storage is a folder."""
    values = {"redis_url": redis_url, "storage_url": (folder / "storage").as_uri(), "key_secret": SECRET}
    return ServiceSettings.model_validate(values | changes)
