"""A training that learns nothing, step by step, so that what keeps and resumes it can be looked at.

What it has learned is a digest of all its steps: a step that is lost, or done twice, gives another one.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from flawsmith.contract.trainings import ResolvedTraining, TrainingPhase
from models.adapters import Adapter, Card
from models.backbone import Backbone
from models.samples import Sample, exemplars_of, exemplars_to_bytes
from worker.trainings import Teaching, UnteachableError

STEPS = 12


@dataclass(frozen=True)
class FakeProgress:
    phase: TrainingPhase
    step: int
    steps: int
    losses: Mapping[str, float]


@dataclass(frozen=True)
class FakeTaught:
    adapter: Adapter
    exemplars: bytes
    card: Mapping[str, Any]


@dataclass
class FakeTeaching:
    """Stands for `models.teaching.teaching.Teaching`."""

    backbone: Backbone
    wanted: ResolvedTraining
    samples: Sequence[Sample]
    normals: Sequence[Sample]
    steps: int = STEPS
    step_s: float = 0.0
    before_step: Callable[[int], None] = lambda step: None
    step: int = 0
    learned: str = ""

    def __post_init__(self) -> None:
        first = [sample.sha256 for sample in (*self.samples, *self.normals)]
        self.learned = self.learned or hashlib.sha256(json.dumps([self.wanted.seed, first]).encode()).hexdigest()

    @property
    def progress(self) -> FakeProgress:
        phase: TrainingPhase = "done" if self.step == self.steps else "learning"
        losses = {"defect": 1 / self.step, "background": 0.5 / self.step} if self.step else {}
        return FakeProgress(phase, self.step, self.steps, losses)

    def restore(self, checkpoint: bytes) -> None:
        state = json.loads(checkpoint)
        self.step, self.learned = state["step"], state["learned"]

    def advance(self, seconds: float, on_step: Callable[[int, int], None] | None = None) -> FakeProgress:
        end = time.monotonic() + seconds
        while self.step < self.steps:
            self.before_step(self.step)
            time.sleep(self.step_s)
            self.learned = hashlib.sha256(f"{self.learned} {self.step}".encode()).hexdigest()
            self.step += 1
            if on_step is not None:
                on_step(self.step, self.steps)
            if time.monotonic() >= end:
                break
        return self.progress

    def checkpoint(self) -> bytes:
        return json.dumps({"step": self.step, "learned": self.learned}).encode()

    def sheet(self) -> NDArray[np.uint8]:
        return np.full((8, 8, 3), self.step, dtype=np.uint8)

    def result(self) -> FakeTaught:
        assert self.step == self.steps
        seed = int(self.learned[:8], 16)
        tokens = torch.randn(2, self.backbone.token_width, generator=torch.Generator().manual_seed(seed))
        adapter = Adapter(
            self.wanted.name,
            0,
            self.backbone.name,
            self.backbone.digest,
            tokens,
            Card(description=self.wanted.description, part=self.wanted.part),
        )
        card = {
            "settings": {"steps": self.steps, "learned": self.learned},
            "losses": dict(self.progress.losses),
            "scores": {"realism": 0.5},
            "verdict": "fair",
            "reasons": ["few samples"],
        }
        return FakeTaught(adapter, exemplars_to_bytes(exemplars_of(self.samples)), card)


@dataclass
class School:
    """Begins trainings as a test wants them; stands for the constructor of `Teaching`.

    Attributes:
        begun: how often a training was begun or restored, by name.
    """

    steps: int = STEPS
    step_s: float = 0.0
    before_step: Callable[[int], None] = lambda step: None
    begun: dict[str, int] = field(default_factory=dict)

    def teach(
        self, backbone: Backbone, wanted: ResolvedTraining, samples: Sequence[Sample], normals: Sequence[Sample]
    ) -> Teaching:
        if wanted.part == "nothing":
            raise UnteachableError("part says nothing; say what the part is")
        self.begun[wanted.name] = self.begun.get(wanted.name, 0) + 1
        return FakeTeaching(
            backbone, wanted, samples, normals, self.steps, self.step_s, lambda step: self.before_step(step)
        )
