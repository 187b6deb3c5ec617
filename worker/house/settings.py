"""Settings of a house worker."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from service.store.settings import StoreSettings


class HouseSettings(StoreSettings):
    """Read from the environment: `FLAWSMITH_WATCH_INTERVAL_S`, `FLAWSMITH_KEEP_JOBS_DAYS`, …"""

    watch_interval_s: Annotated[float, Field(gt=0)] = 15.0
    """How often work that lost its place is looked for."""
    watch_grace_s: Annotated[float, Field(ge=0)] = 120.0
    """How old a job must be before its absence from Redis counts; longer than any acceptance takes."""
    watch_recent_s: Annotated[float, Field(gt=0)] = 3600.0
    """How far before the last look jobs are looked for in storage each time; all are, when Redis has forgotten."""
    orphan_age_s: Annotated[float, Field(ge=0)] = 1800.0
    """How long nothing may have been written of a job that does not exist for what is left of it to be removed."""

    keep_jobs_days: Annotated[float, Field(gt=0)] | None = None
    """Jobs that ended longer ago are deleted with all that they made; absent: none ever is."""
    keep_uploads_days: Annotated[float, Field(gt=0)] | None = None
    """Uploads that are older are deleted; jobs keep copies of their own. Absent: none ever is."""
    keep_made_days: Annotated[float, Field(gt=0)] = 1.0
    """What data sets made and none has any more is kept for so long after it was made, for the next build."""
    retention_interval_s: Annotated[float, Field(gt=0)] = 3600.0
    """How often what is too old is looked for."""
