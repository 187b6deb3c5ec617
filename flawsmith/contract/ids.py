"""Opaque identifiers."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from typing import Annotated

from pydantic import StringConstraints

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: no i, l, o, u."""

DEFAULT_TENANT = "default"
BUILTIN_TENANT = "builtin"
"""Holds what comes with Flawsmith and belongs to no customer: bundled defect types."""
SYSTEM_TENANT = "system"
"""Holds what the service itself keeps: tenants and hashes of API keys."""
RESERVED_TENANTS = frozenset({BUILTIN_TENANT, SYSTEM_TENANT})

JobId = Annotated[str, StringConstraints(pattern=r"^job_[0-9a-hjkmnp-tv-z]{26}$")]
UploadId = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
DefectTypeName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
DefectTypeRef = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}(@[1-9][0-9]{0,8})?$")]

IDEMPOTENCY_KEY = r"[!-~]{1,255}"
"""Pattern of what a caller may name a request by, so that it is done once."""


def new_job_id() -> str:
    """A fresh job id: 48 bits of millisecond time, then 80 random bits, so that ids sort by age."""
    return _job_id((time.time_ns() // 1_000_000) << 80 | secrets.randbits(80))


def job_id_before(moment: datetime) -> str:
    """An id that sorts before those of all jobs made at ``moment`` or later, and after those of earlier ones."""
    return _job_id(int(moment.timestamp() * 1000) << 80)


def job_time(job_id: str) -> datetime:
    """When a job's id was made, whole milliseconds in UTC."""
    number = 0
    for letter in job_id.removeprefix("job_"):
        number = number << 5 | ALPHABET.index(letter)
    return datetime.fromtimestamp((number >> 80) / 1000, UTC)


def _job_id(number: int) -> str:
    return "job_" + "".join(ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def split_defect_type(reference: str) -> tuple[str, int | None]:
    """``"scratch@2"`` → ``("scratch", 2)``; without a version, ``None`` (the newest)."""
    name, _, version = reference.partition("@")
    return name, int(version) if version else None
