"""How large a file may be, in bytes and in pixels."""

from __future__ import annotations

from dataclasses import dataclass

from service.images.errors import ImageError


@dataclass(frozen=True)
class Limits:
    """Bounds that are checked before anything is decoded."""

    max_side: int = 16_384
    """Longest side in pixels."""
    max_pixels: int = 64_000_000
    max_bytes: int = 128_000_000
    """Largest file."""

    def check_bytes(self, size: int) -> None:
        """Raise `ImageError` if a file of ``size`` bytes is empty or too large."""
        if size == 0:
            raise ImageError("The file is empty. Send a PNG, JPEG, TIFF, BMP or WebP file.")
        if size > self.max_bytes:
            raise ImageError(
                f"The file has {size:,} bytes; at most {self.max_bytes:,} are accepted. "
                "Save it with compression or crop it to the part."
            )

    def check_size(self, width: int, height: int) -> None:
        """Raise `ImageError` if an image of ``width`` by ``height`` pixels is empty or too large."""
        if width < 1 or height < 1:
            raise ImageError(f"The file's header says {width}×{height} pixels. Save it again and send that.")
        if max(width, height) > self.max_side:
            raise ImageError(
                f"The image is {width}×{height} pixels; at most {self.max_side:,} a side are accepted. "
                "Crop it to the part or scale it down."
            )
        if width * height > self.max_pixels:
            raise ImageError(
                f"The image is {width}×{height}, {width * height:,} pixels; at most {self.max_pixels:,} are "
                "accepted. Crop it to the part or scale it down."
            )
