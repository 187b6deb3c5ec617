"""An opened file: what its header says, and how to read its pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from service.images.canonical import Pixels

SourceFormat = Literal["png", "jpeg", "tiff", "bmp", "webp"]


@dataclass
class Source:
    """A file whose header was read and found acceptable, before any pixel is decoded."""

    source_format: SourceFormat
    width: int
    height: int
    """Stored size, before the orientation is applied."""
    channels: int
    """1–4, after expansion."""
    bit_depth: Literal[8, 16]
    """After expansion."""
    lossy: bool
    read: Callable[[], Pixels]
    """Decodes: (height, width[, channels]) uint8 or uint16. May raise anything on corrupt data."""
    orientation: int = 1
    dpi: tuple[float, float] | None = None
    icc_profile: bytes | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def pixel_bytes(self) -> int:
        """Size of the decoded pixels."""
        return self.width * self.height * self.channels * self.bit_depth // 8
