"""Requested masks of items: those that were sent for all, and each item's own, drawn or cut out of those."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from flawsmith.contract.resolved import ResolvedAugmentation
from models.aims import Range, spread
from models.items import ItemResult
from models.masks import distance_outside
from models.noise import noise_key
from models.pieces import piece
from models.placement.distribution import MaskDistribution
from models.placement.drawn import DrawnMask, PlacementError
from worker.subjects import Mask, Subject


@dataclass(frozen=True)
class ItemMasks:
    """Where the defects of one item may appear.

    Attributes:
        masks: (H, W) of each defect; no two share a pixel.
        drawn: those of them that are the item's own, by defect.
        lengths: in pixels that those of a size were to have, by defect.
    """

    masks: tuple[Mask, ...]
    drawn: dict[int, DrawnMask]
    lengths: dict[int, float]

    def of_results(self, results: Sequence[ItemResult]) -> ItemMasks:
        """Those that the best attempts were made in."""
        changed = {number: one.requested for number, one in enumerate(results) if one.requested is not None}
        masks = tuple(
            changed[number].mask if number in changed else mask for number, mask in enumerate(self.masks)
        )
        return replace(self, masks=masks, drawn=self.drawn | changed)


class RequestedMasks:
    """The masks of items of one augmentation.

    Args:
        distributions: by defect, of those whose masks are to be drawn.
        sizes: least and greatest length in pixels, by defect, of those that are to have one. What was sent for
            them says where they may lie, and each item gets a piece of it.

    Raises:
        ValueError: the mask of a defect is neither there nor to be drawn.
    """

    def __init__(
        self,
        subject: Subject,
        wanted: ResolvedAugmentation,
        distributions: Mapping[int, MaskDistribution],
        sizes: Mapping[int, Range],
    ) -> None:
        self._subject = subject
        self._seed = wanted.seed
        self._count = len(wanted.defects)
        self._distributions = distributions
        self._sizes = sizes
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
        masks: dict[int, Mask] = dict(self._sent)
        drawn: dict[int, DrawnMask] = {}
        lengths: dict[int, float] = {}
        for number in [*self._sent, *self._distributions]:
            if number in self._sizes:
                lengths[number], drawn[number] = self._of_size(index, number, masks)
            elif number in self._distributions:
                drawn[number] = self._drawn(index, number, 0, list(masks.values()), None)
            else:
                continue
            masks[number] = drawn[number].mask
        return ItemMasks(tuple(masks[number] for number in range(self._count)), drawn, lengths)

    def again(self, first: ItemMasks, index: int, number: int, attempt: int, length: float) -> DrawnMask:
        """Another mask of one defect of an item, of about this length. It shares no pixel with any that the item's
        other defects get, for each stays nearer to its own first one than to theirs.

        Raises:
            PlacementError: none fits.
        """
        others = [mask for other, mask in enumerate(first.masks) if other != number]
        if others:
            beyond = distance_outside(np.logical_or.reduce(others)) <= distance_outside(first.masks[number])
            others = [beyond]
        if number in self._distributions:
            return self._drawn(index, number, attempt - 1, others, length)
        where = self._sent[number] & ~others[0] if others else self._sent[number]
        if not where.any():
            raise PlacementError("the other defects leave nothing of the mask")
        return piece(where, length, self._key(index, number, attempt - 1))

    def _of_size(self, index: int, number: int, masks: Mapping[int, Mask]) -> tuple[float, DrawnMask]:
        """The first mask of a defect of a size, and the length that it was to have: a shorter one if it must be.

        Args:
            masks: of those defects that have one, by defect.

        Raises:
            PlacementError: not even a short one fits.
        """
        share = noise_key(self._seed, index, "size", 0, number) / 2**63
        *longer, shortest = (spread(self._sizes[number], share * part) for part in (1, 0.5, 0))
        for length in longer:
            with suppress(PlacementError):
                return length, self._of_length(index, number, 0, masks, length)
        return shortest, self._of_length(index, number, 0, masks, shortest)

    def _of_length(
        self, index: int, number: int, again: int, masks: Mapping[int, Mask], length: float
    ) -> DrawnMask:
        if number in self._sent:
            return piece(self._sent[number], length, self._key(index, number, again))
        return self._drawn(index, number, again, list(masks.values()), length)

    def _drawn(
        self, index: int, number: int, again: int, taken: Sequence[Mask], length: float | None
    ) -> DrawnMask:
        subject = self._subject
        taken = [*taken, subject.exclude] if subject.exclude is not None else list(taken)
        exclude = np.logical_or.reduce(taken) if taken else None
        key = self._key(index, number, again)
        return self._distributions[number].draw(subject.part, key, subject.region, exclude, length)

    def _key(self, index: int, number: int, again: int) -> int:
        return noise_key(self._seed, index, "mask", again, number)
