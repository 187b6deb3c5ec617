"""What one API process remembers of keys: how much it asks of storage, and what it does while that is away."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

import pytest

from flawsmith.contract.access import Scope, new_key
from service import keyring
from service.keyring import LOOKS_PER_S, KeyRing
from service.store.access import AccessRegistry, KeyRecord
from service.store.folder import FolderStorage
from service.store.storage import StorageUnavailableError
from tests.service.keyed import HASHER


class Watched(AccessRegistry):
    """A registry whose storage can be away or slow, and that counts how often it is asked."""

    def __init__(self, folder: Path) -> None:
        super().__init__(FolderStorage(folder))
        self.asked: Counter[str] = Counter()
        self.away = False
        self.slow_s = 0.0

    def get(self, key_id: str) -> KeyRecord:
        self._ask("get")
        return super().get(key_id)

    def ids(self) -> frozenset[str]:
        self._ask("ids")
        return super().ids()

    def _ask(self, what: str) -> None:
        self.asked[what] += 1
        time.sleep(self.slow_s)
        if self.away:
            raise StorageUnavailableError("away")


@pytest.fixture
def registry(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_guessed_keys_cost_a_bounded_number_of_looks_at_storage(registry: Watched) -> None:
    known, _ = registry.create(HASHER, "acme", [Scope.READ])

    async def guess() -> None:
        ring = KeyRing(registry)
        began = time.monotonic()
        found = await asyncio.gather(*(ring.find(new_key().id) for _ in range(2000)))
        for _ in range(500):
            found.append(await ring.find(new_key().id))
        assert found == 2500 * [None]
        assert registry.asked["get"] == 0
        seconds = time.monotonic() - began
        assert registry.asked["ids"] <= (LOOKS_PER_S + 1) * (seconds + 1)
        entry = await ring.find(known.id)
        assert entry is not None
        assert entry.tenant.tenant == "acme"

    asyncio.run(guess())


def test_a_key_is_read_once_for_many_requests(registry: Watched) -> None:
    key, _ = registry.create(HASHER, "acme", [Scope.READ])

    async def use() -> None:
        ring = KeyRing(registry)
        registry.slow_s = 0.1
        assert all(await asyncio.gather(*(ring.find(key.id) for _ in range(100))))
        assert await ring.find(key.id)

    asyncio.run(use())
    assert registry.asked["get"] == 1


def test_a_key_made_a_moment_ago_is_known(registry: Watched) -> None:
    async def use() -> None:
        ring = KeyRing(registry)
        assert not await ring.in_use()
        for _ in range(5):
            assert await ring.find(new_key().id) is None
            key, _ = registry.create(HASHER, "acme", [Scope.READ])
            assert await ring.find(key.id)

    asyncio.run(use())


def test_while_storage_is_away_known_keys_go_on_for_a_time(
    registry: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "RECORD_AGE_S", 0.05)
    monkeypatch.setattr(keyring, "OUTAGE_AGE_S", 1.0)
    key, _ = registry.create(HASHER, "acme", [Scope.READ])
    other, _ = registry.create(HASHER, "acme", [Scope.READ])

    async def use() -> None:
        ring = KeyRing(registry)
        assert await ring.in_use()
        assert await ring.find(key.id)
        registry.away = True
        await asyncio.sleep(0.1)
        assert await ring.find(key.id)
        with pytest.raises(StorageUnavailableError):
            await ring.find(other.id)
        await asyncio.sleep(1.0)
        with pytest.raises(StorageUnavailableError):
            await ring.find(key.id)
        registry.away = False
        assert await ring.find(key.id)
        assert await ring.in_use()

    asyncio.run(use())


def test_a_slow_storage_does_not_hold_up_known_keys_for_long(
    registry: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "RECORD_AGE_S", 0.05)
    monkeypatch.setattr(keyring, "PATIENCE_S", 0.1)
    key, _ = registry.create(HASHER, "acme", [Scope.READ])

    async def use() -> None:
        ring = KeyRing(registry)
        assert await ring.find(key.id)
        registry.slow_s = 2.0
        await asyncio.sleep(0.1)
        began = time.monotonic()
        for _ in range(3):
            assert await ring.find(key.id)
        assert time.monotonic() - began < 2.0, "it waited for the storage"

    asyncio.run(use())


def test_nothing_is_open_before_it_is_known_that_there_are_no_keys(registry: Watched) -> None:
    async def use() -> None:
        ring = KeyRing(registry)
        registry.away = True
        with pytest.raises(StorageUnavailableError):
            await ring.in_use()
        registry.away = False
        assert not await ring.in_use()

    asyncio.run(use())
