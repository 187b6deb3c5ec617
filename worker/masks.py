"""Requested masks of items: those that were sent for all of them, and each item's own, drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from flawsmith.contract.resolved import ResolvedAugmentation
from models.noise import noise_key
from models.placement import DrawnMask, MaskDistribution
from worker.subjects import Mask, Subject


@dataclass(frozen=True)
class ItemMasks:
    """Where the defects of one item may appear.

    Attributes:
        masks: (H, W) of each defect; no two share a pixel.
        drawn: those of them that were drawn, by defect.
    """

    masks: tuple[Mask, ...]
    drawn: dict[int, DrawnMask]


class RequestedMasks:
    """The masks of items of one augmentation.

    Args:
        distributions: by defect, of those whose masks are to be drawn.

    Raises:
        ValueError: the mask of a defect is neither there nor to be drawn.
    """

    def __init__(
        self, subject: Subject, wanted: ResolvedAugmentation, distributions: Mapping[int, MaskDistribution]
    ) -> None:
        self._subject = subject
        self._seed = wanted.seed
        self._count = len(wanted.defects)
        self._distributions = distributions
        self._sent: dict[int, Mask] = {}
        for number, defect in enumerate(wanted.defects):
            if defect.mask == "sent":
                if number not in subject.sent:
                    raise ValueError(f"no mask was sent for defect {number}; send one, or let it be drawn")
                self._sent[number] = subject.sent[number]

    def of(self, index: int) -> ItemMasks:
        """Where the item's defects may appear; the same for the same seed and index, whoever asks.

        Masks that were sent come first, so that those drawn lie beside them.

        Raises:
            PlacementError: no defect of a type fits where it may lie.
        """
        subject = self._subject
        masks, drawn, taken = dict(self._sent), {}, list(self._sent.values())
        if subject.exclude is not None:
            taken.append(subject.exclude)
        for number, distribution in self._distributions.items():
            key = noise_key(self._seed, index, "mask", 0, number)
            exclude = np.logical_or.reduce(taken) if taken else None
            drawn[number] = distribution.draw(subject.part, key, subject.region, exclude)
            masks[number] = drawn[number].mask
            taken.append(masks[number])
        return ItemMasks(tuple(masks[number] for number in range(self._count)), drawn)
