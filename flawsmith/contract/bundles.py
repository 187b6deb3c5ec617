"""Bundles: one version of a defect type as one file, to be carried from one service to another."""

from __future__ import annotations

import json
from typing import Annotated, Final, Literal, Self

from pydantic import AwareDatetime, Field, StringConstraints, ValidationError, model_validator

from flawsmith.contract.base import Answer, FormatVersion, Schema, UnknownFormatVersionError, check_format_version
from flawsmith.contract.defect_types import DefectType, DefectTypeCard, DefectTypeDefaults, Start
from flawsmith.contract.ids import DefectTypeName

MANIFEST_FILE: Final = "manifest.json"
ADAPTER_FILE: Final = "adapter.safetensors"
EXEMPLARS_FILE: Final = "exemplars.safetensors"
MAX_VERSION = 999_999_999

BundleMember = Literal["adapter.safetensors", "exemplars.safetensors"]
Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]


class BundleError(ValueError):
    """What was given is no bundle, or none that can be used; the message says why, and what would help."""


class BundledFile(Schema):
    """One file in a bundle."""

    sha256: Digest
    size: int = Field(ge=1)
    """Bytes."""


class BundleManifest(Schema):
    """``manifest.json``: what a bundle holds."""

    format_version: FormatVersion
    name: DefectTypeName
    version: int = Field(ge=1, le=MAX_VERSION)
    description: Annotated[str, Field(max_length=500)] = ""
    backbone: Annotated[str, Field(min_length=1, max_length=200)]
    """Name of the backbone that it was trained on and runs on."""
    backbone_digest: Annotated[str, Field(min_length=1, max_length=200)]
    start: Start
    """What its drawings begin on where it was exported."""
    draws_masks: bool = False
    created_at: AwareDatetime | None = None
    """When it was taught."""
    card: DefectTypeCard | None = None
    defaults: DefectTypeDefaults
    files: dict[BundleMember, BundledFile]
    """All other files of the bundle."""
    warnings: list[str] = Field(default_factory=list)
    """What whoever imports it should know."""

    @property
    def reference(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    @model_validator(mode="after")
    def _check_adapter(self) -> Self:
        if ADAPTER_FILE not in self.files:
            raise ValueError(f"files lacks {ADAPTER_FILE}")
        return self


class ImportedDefectType(Answer):
    """Answer to an import."""

    defect_type: DefectType
    created: bool
    """False if this version was there already, with the same content."""
    warnings: list[str]


def parse_manifest(data: bytes) -> BundleManifest:
    """The manifest of a bundle; a newer format is refused before anything else of it is looked at.

    Raises:
        BundleError: it is none that this version reads.
    """
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{MANIFEST_FILE} is not JSON") from error
    version = values.get("format_version") if isinstance(values, dict) else None
    if type(version) is not int:
        raise BundleError(f"{MANIFEST_FILE} names no format_version")
    try:
        check_format_version(version)
        return BundleManifest.model_validate_json(data)
    except UnknownFormatVersionError as error:
        raise BundleError(f"{MANIFEST_FILE}: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        at = ".".join(str(step) for step in first["loc"]) or "the whole"
        raise BundleError(f"{MANIFEST_FILE}: {at[:80]}: {first['msg']}") from error
