"""``python -m service.keys``: make, list, rotate and revoke API keys, and set a tenant's limits.

A key is printed once, when it is made; afterwards nobody can find it out.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from pydantic import ValidationError

from flawsmith.contract.access import ApiKey, Scope
from flawsmith.contract.base import now
from flawsmith.contract.ids import DEFAULT_TENANT
from service.settings import ServiceSettings
from service.store.access import (
    AccessRegistry,
    KeyHasher,
    KeyRecord,
    KeySecretError,
    ReservedTenantError,
    TenantRecord,
    UnknownKeyError,
    UnusableKeyError,
)
from service.store.keys import InvalidKeyError
from service.store.opening import open_storage
from service.store.storage import StorageError

FAILED = 1
USAGE = 2
DEFAULT_SCOPES = (Scope.READ, Scope.GENERATE, Scope.TRAIN)
LIMITS = ("rate_limit", "create_rate_limit", "max_open_jobs")
SERVICES_OWN = "default"
"""Written for a limit, it means the service's own."""

_DURATION = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

Command = Callable[[AccessRegistry, ServiceSettings, argparse.Namespace], None]


def create(registry: AccessRegistry, settings: ServiceSettings, given: argparse.Namespace) -> None:
    """Make a key and print it."""
    expires_at = now() + given.expires_in if given.expires_in is not None else None
    scopes = given.scope or DEFAULT_SCOPES
    key, record = registry.create(KeyHasher(settings.key_secret), given.tenant, scopes, given.name, expires_at)
    _print_new(key, record, given.json)


def rotate(registry: AccessRegistry, settings: ServiceSettings, given: argparse.Namespace) -> None:
    """Make a key in place of another and print it."""
    key, record, old = registry.rotate(KeyHasher(settings.key_secret), given.key_id, given.overlap)
    _print_new(key, record, given.json)
    if not given.json and old.expires_at is not None:
        _tell(
            f"{old.key_id} is valid until {_shown(old.expires_at)}" if given.overlap else f"{old.key_id} has ended"
        )


def revoke(registry: AccessRegistry, settings: ServiceSettings, given: argparse.Namespace) -> None:
    """End a key."""
    record = registry.revoke(given.key_id)
    _print(_as_json(record) if given.json else f"{record.key_id} is revoked")


def list_keys(registry: AccessRegistry, settings: ServiceSettings, given: argparse.Namespace) -> None:
    """Print what is known of the keys."""
    records = [record for record in registry.list() if given.tenant in (None, record.tenant)]
    if given.json:
        _print({"keys": [_as_json(record) for record in records]})
        return
    rows = [("KEY", "TENANT", "STATUS", "SCOPES", "CREATED", "EXPIRES", "NAME")]
    rows += [
        (
            record.key_id,
            record.tenant,
            record.status(now()),
            ",".join(record.scopes),
            _shown(record.created_at),
            _shown(record.expires_at) if record.expires_at else "-",
            record.name,
        )
        for record in records
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        _print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def limit(registry: AccessRegistry, settings: ServiceSettings, given: argparse.Namespace) -> None:
    """Set and print the limits of a tenant."""
    wished = {name: getattr(given, name) for name in LIMITS if getattr(given, name) is not None}
    if wished:
        own = {name: None if value == SERVICES_OWN else value for name, value in wished.items()}
        record = registry.limit(given.tenant, **own)
    else:
        record = registry.tenant(given.tenant)
    if given.json:
        _print(_as_json(record))
        return
    for name in LIMITS:
        value = getattr(record, name)
        _print(f"{name}: {value if value is not None else f'{getattr(settings, name)} (the service’s own)'}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    given = _parser().parse_args(arguments)
    command: Command = given.command
    try:
        settings = ServiceSettings()
        command(AccessRegistry(open_storage(settings)), settings, given)
    except (ReservedTenantError, UnknownKeyError) as error:
        _fail(str(error), USAGE)
    except InvalidKeyError as error:
        _fail(f"{error}; it is 1 to 63 of a-z, 0-9, _ and -, and begins with none of the last two", USAGE)
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        _fail("; ".join(faults), USAGE)
    except (KeySecretError, UnusableKeyError, StorageError, ValueError) as error:
        _fail(str(error), FAILED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m service.keys", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    as_json = argparse.ArgumentParser(add_help=False)
    as_json.add_argument("--json", action="store_true", help="print JSON")

    def add(name: str, command: Command) -> argparse.ArgumentParser:
        found = commands.add_parser(name, parents=[as_json], help=command.__doc__, description=command.__doc__)
        found.set_defaults(command=command)
        return found

    creating = add("create", create)
    creating.add_argument("--tenant", default=DEFAULT_TENANT, help="whose data it sees; made if new (%(default)s)")
    creating.add_argument(
        "--scope", action="append", type=Scope, choices=list(Scope), help="may be repeated (all but admin)"
    )
    creating.add_argument("--name", type=_name, default="", help="for people: where it is used")
    creating.add_argument("--expires-in", type=_duration, metavar="90d", help="in s, m, h or d; never if absent")

    listing = add("list", list_keys)
    listing.add_argument("--tenant", help="only this tenant's")

    rotating = add("rotate", rotate)
    rotating.add_argument("key_id", metavar="KEY", help="id of the key, as `list` shows it")
    rotating.add_argument(
        "--overlap",
        type=_duration,
        default=timedelta(0),
        metavar="1h",
        help="how long the old one stays valid (0s)",
    )

    revoking = add("revoke", revoke)
    revoking.add_argument("key_id", metavar="KEY", help="id of the key, as `list` shows it")

    limiting = add("limit", limit)
    limiting.add_argument("tenant", metavar="TENANT")
    for name, example in zip(LIMITS, ("600/minute", "60/minute", "100"), strict=True):
        option = f"--{name.replace('_', '-')}"
        limiting.add_argument(option, metavar=example, help=f"`{SERVICES_OWN}` for the service's own")
    return parser


def _name(text: str) -> str:
    if len(text) > 100 or not text.isprintable():
        raise argparse.ArgumentTypeError("a name has at most 100 printable characters")
    return text


def _duration(text: str) -> timedelta:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write one like 30s, 15m, 12h or 90d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _print_new(key: ApiKey, record: KeyRecord, as_json: bool) -> None:
    if as_json:
        _print(_as_json(record) | {"key": key.text})
        return
    until = f" until {_shown(record.expires_at)}" if record.expires_at else ""
    _tell(f"Key {key.id} of tenant {record.tenant} allows {', '.join(record.scopes)}{until}.")
    _tell("Keep it now: it is not shown again.")
    _print(key.text)


def _as_json(record: KeyRecord | TenantRecord) -> dict[str, Any]:
    shown = record.model_dump(mode="json", exclude={"digest", "format_version"})
    return shown | ({"status": record.status(now())} if isinstance(record, KeyRecord) else {})


def _shown(moment: Any) -> str:
    return f"{moment:%Y-%m-%dT%H:%MZ}"


def _print(value: str | dict[str, Any]) -> None:
    text = value if isinstance(value, str) else json.dumps(value, indent=2)
    sys.stdout.write(text + "\n")


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")


def _fail(text: str, status: int) -> None:
    _tell(f"Error: {text}")
    sys.exit(status)


if __name__ == "__main__":
    main()
