"""The loop around a stage: budget, progress bar, log, checkpoints, sample sheets."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from tqdm import tqdm


class Stage(Protocol):
    """Something that learns step by step. A step's randomness depends on the seed and the step's number alone."""

    name: str

    def step(self, step: int, progress: float) -> dict[str, float]:
        """Learn from one batch; `progress` in [0, 1) drives the schedules. Returns losses to log."""

    def state(self) -> dict[str, Any]:
        """All that a later process needs to go on: tensors, numbers and strings only."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""

    def sheet(self, path: Path) -> None:
        """Write a picture to look at."""


@dataclass(frozen=True)
class Budget:
    """How long a stage learns: a number of steps, or minutes of learning over all its runs."""

    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("a budget is either steps or minutes")

    def progress(self, step: int, seconds: float) -> float:
        """Share of the budget that is used, in [0, 1]."""
        if self.steps is not None:
            return min(step / self.steps, 1.0) if self.steps else 1.0
        return min(seconds / (60 * (self.minutes or 0)), 1.0) if self.minutes else 1.0


def learn(
    stage: Stage, folder: Path, budget: Budget, save_every_s: float = 150, sheet_every: int = 300
) -> dict[str, float]:
    """Run a stage to the end of its budget, from its checkpoint in `folder` if there is one.

    Returns the number of steps, the seconds of learning and the last losses, averaged.
    """
    checkpoint = folder / f"{stage.name}.pt"
    step, seconds = 0, 0.0
    mean: dict[str, float] = {}
    if checkpoint.is_file():
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
        stage.restore(saved["stage"])
        step, seconds = int(saved["step"]), float(saved["seconds"])
        mean = saved.get("losses", mean)
    started_at_progress = budget.progress(step, seconds)
    saved_at = time.monotonic()
    with (
        (folder / f"{stage.name}.jsonl").open("a", encoding="utf-8") as log,
        tqdm(total=100.0, initial=100 * started_at_progress, desc=stage.name, unit="%", disable=None) as bar,
    ):
        while (progress := budget.progress(step, seconds)) < 1:
            began = time.monotonic()
            losses = stage.step(step, progress)
            step += 1
            seconds += time.monotonic() - began
            mean = {key: 0.98 * mean.get(key, value) + 0.02 * value for key, value in losses.items()}
            log.write(json.dumps({"step": step, "seconds": round(seconds, 2), **losses}) + "\n")
            bar.set_postfix({"step": step} | {key: f"{value:.4f}" for key, value in mean.items()}, refresh=False)
            bar.update(100 * budget.progress(step, seconds) - bar.n)
            if time.monotonic() - saved_at > save_every_s:
                _save(checkpoint, stage, step, seconds, mean)
                log.flush()
                saved_at = time.monotonic()
            if step % sheet_every == 0:
                stage.sheet(folder / f"{stage.name}-{step:06d}.png")
    if started_at_progress < 1:
        _save(checkpoint, stage, step, seconds, mean)
        stage.sheet(folder / f"{stage.name}-last.png")
    return {"steps": step, "seconds": round(seconds, 1), **mean}


def _save(checkpoint: Path, stage: Stage, step: int, seconds: float, losses: dict[str, float]) -> None:
    """Whole or not at all: a kill while writing leaves the checkpoint before."""
    partial = checkpoint.with_suffix(".partial")
    torch.save({"step": step, "seconds": seconds, "losses": losses, "stage": stage.state()}, partial)
    partial.replace(checkpoint)
