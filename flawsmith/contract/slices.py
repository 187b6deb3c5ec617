"""Jobs that take long: worked on slice by slice, each of which leaves a checkpoint."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from flawsmith.contract.base import FormatVersion, Schema


class Checkpoint(Schema):
    """A job as it stood after a slice."""

    number: int = Field(ge=1)
    sha256: str
    size: int


class SliceRecord(Schema):
    """How far a job is for good, and from where it goes on; each kind of job adds its state."""

    format_version: FormatVersion
    backbone: str
    backbone_digest: str
    """What it was begun on, and is ended on."""
    checkpoints: list[Checkpoint] = Field(default_factory=list)
    """Newest first; the last two are kept."""
    holder: str | None = None
    """The worker that has it in memory; others leave it to that one for a while."""
    kept_at: datetime
    """When this was written."""
