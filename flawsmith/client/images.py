"""Images as callers have them, turned into the bytes of a file."""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

from PIL import Image

from flawsmith.client.errors import InvalidParameterError
from flawsmith.contract.uploads import Upload

ImageSource: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image"
"""A path, the bytes of an image file, or a PIL image."""

_UPLOAD_ID = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class ImageFile:
    """A file to send."""

    name: str
    data: bytes | BinaryIO


def upload_id(source: object) -> str | None:
    """The upload id that ``source`` is (as `Upload` or as text), or None if it is an image."""
    if isinstance(source, Upload):
        return source.id
    if isinstance(source, str) and _UPLOAD_ID.fullmatch(source):
        return source
    return None


def image_file(source: ImageSource, name: str = "image") -> ImageFile:
    """Read or encode ``source``; a PIL image becomes a PNG with its bit depth kept.

    Raises:
        InvalidParameterError: the file cannot be read, or PNG cannot hold the PIL image's mode.
    """
    if isinstance(source, bytes):
        return ImageFile(name, source)
    if isinstance(source, Image.Image):
        return ImageFile(f"{name}.png", _png(source))
    path = Path(source)
    try:
        return ImageFile(path.name, path.read_bytes())
    except OSError as error:
        raise InvalidParameterError(f"{path} cannot be read: {error.strerror or error}") from error


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    try:
        image.save(buffer, format="PNG", icc_profile=image.info.get("icc_profile"))
    except OSError as error:
        raise InvalidParameterError(
            f"a PIL image of mode {image.mode} cannot be sent ({error}); convert it to L, I;16, RGB or RGBA"
        ) from error
    return buffer.getvalue()
