"""Augmentations with every default filled in: what a worker draws, whoever asks again."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, JsonValue

from flawsmith.contract.augmentations import MAX_DEFECTS, Method
from flawsmith.contract.base import Schema, SparseSchema
from flawsmith.contract.wishes import ContrastRange, SizeRange


class ResolvedDefect(SparseSchema):
    """One defect of every item, with what its type leaves open filled in."""

    sparse: ClassVar[frozenset[str]] = frozenset({"size", "contrast"})

    defect_type: str
    defect_type_version: int
    defect_type_tenant: str
    severity: float
    guidance: float
    steps: int
    seed_share: float
    part: str
    min_quality: float
    mask: Literal["sent", "drawn"] = "sent"
    """Drawn: each item gets a mask of its own from the defect type's distribution."""
    size: SizeRange | None = None
    """Each item gets a mask of its own then: drawn that long, or cut out of the one that was sent."""
    contrast: ContrastRange | None = None

    @property
    def reference(self) -> str:
        """``name@version``."""
        return f"{self.defect_type}@{self.defect_type_version}"


class ResolvedAugmentation(Schema):
    """An augmentation with every default filled in: what the worker draws, whoever asks again."""

    defects: list[ResolvedDefect] = Field(min_length=1, max_length=MAX_DEFECTS)
    """What each item gets; a place in this list is what noise, files and answers call a defect by."""
    method: Method = "diffusion"
    count: int
    seed: int
    black_level: int | None = None
    white_level: int | None = None
    pixel_size_um: float | None = None
    control: bool = False
    metadata: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def several(self) -> bool:
        return len(self.defects) > 1

    @property
    def masked(self) -> bool:
        """Whether masks were sent for all defects; items of one without a size share its mask."""
        return all(defect.mask == "sent" for defect in self.defects)

    def shown(self) -> dict[str, JsonValue]:
        """As the API shows it: like the request, where there is one defect its fields stand beside the others."""
        fields = self.model_dump(mode="json")
        defects = fields.pop("defects")
        for defect in defects:
            del defect["defect_type_tenant"]
        return {"defects": defects, **fields} if self.several else {**defects[0], **fields}
