"""What is asked for: a rendered photo with a mask, and the client's side of it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from flawsmith.client import Flawsmith
from flawsmith.contract.jobs import Job
from models.rendering.__main__ import sample

WAIT_S = 1800.0
"""For a job."""


@dataclass(frozen=True)
class Wish:
    """One augmentation.

    Attributes:
        image, mask: PNG files.
        steps: of the model; None is as the type has it.
        min_quality: 0 draws every item once, unless nothing of it is seen.
    """

    image: bytes
    mask: bytes
    defect_type: str
    count: int
    seed: int
    steps: int | None = None
    min_quality: float = 0.0

    @classmethod
    def made(
        cls, side: int, *, seed: int, count: int = 1, steps: int | None = None, defect_type: str = "scratch"
    ) -> Wish:
        """Of a square photo that equal seeds give again, and no other gives."""
        files = []
        for picture in sample("brushed-metal", "scratch", (side, side), seed):
            file = io.BytesIO()
            picture.save(file, "PNG", compress_level=3)
            files.append(file.getvalue())
        return cls(files[0], files[1], defect_type, count, seed, steps)

    @property
    def options(self) -> dict[str, Any]:
        """Of `Flawsmith.augment`."""
        return {
            "count": self.count,
            "seed": self.seed,
            "min_quality": self.min_quality,
            **({"steps": self.steps} if self.steps else {}),
        }

    def sent(self, client: Flawsmith) -> Job:
        """The job that was accepted for it."""
        return client.augment(self.image, self.mask, self.defect_type, **self.options)


def finished(client: Flawsmith, job: Job) -> Job:
    """The job when it is final.

    Raises:
        RuntimeError: items of it failed.
    """
    job = client.wait(job, timeout=WAIT_S)
    if job.counts.succeeded != job.progress.total:
        raise RuntimeError(f"{job.id}: {job.counts}")
    return job
