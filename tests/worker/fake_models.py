"""Models that draw nothing much, at once, and fail where a test wants them to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch

from flawsmith.contract.defect_types import DefectTypeRecord
from models.adapters import Adapter, Card
from models.backbone import Backbone
from models.batching import OnStep
from models.generation import Generator
from models.items import ItemRequest, ItemResult
from models.measures import RegionMeasures
from models.references import References
from models.refinement import Calibration
from models.samples import Exemplar
from models.scores import Scores
from worker.models import Models
from worker.turn import Turn

STEPS = 4


@dataclass
class FakeModels:
    """Stands for `worker.models.Models` and for its only generator.

    Attributes:
        before: called with each batch before it is drawn; raises what a test wants.
        on_step: called before each step's own ``on_step``.
        batches: indices of the items in each batch that was asked for.
        shrunk: how often less memory was asked for.
        freed: how often memory was, with rows as they are.
        masks: of every adapter's card.
        real_defects: what every type keeps of its samples.
        lanes, turn: as those of `Models`; a batch takes its turn for the steps.
    """

    batch_shape: int = 2
    before: Callable[[list[int]], None] = lambda batch: None
    on_step: Callable[[], None] = lambda: None
    batches: list[list[int]] = field(default_factory=list)
    shrunk: int = 0
    freed: int = 0
    masks: dict[str, Any] = field(default_factory=dict)
    real_defects: list[Exemplar] = field(default_factory=list)
    calibration: Calibration = field(default_factory=Calibration)
    lanes: int = 1
    turn: Turn = field(default_factory=Turn)

    @property
    def fingerprint(self) -> str:
        return f"fake{self.batch_shape}"

    def shrink(self, shape: int) -> bool:
        with self.turn:
            self.shrunk += 1
            if shape == self.batch_shape > 1:
                self.batch_shape //= 2
            return self.batch_shape < shape

    def free(self) -> None:
        self.freed += 1

    def as_models(self) -> Models:
        return cast(Models, self)

    def adapter(self, record: DefectTypeRecord) -> Adapter:
        card, tokens = Card(masks=self.masks), torch.zeros(1, 2)
        return Adapter(record.name, record.version, record.backbone, record.backbone_digest, tokens, card)

    def exemplars(self, record: DefectTypeRecord) -> list[Exemplar]:
        return self.real_defects

    def references(self, record: DefectTypeRecord) -> References | None:
        return References.of(self.real_defects) if self.real_defects else None

    def backbone(self, name: str | None = None) -> Backbone:
        return cast(Backbone, SimpleNamespace(name=name or "tiny", digest="sha256:0", token_width=2))

    def has(self, backbone: str) -> bool:
        return True

    def generator(self, backbone: str) -> Generator:
        return cast(Generator, self)

    def generate(self, requests: Sequence[ItemRequest], on_step: OnStep) -> list[ItemResult]:
        indices = [request.index for request in requests]
        self.batches.append(indices)
        self.before(indices)
        with self.turn:
            for step in range(STEPS):
                self.on_step()
                on_step(step + 1, STEPS)
        return [drawn(request) for request in requests]


def drawn(request: ItemRequest) -> ItemResult:
    """The input with its mask inverted."""
    image = request.image.copy()
    image[request.mask] = np.iinfo(image.dtype).max - image[request.mask]
    return ItemResult(
        image=image,
        refined_mask=request.mask,
        scores=Scores(presence=0.9, seam=0.8, grain=0.7, coverage=1.0, background_max_abs_diff=0),
        regions=(RegionMeasures(area=560.0, length=28.0, width=20.0, contrast=0.5, box=(16, 20, 28, 20)),),
        soft_edge_px=2,
        pixels_per_model_pixel=1.0,
        attempts=1,
        accepted=True,
    )
