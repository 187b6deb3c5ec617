"""Requested masks of items: those that were sent for all, and each item's own, drawn or cut out of those."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from flawsmith.contract.resolved import ResolvedAugmentation
from models.aims import Range, spread
from models.items import ItemResult
from models.masks import distance_outside
from models.noise import noise_key
from models.pieces import piece
from models.placement import DrawnMask, MaskDistribution, PlacementError
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
        masks, drawn, lengths = dict(self._sent), {}, {}
        for number, size in self._sizes.items():
            share = noise_key(self._seed, index, "size", 0, number) / 2**63
            lengths[number] = spread(size, share)
        for number in [one for one in self._sent if one in lengths]:
            drawn[number] = piece(self._sent[number], lengths[number], self._key(index, number, 0))
            masks[number] = drawn[number].mask
        for number in self._distributions:
            drawn[number] = self._drawn(index, number, 0, list(masks.values()), lengths.get(number))
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
