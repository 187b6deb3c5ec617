"""Sets of samples as callers have them, turned into what a request sends: one ZIP, or upload ids."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from pydantic import JsonValue

from flawsmith.client.errors import InvalidParameterError
from flawsmith.client.images import ImageFile, upload_id
from flawsmith.client.zips import files_in, sent
from flawsmith.contract.samples import ANNOTATION_ENDINGS, IMAGE_ENDINGS
from flawsmith.contract.uploads import Upload

SampleSource: TypeAlias = "str | os.PathLike[str] | Sequence[tuple[Upload | str, Upload | str]]"
"""A folder, a ZIP, or pairs of uploads: image and mask."""
NormalSource: TypeAlias = "str | os.PathLike[str] | Sequence[Upload | str]"
"""A folder, a ZIP, or uploads of normal images."""


@dataclass(frozen=True)
class SampleSend:
    """What a request holds beside its parameters: files of a form, or ids of a JSON body."""

    files: dict[str, ImageFile] = field(default_factory=dict)
    ids: dict[str, JsonValue] = field(default_factory=dict)


@contextmanager
def opened(samples: SampleSource, normals: NormalSource | None) -> Iterator[SampleSend]:
    """Samples and normal images, ready to be sent for as long as the block runs.

    Folders are packed into temporary files: the images and annotations in them, by their names.

    Raises:
        InvalidParameterError: something cannot be read, a folder holds no image, or files and uploads are mixed.
    """
    if isinstance(samples, str | os.PathLike):
        if normals is not None and not isinstance(normals, str | os.PathLike):
            raise InvalidParameterError("samples are files and normals uploads; send both the same way")
        with ExitStack() as files:
            send = {"samples": files.enter_context(_archive(Path(samples)))}
            if normals is not None:
                send["normals"] = files.enter_context(_archive(Path(normals)))
            yield SampleSend(files=send)
        return
    if isinstance(normals, str | os.PathLike):
        raise InvalidParameterError("samples are uploads and normals files; send both the same way")
    ids: dict[str, JsonValue] = {
        "samples": [{"image": _id(image), "mask": _id(mask)} for image, mask in samples],
    }
    if normals is not None:
        ids["normals"] = [_id(image) for image in normals]
    yield SampleSend(ids=ids)


@contextmanager
def opened_hold_out(path: str | os.PathLike[str]) -> Iterator[SampleSend]:
    """A hold-out, ready to be sent for as long as the block runs; a folder is packed as `opened` does it.

    Raises:
        InvalidParameterError: it cannot be read, or the folder holds no image.
    """
    with _archive(Path(path)) as file:
        yield SampleSend(files={"hold_out": file})


def _id(upload: Upload | str) -> str:
    found = upload_id(upload)
    if found is None:
        raise InvalidParameterError(f"{upload!r} is no upload; give a folder, a ZIP, or pairs of uploads")
    return found


def _archive(path: Path) -> AbstractContextManager[ImageFile]:
    """A ZIP as it is, or one made of a folder."""
    return sent(path, f"{path.name or 'samples'}.zip", _files)


def _files(folder: Path) -> dict[str, Path]:
    """The images and annotations of ``folder``."""
    files = {
        path.relative_to(folder).as_posix(): path for path in files_in(folder, IMAGE_ENDINGS | ANNOTATION_ENDINGS)
    }
    if not any(path.suffix.lower() in IMAGE_ENDINGS for path in files.values()):
        raise InvalidParameterError(
            f"{folder} holds no image; a folder of samples has images/ and masks/, MVTec layout, or annotations"
        )
    return files
