"""Manifests in storage: the truth from which everything in Redis can be rebuilt."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field, JsonValue

from flawsmith.contract.base import FormatVersion, Schema
from flawsmith.contract.ids import JobId
from flawsmith.contract.jobs import Counts, Failure, Item, JobKind, JobStatus
from flawsmith.contract.uploads import ImageInfo


class ResolvedAugmentation(Schema):
    """An augmentation with every default filled in: what the worker draws, whoever asks again."""

    defect_type: str
    defect_type_version: int
    defect_type_tenant: str
    count: int
    seed: int
    severity: float
    guidance: float
    steps: int
    seed_share: float
    part: str
    min_quality: float
    black_level: int | None = None
    white_level: int | None = None
    pixel_size_um: float | None = None
    control: bool = False
    metadata: dict[str, JsonValue] = Field(default_factory=dict)


class IdempotencyRecord(Schema):
    """The promise given with an ``Idempotency-Key``, so that it outlives Redis."""

    key_sha256: str
    payload_sha256: str


class RequestManifest(Schema):
    """Written to storage before the job is queued and before the 202."""

    format_version: FormatVersion
    tenant: str
    job_id: JobId
    kind: JobKind
    created_at: datetime
    augmentation: ResolvedAugmentation
    image: ImageInfo
    shard_size: int = Field(ge=1)
    """Items in one RQ job; fixed here so that a retry cuts the same shards."""
    input_sha256: str | None = None
    mask_sha256: str | None = None
    """Digests of the files beside this manifest."""
    idempotency: IdempotencyRecord | None = None
    request_id: str | None = None
    """Of the HTTP request that made the job, for the logs."""
    traceparent: str | None = None
    """W3C trace context of that request, where traces are kept."""
    warnings: list[str] = Field(default_factory=list)


class ResultManifest(Schema):
    """Written to storage last and once."""

    format_version: FormatVersion
    tenant: str
    job_id: JobId
    kind: JobKind
    status: JobStatus
    counts: Counts
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime
    error: Failure | None = None
    warnings: list[str] = Field(default_factory=list)
    items: list[Item]
