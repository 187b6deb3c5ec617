"""Where the API listens: without API keys, where nobody but this computer reaches it."""

from __future__ import annotations

import ipaddress
import logging
import socket
import sys
from contextlib import closing, suppress

from service.settings import ServiceSettings
from service.store.access import AccessRegistry, KeyHasher, KeySecretError
from service.store.connection import QueueUnavailableError, connect_redis
from service.store.identity import Identity
from service.store.opening import open_storage
from service.store.storage import StorageError

_log = logging.getLogger(__name__)

LOOK_TIMEOUT_S = 5.0
_QUEUE_TIMEOUT_S = 1.0


def is_loopback(host: str) -> bool:
    """Whether only this computer reaches what listens on ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM) if host else []
    except OSError:
        return False
    return bool(found) and all(ipaddress.ip_address(str(entry[4][0])).is_loopback for entry in found)


def settled(settings: ServiceSettings) -> ServiceSettings:
    """The settings with the host that is right now.

    Storage is looked at once. If it does not answer, the host stays: the API then lets nobody in without a key.

    Raises:
        SystemExit: there are API keys, but not the secret to check them with; says what to do.
    """
    keyed = _has_keys(settings)
    if keyed:
        try:
            KeyHasher(settings.key_secret)
        except KeySecretError as error:
            sys.exit(f"there are API keys, but {error}")
    if keyed is not False or is_loopback(settings.host):
        return settings
    host = "::1" if ":" in settings.host else "127.0.0.1"
    _log.warning(
        "There are no API keys, so the API listens on %s only, and not on FLAWSMITH_HOST=%s. To open it, make a "
        "key with `flawsmith keys create` (or `python -m service.keys create`) and start the API again.",
        host,
        settings.host,
    )
    return settings.model_copy(update={"host": host})


def _has_keys(settings: ServiceSettings) -> bool | None:
    """Whether there are API keys; None if storage does not say."""
    impatient = settings.model_copy(
        update={
            "s3_connect_timeout_s": min(settings.s3_connect_timeout_s, LOOK_TIMEOUT_S),
            "s3_read_timeout_s": min(settings.s3_read_timeout_s, LOOK_TIMEOUT_S),
            "s3_max_attempts": 1,
            "redis_timeout_s": min(settings.redis_timeout_s, _QUEUE_TIMEOUT_S),
        }
    )
    try:
        storage = open_storage(impatient)
        with suppress(QueueUnavailableError), closing(connect_redis(impatient)) as redis:
            Identity(redis, storage).check()
        return bool(AccessRegistry(storage).ids())
    except StorageError as error:
        _log.warning("Whether there are API keys is not known, so everyone needs one: %s", error)
        return None
