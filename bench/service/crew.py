"""Simulated workers, and what they say of their CPU time and their calls of S3 at their end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.stack import Stack
from tests.worker.tiny_worker import save_backbone

MODULE = "bench.service.simulated"


@dataclass
class Crew:
    """Workers that are running; `Crew.seconds` is there once they have ended.

    Attributes:
        seconds: CPU that went into what is no bookkeeping, by kind, over all of them.
        items: that they drew.
        calls: of S3 that they made.
    """

    stack: Stack
    pids: list[int]
    seconds: dict[str, float] = field(default_factory=dict)
    items: int = 0
    calls: int = 0

    @property
    def parts(self) -> dict[str, list[int]]:
        """Process ids of the deployment by part."""
        servers = {name: [pid] for name, pid in self.stack.servers.items()}
        return {"API": [self.stack.service.pid], "workers": self.pids} | servers


def backbone(folder: Path) -> Path:
    """The tiny backbone that simulated workers load: what it would draw nobody sees."""
    path = folder / "backbone"
    if not path.exists():
        save_backbone(path)
    return path


@contextmanager
def simulated(stack: Stack, workers: int, item_s: float, batch: int) -> Iterator[Crew]:
    """Simulated workers while the block runs.

    Args:
        item_s: seconds that an item takes.
        batch: items that are drawn together.
    """
    told = stack.folder / f"told-{workers}"
    told.mkdir(exist_ok=True)
    settings = {
        "SIMULATED_ITEM_S": str(item_s),
        "SIMULATED_FOLDER": str(told),
        "FLAWSMITH_BACKBONE": str(backbone(stack.folder)),
        "FLAWSMITH_DEVICE": "cpu",
        "FLAWSMITH_THREADS": "1",
        "FLAWSMITH_BATCH_SHAPE": str(batch),
        "OMP_NUM_THREADS": "1",
    }
    with stack.working(workers, MODULE, settings) as processes:
        crew = Crew(stack, [process.pid for process in processes])
        yield crew
    for path in told.iterdir():
        one = json.loads(path.read_text("utf-8"))
        crew.items += one["items"]
        crew.calls += one["calls"]
        for kind, seconds in one["seconds"].items():
            crew.seconds[kind] = crew.seconds.get(kind, 0.0) + seconds
