"""What every method gets of a type: its real pairs, normal images, and the places where defects are to be."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np

from bench import shared
from bench.data import read_samples
from models.masks import Mask, distance_outside
from models.placement import MaskDistribution
from models.samples import Exemplar, Sample, exemplars_of
from models.teaching.trials import Place, places

SETS: dict[str, tuple[str, tuple[str, ...]]] = {
    "magnetic_tile": ("magnetic tile", ("blowhole", "break", "crack", "fray", "uneven")),
    "bsdata_ballscrew": ("ball screw spindle", ("pitting",)),
    "visa_capsules": ("capsule", ("bubble", "combined")),
    "deeppcb": ("circuit board", ("mixed",)),
    "crackforest": ("road surface", ("crack",)),
}
"""Parts and types. Pitting of the other source of `bsdata_ballscrew` is another defect on another part."""

LOOSER = (2.0, 4.0)
"""How many times the defect's area a request has: nobody knows the outline of a defect that is not there."""
_NORMALS = 40  # that a type is taught with


@dataclass(frozen=True)
class Kit:
    """A type of a set.

    Attributes:
        part: what the photos show.
        seed: of the places.
    """

    set: str
    part: str
    type: str
    seed: int

    @cached_property
    def samples(self) -> list[Sample]:
        """The real `teach` pairs."""
        return read_samples(self.set, self.type, "teach")

    @cached_property
    def normals(self) -> list[Sample]:
        """The normal `teach` images."""
        return read_samples(self.set, "good", "teach")

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
        normals = self.normals if split == "teach" else read_samples(self.set, "good", split)
        found = islice(places(normals, masks, 3 * count, self.seed), count)  # on some photos nothing fits
        rng = np.random.default_rng([self.seed, 5])
        return [Place(place.image, loosened(place.mask, float(rng.uniform(*LOOSER)))) for place in found]


def loosened(mask: Mask, times: float) -> Mask:
    """What lies nearest to a mask, so that it has that many times its area."""
    distance = distance_outside(mask)
    most = min(int(times * mask.sum()), mask.size) - 1
    return np.asarray(distance <= np.partition(distance.ravel(), most)[most])


def kits(name: str, seed: int) -> list[Kit]:
    """The types of a set."""
    part, types = SETS[name]
    return [Kit(name, part, type_, seed) for type_ in types]
