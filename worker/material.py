"""What items are made from: the subject, and of each defect its type and what that has learned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from flawsmith.contract.defect_types import DefectTypeRecord
from flawsmith.contract.resolved import ResolvedAugmentation, ResolvedDefect
from models.adapters import Adapter
from models.aims import Aim
from models.items import ItemRequest
from models.placement.distribution import MaskDistribution
from models.references import References
from models.samples import Exemplar
from worker.masks import ItemMasks, RequestedMasks
from worker.models import Models
from worker.subjects import Subject


@dataclass(frozen=True)
class Order:
    """One item to be made: what to ask the models for each of its defects.

    Attributes:
        index: the item's place in its job, which is not always the one that its noise is made from.
    """

    index: int
    material: Material
    requests: list[ItemRequest]
    masks: ItemMasks


@dataclass(frozen=True)
class Learned:
    """What a version of a defect type has learned."""

    backbone: str
    adapter: Adapter
    exemplars: Sequence[Exemplar]
    references: References | None

    @cached_property
    def distribution(self) -> MaskDistribution:
        """Where its defects lie.

        Raises:
            MaskDistributionError: the type cannot say.
        """
        return MaskDistribution.from_json(self.adapter.card.masks)


LookUp = Callable[[str, Callable[[], "Learned"]], "Learned"]
"""Calls a function that asks models for what was learned on a backbone, where and when that may be done."""


class Types:
    """Versions of defect types with what they have learned, each looked up once.

    Args:
        record: of the type of a defect.
    """

    def __init__(
        self, record: Callable[[ResolvedDefect], DefectTypeRecord], models: Models, look_up: LookUp
    ) -> None:
        self._record = record
        self._models = models
        self._look_up = look_up
        self._known: dict[tuple[str, str, int], Learned] = {}

    def of(self, defect: ResolvedDefect) -> Learned:
        """What the type of a defect has learned.

        Raises:
            ModelMissingError: the type, or something of it, is not there any more.
            BackboneError, AdapterError: what is there cannot be used.
            StorageError: a file cannot be read.
        """
        key = (defect.defect_type_tenant, defect.defect_type, defect.defect_type_version)
        if key not in self._known:
            record = self._record(defect)
            self._known[key] = self._look_up(record.backbone, partial(self._learned, record))
        return self._known[key]

    def _learned(self, record: DefectTypeRecord) -> Learned:
        models = self._models
        return Learned(
            record.backbone, models.adapter(record), models.exemplars(record), models.references(record)
        )


class Material:
    """What the items of an augmentation are made from.

    Attributes:
        backbone: name of the one that all its types are on.

    Raises:
        MaskDistributionError: masks are to be drawn, and a type cannot say how.
        ValueError: the mask of a defect is neither there nor to be drawn; or a size is in µm, and a pixel's is not
            known.
        As `Types.of` does.
    """

    def __init__(self, subject: Subject, augmentation: ResolvedAugmentation, types: Types) -> None:
        self.subject = subject
        self.augmentation = augmentation
        self._learned = [types.of(defect) for defect in augmentation.defects]
        self.backbone = self._learned[0].backbone
        distributions = {
            number: learned.distribution
            for number, (defect, learned) in enumerate(zip(augmentation.defects, self._learned, strict=True))
            if defect.mask == "drawn"
        }
        self._sizes = {
            number: defect.size.pixels(augmentation.pixel_size_um)
            for number, defect in enumerate(augmentation.defects)
            if defect.size is not None
        }
        self._masks = RequestedMasks(subject, augmentation, distributions, self._sizes)

    def order(self, index: int, of_noise: int) -> Order:
        """What to ask the models for one item.

        Args:
            index: the item's place in its job.
            of_noise: its place in its augmentation, from which its noise and its masks are made.

        Raises:
            PlacementError: no mask can be drawn for it.
        """
        masks = self._masks.of(of_noise)
        requests = [self._request(of_noise, number, masks) for number in range(len(self._learned))]
        return Order(index, self, requests, masks)

    def _request(self, index: int, number: int, masks: ItemMasks) -> ItemRequest:
        shared, learned = self.augmentation, self._learned[number]
        wanted = shared.defects[number]
        return ItemRequest(
            image=self.subject.image.pixels,
            mask=masks.masks[number],
            adapter=learned.adapter,
            part=wanted.part,
            severity=wanted.severity,
            guidance=wanted.guidance,
            seed_share=wanted.seed_share,
            steps=wanted.steps,
            seed=shared.seed,
            index=index,
            defect=number,
            control=shared.control,
            min_quality=wanted.min_quality,
            black_level=shared.black_level,
            white_level=shared.white_level,
            exemplars=learned.exemplars,
            references=learned.references,
            aim=self._aim(index, number, masks),
        )

    def _aim(self, index: int, number: int, masks: ItemMasks) -> Aim | None:
        """What the defect is to be; of a control nothing, though its mask has the size."""
        contrast = self.augmentation.defects[number].contrast
        if self.augmentation.control or (number not in self._sizes and contrast is None):
            return None
        again = partial(self._masks.again, masks, index, number) if number in self._sizes else None
        return Aim(
            size=self._sizes.get(number),
            contrast=None if contrast is None else (contrast.min, contrast.max),
            length=masks.lengths.get(number),
            again=again,
        )
