"""What can go wrong at the door."""

from __future__ import annotations

import errno
from typing import Literal

Field = Literal["image", "mask"]

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system says where a disk is full, or what one may take of it."""


class ImageError(ValueError):
    """A file cannot be used. ``detail`` says what is wrong and what to do about it.

    ``field`` is the file at fault where more than one was sent; functions that see a single file leave it None.
    """

    def __init__(self, detail: str, field: Field | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field: Field | None = field


class EmptyMaskError(ImageError):
    """Every pixel of a mask is black: where there may be no defect, it says so."""


class DecoderLostError(ImageError):
    """A file cannot be used, and its decoding process ended over it, whatever else it was to decode."""


class DoorBusyError(Exception):
    """The door has no room for another decode now; try again after ``retry_after`` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many images are being decoded; try again in {retry_after} s")
        self.retry_after = retry_after


class DoorError(RuntimeError):
    """The decoding process failed by a fault of ours, not of the file."""
