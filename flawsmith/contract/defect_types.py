"""Defect types: what can be drawn."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue

from flawsmith.contract.base import Answer, FormatVersion, Schema
from flawsmith.contract.ids import JobId

Start = Literal["noise", "sketch", "exemplar"]
"""What the inside of a drawing begins on."""
AnomalyKind = Literal["structural", "logical"]
"""A defect of a part, or a wrong arrangement of parts that each look fine."""
Verdict = Literal["good", "fair", "poor"]
"""What a taught type says of itself, judged on samples that were held back."""


class DefectTypeDefaults(Schema):
    """What a request that names nothing else gets."""

    severity: float = Field(gt=0, le=1)
    guidance: float = Field(ge=0)
    steps: int = Field(ge=4)
    seed_share: float = Field(ge=0, le=1)
    """ρ: the seed's share of the start noise."""
    min_quality: float = Field(ge=0, le=1)
    part: str


class EarlierVersion(Schema):
    """The version from whose samples another one was taught, as it was then; it may be gone since."""

    defect_type: str
    """``name@version``."""
    backbone: str
    scores: dict[str, float] = Field(default_factory=dict)
    verdict: Verdict | None = None


class DefectTypeCard(Schema):
    """What a taught version says of itself: where it comes from, how it was judged."""

    samples: list[str]
    """SHA-256 of each sample's image as it was sent."""
    normals: list[str] = Field(default_factory=list)
    """SHA-256 of each normal image as it was sent."""
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    """Of the training, defaults filled in, and what its search chose."""
    losses: dict[str, float] = Field(default_factory=dict)
    """Both terms at the step whose weights were kept."""
    scores: dict[str, float] = Field(default_factory=dict)
    """Medians over items drawn at the end, each 0–1, higher is better."""
    verdict: Verdict
    reasons: list[str] = Field(default_factory=list)
    """Why the verdict is no better, with what would help."""
    retrained_from: EarlierVersion | None = None
    """Whose samples it was taught from, with what that one said of itself; None where samples were sent."""


class DefectTypeRecord(Schema):
    """One version of a defect type as the registry in storage keeps it."""

    format_version: FormatVersion
    tenant: str
    name: str
    version: int = Field(ge=1)
    description: str
    backbone: str
    """Name of the backbone that it was trained on and runs on."""
    backbone_digest: str
    adapter_sha256: str
    start: Start = "noise"
    exemplars_sha256: str | None = None
    """Of the real defects kept beside the adapter; None where there are none."""
    draws_masks: bool = False
    """Whether it has a mask distribution, so that a request needs no mask."""
    created_at: datetime | None = None
    job_id: JobId | None = None
    """The training that made it; None for what came otherwise."""
    card: DefectTypeCard | None = None
    """None for bundled types."""
    defaults: DefectTypeDefaults

    @property
    def reference(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"


class DefectType(Answer):
    """A version of a defect type as the API shows it."""

    name: str
    version: int
    description: str
    backbone: str
    backbone_digest: str
    builtin: bool
    start: Start = Field(
        description=(
            "What a drawing begins on: the photo in noise, or with a defect laid over it, sketched or a real one."
        )
    )
    draws_masks: bool = False
    """Whether a request may leave the mask out."""
    created_at: datetime | None = None
    card: DefectTypeCard | None = None
    """None for types that come with Flawsmith."""
    defaults: DefectTypeDefaults

    @property
    def reference(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"


class DefectTypeList(Answer):
    defect_types: list[DefectType]
