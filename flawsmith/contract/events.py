"""What happens to a job, as the API tells it."""

from __future__ import annotations

from typing import Literal

from flawsmith.contract.base import Answer
from flawsmith.contract.jobs import Item, Job


class JobEvent(Answer):
    """One event; each tells how things are, so that one that is heard twice does no harm."""

    kind: Literal["status", "item", "progress"]
    id: str | None = None
    """To go on after; progress has none."""
    job: Job | None = None
    """The job without its items, for ``status`` and ``progress``."""
    item: Item | None = None
    """An item that has an outcome, for ``item``."""

    @property
    def is_last(self) -> bool:
        return self.kind == "status" and self.job is not None and self.job.status.is_final
