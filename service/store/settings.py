"""Settings of storage and queue; service and worker extend them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class StoreSettings(BaseSettings):
    """Read from the environment: `FLAWSMITH_REDIS_URL`, `FLAWSMITH_STORAGE_URL`, …"""

    model_config = SettingsConfigDict(env_prefix="FLAWSMITH_", env_ignore_empty=True, extra="ignore")

    redis_url: str = "redis://127.0.0.1:6379/0"
    """Redis or Valkey: `redis://`, `rediss://` (TLS) or `unix://`."""
    redis_timeout_s: Annotated[float, Field(gt=0)] = 5.0
    """Longest wait for a connection and for an answer to a command that does not block."""

    storage_url: str = "file:///var/lib/flawsmith"
    """`file:///path` for a folder, `s3://bucket` or `s3://bucket/prefix` for an S3-compatible store."""
    s3_endpoint_url: str | None = None
    """Absent for AWS itself."""
    s3_region: str = "us-east-1"
    s3_access_key_id: str | None = None
    """Absent: the usual chain of environment, profile and instance role."""
    s3_secret_access_key: SecretStr | None = None
    s3_addressing: Literal["path", "virtual"] = "path"
    """`https://host/bucket/key` or `https://bucket.host/key`."""
    s3_ca_bundle: Path | None = None
    """PEM file of the authorities that the endpoint's certificate is checked against."""
    s3_connect_timeout_s: Annotated[float, Field(gt=0)] = 5.0
    s3_read_timeout_s: Annotated[float, Field(gt=0)] = 30.0
    s3_max_attempts: Annotated[int, Field(ge=1, le=20)] = 4
    s3_public_url: str | None = None
    """Where clients reach the store. If set, downloads are redirected there under signed addresses; absent, every
    file goes through the API."""
    s3_presign_ttl_s: Annotated[int, Field(ge=1, le=7 * 24 * 3600)] = 300
    """How long a signed address holds."""

    backbones: tuple[str, ...] = ()
    """Backbones that trainings may name beside the bundled ones: diffusers folders by absolute paths, or hub names
    (a JSON list). A folder is called by its own name. They are loaded when they are first needed."""

    shard_size: Annotated[int, Field(ge=1, le=64)] = 4
    """Items in one shard."""
    shard_window: Annotated[int, Field(ge=1)] = 2
    """Shards of one job that are queued or at work at a time."""
    shard_attempts: Annotated[int, Field(ge=1)] = 3
    """Times that a shard is begun before its unfinished items are given up."""
    shard_timeout_s: Annotated[int, Field(ge=1)] = 900
    """Longest run of one shard."""
    finished_record_ttl_s: Annotated[int, Field(ge=1)] = 7 * 24 * 3600
    """How long Redis keeps the record of a final job; storage keeps its result."""

    log_format: Literal["json", "text"] | None = None
    """Absent: text where stderr is a terminal, else JSON."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"


def named_backbones(sources: Iterable[str]) -> dict[str, str]:
    """What backbones are called, with where they come from; one that is no folder is called what it is."""
    return {Path(source).name if Path(source).is_absolute() else source: source for source in sources}
