"""The registry of API keys and tenants."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from pydantic import SecretStr, ValidationError

from flawsmith.contract.access import Scope, new_key
from flawsmith.contract.base import now
from service.store import keys
from service.store.access import (
    AccessRegistry,
    KeyHasher,
    KeySecretError,
    ReservedTenantError,
    UnknownKeyError,
    UnusableKeyError,
)
from service.store.keys import InvalidKeyError
from service.store.storage import Storage

HASHER = KeyHasher(SecretStr(40 * "s"))
HOUR = timedelta(hours=1)


@pytest.fixture
def registry(storage: Storage) -> AccessRegistry:
    return AccessRegistry(storage)


def test_a_key_is_made_with_its_tenant_and_found_again(registry: AccessRegistry, storage: Storage) -> None:
    assert registry.ids() == frozenset()
    key, record = registry.create(HASHER, "acme", [Scope.GENERATE, Scope.READ, Scope.READ], "line 3")

    assert registry.get(key.id) == record
    assert registry.ids() == {key.id}
    assert (record.tenant, record.name, record.scopes) == ("acme", "line 3", [Scope.READ, Scope.GENERATE])
    assert record.status(now()) == "active"
    assert sorted(storage.list("")) == [f"system/keys/{key.id}.json", "system/tenants/acme.json"]


def test_only_a_keyed_hash_is_stored(registry: AccessRegistry, storage: Storage) -> None:
    key, record = registry.create(HASHER, "acme", [Scope.READ])
    secret = key.text.rpartition("_")[2]

    assert not any(secret.encode() in storage.get(name) for name in storage.list(""))
    assert HASHER.matches(key, record)
    assert not KeyHasher(SecretStr(40 * "t")).matches(key, record)
    assert not HASHER.matches(new_key(), record)


@pytest.mark.parametrize("secret", [None, SecretStr(""), SecretStr(31 * "s")])
def test_without_a_good_secret_nothing_is_hashed(secret: SecretStr | None) -> None:
    with pytest.raises(KeySecretError, match="FLAWSMITH_KEY_SECRET") as refused:
        KeyHasher(secret)
    assert "sss" not in str(refused.value)


def test_a_key_expires(registry: AccessRegistry) -> None:
    _, record = registry.create(HASHER, "acme", [Scope.READ], expires_at=now() + HOUR)

    assert record.status(now()) == "active"
    assert record.status(now() + HOUR) == "expired"


def test_a_revoked_key_has_ended_for_good(registry: AccessRegistry) -> None:
    key, _ = registry.create(HASHER, "acme", [Scope.READ])
    first = registry.revoke(key.id)

    assert registry.get(key.id).status(now()) == "revoked"
    assert registry.revoke(key.id) == first
    with pytest.raises(UnusableKeyError, match="revoked"):
        registry.rotate(HASHER, key.id, HOUR)


def test_a_rotated_key_gives_way_at_once_or_after_the_overlap(registry: AccessRegistry) -> None:
    scopes = [Scope.READ, Scope.ADMIN]
    for overlap, still in ((timedelta(0), "expired"), (HOUR, "active")):
        old_key, old = registry.create(HASHER, "acme", scopes, "line 3")
        key, record, ended = registry.rotate(HASHER, old_key.id, overlap)

        assert key.id != old_key.id
        assert (record.tenant, record.scopes, record.name) == (old.tenant, scopes, "line 3")
        assert (record.replaces, ended.replaced_by) == (old_key.id, key.id)
        assert record.expires_at is None
        assert registry.get(old_key.id) == ended
        assert ended.status(now()) == still
        assert ended.status(now() + overlap) == "expired"
        with pytest.raises(UnusableKeyError):
            registry.rotate(HASHER, old_key.id)


def test_a_key_that_lasts_some_time_is_followed_by_one_that_lasts_as_long(registry: AccessRegistry) -> None:
    old_key, _ = registry.create(HASHER, "acme", [Scope.READ], expires_at=now() + HOUR)
    _, record, ended = registry.rotate(HASHER, old_key.id, 5 * HOUR)

    assert record.expires_at is not None
    assert abs(record.expires_at - record.created_at - HOUR) < timedelta(seconds=30)
    assert ended.status(now() + HOUR) == "expired"


def test_keys_are_listed_by_tenant_and_age(registry: AccessRegistry) -> None:
    made = []
    for tenant in ("b", "a", "b"):
        made.append(registry.create(HASHER, tenant, [Scope.READ])[1])
        time.sleep(0.002)  # ages are whole milliseconds

    assert registry.list() == [made[1], made[0], made[2]]


def test_unknown_keys_are_unknown(registry: AccessRegistry) -> None:
    for key_id in ("0" * 12, "", "../../default", "A" * 12):
        for use in (registry.get, registry.revoke):
            with pytest.raises(UnknownKeyError):
                use(key_id)
        with pytest.raises(UnknownKeyError):
            registry.rotate(HASHER, key_id)


def test_what_is_no_tenant_gets_no_key(registry: AccessRegistry, storage: Storage) -> None:
    malformed = dict.fromkeys(("", "Acme", "a/b", "..", "a" * 64), InvalidKeyError)
    reserved = dict.fromkeys(("builtin", "system"), ReservedTenantError)
    for tenant, error in (malformed | reserved).items():
        with pytest.raises(error):
            registry.create(HASHER, tenant, [Scope.READ])
        with pytest.raises(error):
            registry.limit(tenant, max_open_jobs=1)
    assert list(storage.list("")) == []


def test_a_tenant_has_limits_of_its_own_and_goes_back_to_the_services(registry: AccessRegistry) -> None:
    registry.create(HASHER, "acme", [Scope.READ])
    registry.limit("acme", rate_limit="10/second", max_open_jobs=5)
    registry.limit("acme", create_rate_limit="off")
    registry.create(HASHER, "acme", [Scope.READ])

    record = registry.tenant("acme")
    assert (record.rate_limit, record.create_rate_limit, record.max_open_jobs) == ("10/second", "off", 5)
    assert registry.limit("acme", max_open_jobs=None).max_open_jobs is None
    assert registry.tenant("another").rate_limit is None


def test_what_is_no_limit_is_refused(registry: AccessRegistry) -> None:
    wrong: list[dict[str, str | int]] = [
        {"rate_limit": "many"},
        {"rate_limit": "0/minute"},
        {"max_open_jobs": 0},
        {"colour": "red"},
    ]
    for limits in wrong:
        with pytest.raises(ValidationError):
            registry.limit("acme", **limits)


def test_records_of_a_newer_format_are_refused(registry: AccessRegistry, storage: Storage) -> None:
    key, _ = registry.create(HASHER, "acme", [Scope.READ])
    for name in (keys.api_key(key.id), keys.tenant_record("acme")):
        storage.put(name, storage.get(name).replace(b'"format_version": 1', b'"format_version": 2'))
    with pytest.raises(ValidationError, match="upgrade Flawsmith"):
        registry.get(key.id)
    with pytest.raises(ValidationError, match="upgrade Flawsmith"):
        registry.tenant("acme")
