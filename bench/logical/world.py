"""A world: a line of products with a rule, images that keep it, and images that break it in known ways."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bench.logical.studio import UNITS, Studio
from models.masks import Mask
from models.rendering.noise import Field

STREAM = 9020
"""First word of the seeds; no training of a backbone comes here."""

S = TypeVar("S")
Image = NDArray[np.uint8]

_SEEN = 2 / 255  # a change of less is none
_SOFT = 2  # units about the change that the region has beside it


@dataclass(frozen=True, eq=False)
class LogicalScene(Generic[S]):
    """One image of a line, and what it would look like if its rule were broken.

    Attributes:
        normal: (H, W, 3) uint8, keeps the rule.
        anomalous: (H, W, 3) uint8, the truth: what `anomaly` looks like on this image; equal outside `mask`.
        mask: (H, W) bool, the region that is wrong.
        cue: (H, W) bool, outside the mask: what tells how the region is wrong here.
        anomaly: name of the way in which the rule is broken.
        rule: the rule, in words.
        part: what is seen, in words; the same for all products of the line.
        kept, broken: what the two images show.
    """

    normal: Image
    anomalous: Image
    mask: Mask
    cue: Mask
    anomaly: str
    rule: str
    part: str
    kept: S
    broken: S


class World(ABC, Generic[S]):
    """A kind of product with its rule; S is what an image shows, in terms of the rule."""

    name: ClassVar[str]
    number: ClassVar[int]
    part: ClassVar[str]
    rule: ClassVar[str]
    anomalies: ClassVar[tuple[str, ...]]

    def render(self, index: int, seed: int = 0, anomaly: str | None = None, side: int = UNITS) -> LogicalScene[S]:
        """Image `index` of the line that `seed` names; the same arguments give the same bits.

        Args:
            anomaly: one of `anomalies`; by turns if None.
            side: pixels a side; 128 to 256 is usual.

        Raises:
            ValueError: an anomaly that this world does not know.
        """
        anomaly = anomaly or self.anomalies[index % len(self.anomalies)]
        if anomaly not in self.anomalies:
            raise ValueError(f"{self.name} have the anomalies {', '.join(self.anomalies)}, not {anomaly!r}")
        words = (STREAM, self.number, seed)
        studio = Studio(line=words, own=(*words, index), side=side)
        kept = self.arranged(studio)
        broken = self.breaking(studio, kept, anomaly)
        camera = studio.camera()
        right, wrong = (camera.shoot(self.paint(studio, state)) for state in (kept, broken))
        mask = self.region(studio, kept, broken, anomaly) | _changed(right, wrong, studio.unit)
        normal, anomalous = _bytes(right), _bytes(wrong)
        return LogicalScene(
            normal=normal,
            anomalous=np.where(mask[..., None], anomalous, normal),
            mask=mask,
            cue=self.cue(studio, kept, anomaly) & ~mask,
            anomaly=anomaly,
            rule=self.rule,
            part=self.part,
            kept=kept,
            broken=broken,
        )

    @abstractmethod
    def arranged(self, studio: Studio) -> S:
        """What an image shows that keeps the rule."""

    @abstractmethod
    def breaking(self, studio: Studio, kept: S, anomaly: str) -> S:
        """The same with its rule broken: a function of what is kept, so that the rest of the image tells it."""

    @abstractmethod
    def holds(self, state: S) -> bool:
        """Whether the rule is kept."""

    @abstractmethod
    def paint(self, studio: Studio, state: S) -> Field:
        """The light (H, W, 3) that comes from it; what the state does not say is the same for all states."""

    @abstractmethod
    def region(self, studio: Studio, kept: S, broken: S, anomaly: str) -> Mask:
        """(H, W) bool, where the anomaly is."""

    @abstractmethod
    def cue(self, studio: Studio, kept: S, anomaly: str) -> Mask:
        """(H, W) bool, what tells the anomaly's look."""


def _changed(one: Field, other: Field, unit: float) -> Mask:
    """Where two shots differ, with a little room."""
    differs = np.abs(one - other).max(axis=2) > _SEEN
    return np.asarray(ndimage.binary_dilation(differs, iterations=max(1, round(_SOFT * unit / 2))))


def _bytes(image: Field) -> Image:
    return np.asarray(np.round(image.clip(0, 1) * 255), np.uint8)
