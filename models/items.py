"""What is asked of the method and what it gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from models.adapters import Adapter
from models.aims import Aim, Aimed
from models.levels import Levels, Pixels, colour, saturation
from models.masks import Mask
from models.measures import RegionMeasures
from models.noise import noise_key
from models.placement.drawn import DrawnMask
from models.references import References
from models.samples import Exemplar
from models.scores import Scores

MAX_ATTEMPTS = 3
"""How often an item below its ``min_quality`` is made in all, in whatever way; the best attempt is returned."""
MAX_AIMED_ATTEMPTS = 6
"""The same of one that is to have a size or a contrast."""

Begins = Literal["noise", "sketch", "exemplar"]
"""What the inside of a drawing begins on: the normal image in noise, or with a defect laid over it."""


@dataclass(frozen=True, eq=False)
class ItemRequest:
    """One item to draw.

    Attributes:
        image: (H, W) or (H, W, 2 to 4) uint8 or uint16, the canonical input; a last channel of 2 or 4 is alpha.
        mask: (H, W) bool, not empty: where the defect may appear.
        adapter: the defect type; for a control its tokens are left out.
        part: text of C2.
        severity: (0, 1].
        guidance: weight g of ε_C1 over ε_C2; 1 is one pass a step.
        seed_share: ρ in [0, 1].
        steps: of the grid over all of T.
        seed, index: the noise key; ``index`` is the item's place in its augmentation.
        defect: in the noise key too: which of several defects in one image, each drawn apart (`models.merging`).
        control: draw under C2 alone, in the shape that an item has, and put nothing back of it.
        min_quality: below it the item is drawn again.
        black_level, white_level: for 16 bits; fitted on the window if None.
        exemplars: real defects of the type, which its items may begin on.
        references: what realism and novelty are judged against; without them an item has neither.
        aim: how long and how strong the defect is to be; None is as it comes.
    """

    image: Pixels
    mask: Mask
    adapter: Adapter
    part: str
    severity: float
    guidance: float
    seed_share: float
    steps: int
    seed: int
    index: int
    control: bool = False
    min_quality: float = 0.0
    black_level: int | None = None
    white_level: int | None = None
    exemplars: Sequence[Exemplar] = ()
    references: References | None = None
    defect: int = 0
    aim: Aim | None = None

    @classmethod
    def by_default(
        cls,
        image: Pixels,
        mask: Mask,
        adapter: Adapter,
        seed: int = 0,
        control: bool = False,
        exemplars: Sequence[Exemplar] = (),
        references: References | None = None,
    ) -> ItemRequest:
        """The first item of an augmentation that asks for nothing but the type's own defaults."""
        card = adapter.card
        return cls(
            image=image,
            mask=mask,
            adapter=adapter,
            part=card.part,
            severity=card.severity,
            guidance=card.guidance,
            seed_share=card.seed_share,
            steps=card.steps,
            seed=seed,
            index=0,
            control=control,
            exemplars=exemplars,
            references=references,
        )

    def noise_key(self, region: str, attempt: int) -> int:
        """What the noise of a region is made from in one attempt."""
        return noise_key(self.seed, self.index, region, attempt, self.defect)

    @cached_property
    def levels(self) -> Levels:
        """The range that it is judged in: the whole photo's, as that of real defects is."""
        return Levels.of(colour(self.image), self.black_level, self.white_level)

    @cached_property
    def top(self) -> int:
        """The highest level that its photo may show."""
        return saturation(self.image, self.white_level)

    @property
    def begins_on(self) -> Begins:
        """What the inside of the drawing begins on; of a type that begins on both, the seed decides."""
        card = self.adapter.card
        if self.exemplars and card.exemplars:
            chance = self.noise_key("begin", 0) / 2**63
            if chance < card.exemplars:
                return "exemplar"
        return "sketch" if card.sketch else "noise"


@dataclass(frozen=True, eq=False)
class ItemResult:
    """What was drawn.

    Attributes:
        image: same shape and dtype as the request's; outside the requested mask the same bits.
        refined_mask: (H, W) bool, inside the requested mask; of a control, where it was drawn anew.
        regions: measures, largest first; of a control none.
        soft_edge_px: changed pixels that are not labelled lie within this distance of a labelled one.
        pixels_per_model_pixel: the coarsest scale at which a part of the mask was drawn.
        attempts: how often the item was drawn.
        accepted: quality reached ``min_quality``, some pixel is labelled or it is a control, and nothing that was
            aimed at is missed.
        missed: what of the request's aim is missed.
        requested: the mask that it was drawn in, where that is another one than the request's.
    """

    image: Pixels
    refined_mask: Mask
    scores: Scores
    regions: tuple[RegionMeasures, ...]
    soft_edge_px: int
    pixels_per_model_pixel: float
    attempts: int
    accepted: bool
    missed: tuple[Aimed, ...] = ()
    requested: DrawnMask | None = None
