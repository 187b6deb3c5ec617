"""What every method gets of a type: its real pairs, normal images, and the places where defects are to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bench import shared
from bench.quality.sources import GOOD, Source
from models.evaluation.requests import loose_places
from models.placement.distribution import MaskDistribution
from models.samples import Exemplar, Sample, exemplars_of
from models.teaching.trials import Place

_NORMALS = 40  # that a type is taught with


@dataclass(frozen=True)
class Kit:
    """A type of a set.

    Attributes:
        source: the set.
        seed: of the places.
    """

    source: Source
    type: str
    seed: int

    @property
    def set(self) -> str:
        """Name of the set."""
        return self.source.name

    @property
    def part(self) -> str:
        """What its photos show."""
        return self.source.part

    @property
    def shaped_by(self) -> Mapping[str, Any]:
        """All that decides what a method gets."""
        return {**self.source.shaped_by, "type": self.type, "seed": self.seed}

    @property
    def samples(self) -> list[Sample]:
        """The real `teach` pairs."""
        return self.source.samples(self.type, "teach")

    @property
    def normals(self) -> list[Sample]:
        """The normal `teach` images."""
        return self.source.samples(GOOD, "teach")

    @cached_property
    def few_normals(self) -> list[Sample]:
        """Those that a type is taught with."""
        return shared.spread(self.normals, _NORMALS)

    @cached_property
    def exemplars(self) -> list[Exemplar]:
        """Real defects cut out of the samples."""
        return exemplars_of(self.samples)

    def places(self, count: int, split: str = "teach") -> list[Place]:
        """Normal images of a third, or the part of a large one, each with a loose request for a defect."""
        masks = MaskDistribution.learned(self.samples)
        return list(loose_places(self.source.samples(GOOD, split), masks, count, self.seed))


def kits(source: Source, seed: int) -> list[Kit]:
    """The types of a set."""
    return [Kit(source, type_, seed) for type_ in source.types]
