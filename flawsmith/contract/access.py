"""API keys: what they look like, and what they allow."""

from __future__ import annotations

import re
import secrets
import zlib
from enum import StrEnum
from typing import NamedTuple

from flawsmith.contract.ids import ALPHABET

PREFIX = "fsk_"
"""By which secret scanners know a key that was committed by mistake."""
_ID_LENGTH = 12
_SECRET_LENGTH = 32  # 160 random bits
_CHECKSUM_LENGTH = 7  # 32 bits

_KEY = re.compile(
    rf"(?P<body>{PREFIX}(?P<id>[{ALPHABET}]{{{_ID_LENGTH}}})_[{ALPHABET}]{{{_SECRET_LENGTH}}})"
    rf"(?P<checksum>[{ALPHABET}]{{{_CHECKSUM_LENGTH}}})"
)


class Scope(StrEnum):
    """What a key allows; none includes another."""

    READ = "read"
    """Every GET of the tenant's own jobs, files, uploads and types."""
    GENERATE = "generate"
    """Uploads, new jobs but trainings, cancel and delete of jobs of any kind."""
    TRAIN = "train"
    """Defect types of one's own: to teach, to bring in and to delete them."""
    ADMIN = "admin"
    """What is about the service and not about one tenant: ``/metrics``."""


class ApiKey(NamedTuple):
    """A key as its owner has it: ``fsk_<id>_<secret><checksum>``."""

    id: str
    text: str
    """The whole key. Whoever has it is let in: never log it, never keep it."""

    def __repr__(self) -> str:
        return f"ApiKey(id={self.id!r})"


def new_key() -> ApiKey:
    """A fresh key: a random id, 160 random bits of secret, and the checksum of both."""
    key_id = _random_text(_ID_LENGTH)
    body = f"{PREFIX}{key_id}_{_random_text(_SECRET_LENGTH)}"
    return ApiKey(key_id, body + _checksum(body))


def parse_key(text: str) -> ApiKey | None:
    """The key that ``text`` is, or None if it cannot be one: a typo is told without asking anybody.

    CRC-32 finds every change of one character and every swap of neighbours.
    """
    match = _KEY.fullmatch(text)
    if match is None or match["checksum"] != _checksum(match["body"]):
        return None
    return ApiKey(match["id"], text)


def _random_text(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    return "".join(ALPHABET[number >> shift & 31] for shift in range(5 * (_CHECKSUM_LENGTH - 1), -1, -5))
