"""API keys and tenants, in storage: who may use the service, and how much.

Of a key only a keyed hash is kept. Without the secret that it was made with, the hash is of no use to anyone.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field, SecretStr, StringConstraints

from flawsmith.contract.access import ApiKey, Scope, new_key
from flawsmith.contract.base import FORMAT_VERSION, FormatVersion, Schema, now
from flawsmith.contract.ids import RESERVED_TENANTS
from service.store import keys
from service.store.storage import ObjectNotFoundError, Storage

SECRET_SETTING = "FLAWSMITH_KEY_SECRET"
MIN_SECRET_LENGTH = 32
OFF = "off"
_NEVER = datetime.max.replace(tzinfo=UTC)

RateLimit = Annotated[str, StringConstraints(pattern=r"^(off|[1-9][0-9]{0,8}/(second|minute|hour|day))$")]
"""``600/minute`` and the like, or ``off``."""

KeyStatus = Literal["active", "expired", "revoked"]


class KeySecretError(Exception):
    """The secret that keys are hashed with is missing or too short; the message says what to do."""


class UnknownKeyError(Exception):
    """No API key has this id."""


class UnusableKeyError(Exception):
    """The key was revoked, has expired or was rotated before: it cannot be rotated."""


class ReservedTenantError(ValueError):
    """This name belongs to Flawsmith itself."""


class KeyRecord(Schema):
    """An API key as storage has it."""

    format_version: FormatVersion
    key_id: str
    tenant: str
    name: str = Field(max_length=100)
    """For people: where the key is used."""
    scopes: list[Scope] = Field(min_length=1)
    digest: str
    """HMAC-SHA256 of the whole key under the service's secret, in hex."""
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    replaces: str | None = None
    """Id of the key that this one was rotated from."""
    replaced_by: str | None = None
    """Id of the key that this one was rotated to."""

    def status(self, moment: datetime) -> KeyStatus:
        """What the key is worth at ``moment``."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= moment else "active"


class TenantRecord(Schema):
    """A tenant as storage has it; a limit that is absent is the service's own."""

    format_version: FormatVersion
    tenant: str
    created_at: datetime
    rate_limit: RateLimit | None = None
    create_rate_limit: RateLimit | None = None
    max_open_jobs: int | None = Field(default=None, ge=1)


class KeyHasher:
    """Digests of keys under one secret.

    Raises:
        KeySecretError: the secret is missing or short.
    """

    def __init__(self, secret: SecretStr | None) -> None:
        text = secret.get_secret_value() if secret is not None else ""
        if len(text) < MIN_SECRET_LENGTH:
            fault = "too short" if text else "not set"
            raise KeySecretError(
                f"{SECRET_SETTING} is {fault}: API keys are hashed with it. Set it to "
                f"a random text of {MIN_SECRET_LENGTH} characters or more, the same for all API processes, and "
                "keep it: with another one no key made before is valid"
            )
        self._secret = text.encode()

    def digest(self, key: ApiKey) -> str:
        return hmac.new(self._secret, key.text.encode(), hashlib.sha256).hexdigest()

    def matches(self, key: ApiKey, record: KeyRecord) -> bool:
        """Whether ``record`` is of this very key; takes as long whatever the answer."""
        return hmac.compare_digest(self.digest(key), record.digest)


class AccessRegistry:
    """API keys and tenants. Raises storage errors, and `pydantic.ValidationError` for newer formats."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    # Keys

    def create(
        self,
        hasher: KeyHasher,
        tenant: str,
        scopes: Iterable[Scope],
        name: str = "",
        expires_at: datetime | None = None,
        replaces: str | None = None,
    ) -> tuple[ApiKey, KeyRecord]:
        """Make a key, and its tenant if that is new. The key itself is in no other place than the answer.

        Raises:
            ReservedTenantError: the name is not for tenants.
            service.store.keys.InvalidKeyError: it is no name.
        """
        self.tenant(tenant)
        key = new_key()
        record = KeyRecord(
            format_version=FORMAT_VERSION,
            key_id=key.id,
            tenant=tenant,
            name=name,
            scopes=sorted(set(scopes), key=list(Scope).index),
            digest=hasher.digest(key),
            created_at=now(),
            expires_at=expires_at,
            replaces=replaces,
        )
        fresh = _new_tenant(tenant)
        self._storage.put_if_absent(keys.tenant_record(tenant), _json(fresh), "application/json")
        self._write(record)
        return key, record

    def rotate(
        self, hasher: KeyHasher, key_id: str, overlap: timedelta = timedelta(0)
    ) -> tuple[ApiKey, KeyRecord, KeyRecord]:
        """Make a key like this one, which ends after ``overlap``; both records come with it, the new one first.

        A key that was made to last some time is followed by one that lasts as long.

        Raises:
            UnknownKeyError: there is none.
            UnusableKeyError: it has ended already, or has been rotated.
        """
        old = self.get(key_id)
        status = old.status(now())
        if status != "active":
            raise UnusableKeyError(f"the key {key_id} is {status}; create a new one instead")
        if old.replaced_by is not None:
            raise UnusableKeyError(f"the key {key_id} was rotated to {old.replaced_by} before; rotate that one")
        expires_at = now() + (old.expires_at - old.created_at) if old.expires_at is not None else None
        key, record = self.create(hasher, old.tenant, old.scopes, old.name, expires_at, replaces=key_id)
        old = self.get(key_id)  # again, for it may have been revoked meanwhile
        end = min(now() + overlap, old.expires_at or _NEVER)
        old = old.model_copy(update={"expires_at": end, "replaced_by": key.id})
        self._write(old)
        return key, record, old

    def revoke(self, key_id: str) -> KeyRecord:
        """End a key for good; once more changes nothing.

        Raises:
            UnknownKeyError: there is none.
        """
        record = self.get(key_id)
        if record.revoked_at is None:
            record = record.model_copy(update={"revoked_at": now()})
            self._write(record)
        return record

    def get(self, key_id: str) -> KeyRecord:
        """The record of a key.

        Raises:
            UnknownKeyError: there is none.
        """
        try:
            return KeyRecord.model_validate_json(self._storage.get(keys.api_key(key_id)))
        except (ObjectNotFoundError, keys.InvalidKeyError) as error:
            raise UnknownKeyError(f"no key has the id {key_id}") from error

    def ids(self) -> frozenset[str]:
        """Ids of all keys, the ended ones too."""
        prefix = keys.API_KEYS_PREFIX
        return frozenset(
            key.removeprefix(prefix).removesuffix(".json") for key in self._storage.list(prefix) if _is_record(key)
        )

    def list(self) -> list[KeyRecord]:
        """Every key, by tenant, then age."""
        return sorted(map(self.get, self.ids()), key=lambda record: (record.tenant, record.created_at))

    # Tenants

    def tenant(self, tenant: str) -> TenantRecord:
        """The tenant's record; one without limits of its own if none was written.

        Raises:
            ReservedTenantError: the name is not for tenants.
            service.store.keys.InvalidKeyError: it is no name.
        """
        key = keys.tenant_record(tenant)
        if tenant in RESERVED_TENANTS:
            raise ReservedTenantError(f"the tenant {tenant} is Flawsmith's own; choose another name")
        try:
            return TenantRecord.model_validate_json(self._storage.get(key))
        except ObjectNotFoundError:
            return _new_tenant(tenant)

    def limit(self, tenant: str, **limits: str | int | None) -> TenantRecord:
        """Set limits of a tenant, by the names of `TenantRecord`; None goes back to the service's own.

        Raises:
            ReservedTenantError: the name is not for tenants.
            pydantic.ValidationError: a limit is none.
        """
        record = TenantRecord.model_validate(self.tenant(tenant).model_dump() | limits)
        self._storage.put(keys.tenant_record(tenant), _json(record), "application/json")
        return record

    def _write(self, record: KeyRecord) -> None:
        self._storage.put(keys.api_key(record.key_id), _json(record), "application/json")


def _new_tenant(tenant: str) -> TenantRecord:
    return TenantRecord(format_version=FORMAT_VERSION, tenant=tenant, created_at=now())


def _is_record(key: str) -> bool:
    name = key.removeprefix(keys.API_KEYS_PREFIX)
    return name.endswith(".json") and "/" not in name


def _json(record: KeyRecord | TenantRecord) -> bytes:
    return record.model_dump_json(indent=2).encode()
