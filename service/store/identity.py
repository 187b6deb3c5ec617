"""Which storage it is: by an id that lies in it, and that Redis knows.

What Redis holds is work in flight of one storage. In another one, such as the empty folder beneath a disk that is
not mounted, all of it would look deleted.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, cast

from pydantic import ValidationError

from flawsmith.contract.base import FORMAT_VERSION, FormatVersion, Schema
from flawsmith.contract.ids import RESERVED_TENANTS
from service.store import keys, records
from service.store.connection import queue_errors
from service.store.folder import FolderStorage
from service.store.index import known_tenants
from service.store.storage import ObjectNotFoundError, Storage, StorageUnavailableError

if TYPE_CHECKING:
    from redis import Redis

_KNOWN = "flawsmith:storage"
"""The id of the storage that Redis belongs to."""
_CHOSEN = "flawsmith:storage:chosen"
"""The id that a new storage is to get, so that of many processes which start at once all write the same."""
_CHOSEN_TTL_S = 3600


class StorageRecord(Schema):
    """What a storage says of itself."""

    format_version: FormatVersion
    id: str


class AnotherStorageError(StorageUnavailableError):
    """This is not the storage that Redis belongs to."""


class Identity:
    """Tells the storage that Redis belongs to from another.

    Every method raises `AnotherStorageError` if it is another, `QueueUnavailableError` and storage errors.
    """

    def __init__(self, redis: Redis, storage: Storage) -> None:
        self._redis = redis
        self._storage = storage
        self._confirmed: float | None = None

    def was_confirmed(self, age_s: float) -> bool:
        """Whether `confirm` need not ask, as it did so less than ``age_s`` ago."""
        return self._confirmed is not None and time.monotonic() - self._confirmed < age_s

    def confirm(self, age_s: float = 0.0) -> None:
        """Return if it is the storage that Redis belongs to. A new storage gets an id; a new or emptied Redis
        belongs to this storage from now on.

        Args:
            age_s: how long ago it may have been confirmed to count as so still; also beyond, where storage does
                not answer.
        """
        if self.was_confirmed(age_s):
            return
        began = time.monotonic()
        if age_s and self._confirmed is not None:
            self._confirmed = began  # one asks, the others go on
        try:
            self._ask()
        except AnotherStorageError:
            self._confirmed = None
            raise
        except StorageUnavailableError:
            if not age_s or self._confirmed is None:
                raise
        else:
            self._confirmed = began

    def _ask(self) -> None:
        known, held = self._known(), self._held()
        if known is None:
            held = held or self._begin()
            with queue_errors():
                self._redis.set(_KNOWN, held, nx=True)
            known = self._known()
        if known != held:
            raise _another(held)

    def check(self) -> None:
        """The same where nothing is to be written: what has no id yet is taken for the right one."""
        known = self._known()
        if known is not None and known != (held := self._held()):
            raise _another(held)

    def _known(self) -> str | None:
        with queue_errors():
            data = cast("bytes | None", self._redis.get(_KNOWN))
        return None if data is None else data.decode(errors="replace")

    def _held(self) -> str | None:
        """The id that lies in storage; a folder then is not taken for it while that is not there."""
        try:
            data = self._storage.get(keys.STORAGE_RECORD)
        except ObjectNotFoundError:
            return None
        try:
            record = StorageRecord.model_validate_json(data)
        except ValidationError as error:
            raise StorageUnavailableError(f"{keys.STORAGE_RECORD} in storage cannot be read: {error}") from error
        if isinstance(self._storage, FolderStorage):
            self._storage.expect(keys.STORAGE_RECORD, data)
        return record.id

    def _begin(self) -> str:
        """Give an id to a storage that has none: it is new, or of the version before."""
        if self._knows_jobs() and not any(name not in RESERVED_TENANTS for name in self._storage.folders("")):
            raise _another(None)
        with queue_errors():
            self._redis.set(_CHOSEN, secrets.token_hex(16), nx=True, ex=_CHOSEN_TTL_S)
            chosen = cast("bytes | None", self._redis.get(_CHOSEN))
        record = StorageRecord(
            format_version=FORMAT_VERSION, id=(chosen or secrets.token_hex(16).encode()).decode()
        )
        self._storage.put_if_absent(keys.STORAGE_RECORD, record.model_dump_json().encode(), "application/json")
        return self._held() or record.id

    def _knows_jobs(self) -> bool:
        with queue_errors():
            return any(self._redis.exists(records.index_key(tenant)) for tenant in known_tenants(self._redis))


def _another(held: str | None) -> AnotherStorageError:
    found = "the storage is empty or new" if held is None else f"the storage has the id {held}"
    return AnotherStorageError(
        f"{found}, and the queue belongs to another one: mount its disk, or correct FLAWSMITH_STORAGE_URL; if "
        "this storage is to take its place, empty the queue, which is then filled from it"
    )
