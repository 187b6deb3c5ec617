"""Uploads and the canonical form of an image."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from flawsmith.contract.base import Answer, FormatVersion, Schema

PixelMode = Literal["grey", "grey_alpha", "rgb", "rgba"]


class ImageInfo(Schema):
    """What the canonical form of an image is: the upload decoded once, EXIF orientation applied."""

    width: int
    height: int
    mode: PixelMode
    bit_depth: Literal[8, 16]
    source_format: Literal["png", "jpeg", "tiff", "bmp", "webp"]
    lossy: bool
    """The source was compressed with loss."""
    has_icc_profile: bool = False
    dpi: tuple[float, float] | None = None
    pixels_sha256: str
    warnings: list[str] = Field(default_factory=list)


class Upload(Answer):
    """An image kept for later requests of the same tenant."""

    id: str
    """sha256 of the bytes sent: the same bytes give the same id."""
    size: int
    created_at: datetime
    """When these bytes were sent; anew when they are sent again after an hour or more."""
    image: ImageInfo


class UploadRecord(Schema):
    """How an upload is kept in storage, beside its canonical PNG."""

    format_version: FormatVersion
    tenant: str
    id: str
    size: int
    created_at: datetime
    image: ImageInfo
