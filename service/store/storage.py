"""The seam to object storage: a folder or S3, with the same behaviour."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


class StorageError(Exception):
    """Storage refused or failed."""


class ObjectNotFoundError(StorageError):
    """No object has this key."""


class ObjectUnreadableError(StorageError):
    """The object is there, and storage does not give it out: a file that may not be read, an archived object."""


class StorageUnavailableError(StorageError):
    """Storage does not answer, or cannot take anything now; later it may."""


@dataclass(frozen=True)
class Entry:
    """An object as it is listed."""

    key: str
    """In what people put there themselves it may be none that `service.store.keys.check_key` takes."""
    size: int
    """Bytes."""
    modified: datetime
    """When it was last written, in UTC by the store's clock."""
    version: str
    """Another one whenever its bytes are others: times alone may be whole seconds."""


class Readable(Protocol):
    """A binary stream."""

    def read(self, size: int = -1, /) -> bytes: ...


class Storage(Protocol):
    """Objects by key. Every method raises `StorageUnavailableError` when storage cannot be reached,
    `StorageError` when it refuses, and `service.store.keys.InvalidKeyError` for what is not a key."""

    def put(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> None:
        """Write an object, or write it anew; a reader sees the old one or the new one, never half."""

    def put_if_absent(self, key: str, data: bytes, content_type: str = "application/octet-stream") -> bool:
        """Write an object unless there is one; True if this call wrote it."""

    def get(self, key: str) -> bytes:
        """The object's bytes.

        Raises:
            ObjectNotFoundError: there is none.
        """

    def open(self, key: str, start: int = 0, length: int | None = None) -> AbstractContextManager[Readable]:
        """The object's bytes as a stream: ``length`` of them from ``start``, or all that follow.

        It ends early where the object does. Reading raises `StorageError` when storage fails on the way.

        Raises:
            ObjectNotFoundError: there is none; raised here or on entering.
            ObjectUnreadableError: it is one that people put there themselves, and may not be read; likewise.
        """

    def link(self, key: str, media_type: str, disposition: str) -> str | None:
        """An address that gives the object to whoever asks for it within the next minutes.

        None where the store has no address that clients can reach. ``media_type`` and ``disposition`` are what it
        answers as ``Content-Type`` and ``Content-Disposition``. Whether there is such an object is not asked.
        """

    def exists(self, key: str) -> bool: ...

    def size(self, key: str) -> int:
        """Bytes in the object.

        Raises:
            ObjectNotFoundError: there is none.
        """

    def list(self, prefix: str) -> Iterator[str]:
        """Keys below ``prefix`` (which ends with ``/``, or is empty for all), in whatever order."""

    def entries(self, prefix: str) -> Iterator[Entry]:
        """Objects below ``prefix`` as they are listed, in whatever order.

        Of what people put there themselves links in a folder are left out.
        """

    def folders(self, prefix: str, after: str = "") -> Iterator[str]:
        """Names of what lies below ``prefix`` and has objects below itself, ascending, those after ``after``.

        Of what was emptied some servers still give the name.
        """

    def sizes(self, prefix: str) -> dict[str, int]:
        """Key → bytes of the objects below ``prefix``."""

    def modified(self, prefix: str) -> dict[str, datetime]:
        """Key → when it was last written, in UTC by the store's clock, of the objects below ``prefix``."""

    def copy(self, source: str, target: str) -> None:
        """Write the object at ``source`` to ``target`` as well.

        Raises:
            ObjectNotFoundError: there is none at ``source``.
        """

    def delete(self, key: str) -> None:
        """Remove the object if there is one."""

    def delete_prefix(self, prefix: str, last: str | None = None) -> None:
        """Remove all objects below ``prefix``, which ends with ``/``.

        Args:
            last: the one among them that goes when all others have gone.
        """

    def check(self) -> None:
        """Return if objects can be written and read now.

        Raises:
            StorageUnavailableError: they cannot; says why.
        """
