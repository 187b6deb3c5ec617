"""Defect types: what can be drawn."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from flawsmith.contract.base import Answer, FormatVersion, Schema

Start = Literal["noise", "sketch"]
"""What the inside of a drawing begins on."""


class DefectTypeDefaults(Schema):
    """What a request that names nothing else gets."""

    severity: float = Field(gt=0, le=1)
    guidance: float = Field(ge=0)
    steps: int = Field(ge=4)
    seed_share: float = Field(ge=0, le=1)
    """ρ: the seed's share of the start noise."""
    min_quality: float = Field(ge=0, le=1)
    part: str


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
    defaults: DefectTypeDefaults


class DefectType(Answer):
    """A version of a defect type as the API shows it."""

    name: str
    version: int
    description: str
    backbone: str
    backbone_digest: str
    builtin: bool
    start: Start = Field(
        description="What a drawing begins on: the photo in noise, or with a sketch of the defect laid over it."
    )
    defaults: DefectTypeDefaults


class DefectTypeList(Answer):
    defect_types: list[DefectType]
