"""Requests for data sets: normal images as files or uploads, what lies beside them, and rows of what came."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypedDict, TypeVar
from urllib.parse import quote

import httpx
from pydantic import JsonValue, ValidationError

from flawsmith.client.calls import Call, file_of, model_of, new_key, texts_of
from flawsmith.client.errors import InvalidParameterError
from flawsmith.client.images import ImageFile, upload_id
from flawsmith.client.sample_sets import SampleSend
from flawsmith.client.zips import files_in, sent
from flawsmith.contract.datasets import DatasetPlan
from flawsmith.contract.jobs import Job
from flawsmith.contract.reports import ReportFormat
from flawsmith.contract.rows import DatasetRowPage
from flawsmith.contract.samples import IMAGE_ENDINGS
from flawsmith.contract.specs import (
    Align,
    BitDepth,
    DatasetEntry,
    DatasetFormat,
    DatasetLock,
    DatasetNormal,
    DatasetParameters,
    DatasetPrefix,
    DatasetReference,
    DatasetSplit,
    Frame,
)
from flawsmith.contract.uploads import Upload

T = TypeVar("T")

DatasetNormals: TypeAlias = "str | os.PathLike[str] | Sequence[Upload | str | DatasetNormal] | DatasetPrefix"
"""A folder, a ZIP, uploads of normal images, alone or with what belongs to each, or where they lie in the
service's storage."""
DatasetEntries: TypeAlias = "Sequence[DatasetEntry | Mapping[str, Any]]"
FilePath: TypeAlias = "str | os.PathLike[str]"

DRAWN = ("masks", "regions", "excludes")
"""What may lie beside normal images and says where defects may appear."""

DATASET_TIMEOUT_S = 3600.0
"""For an answer to a data set: thousands of images are decoded before there is one, and all items are gone through
before its archive or its report begins."""


class DatasetOptions(TypedDict, total=False):
    """What may stand beside normal images and entries; see `DatasetParameters` for their meaning."""

    controls: int
    include_normals: bool
    seed: int | None
    min_quality: float | None
    split: DatasetSplit | Mapping[str, Any]
    formats: Sequence[DatasetFormat]
    bit_depth: BitDepth | Literal[8]
    frame: Frame
    crop_size: int | None
    pixel_size_um: float | None
    lock: DatasetLock | Mapping[str, Any] | None
    evaluations: Sequence[str]
    metadata: dict[str, JsonValue]
    align: Align | None
    max_rotation_deg: float | None


@dataclass(frozen=True)
class DatasetSources:
    """Normal images, and the files beside them, which go by the name of their image without its ending."""

    normals: DatasetNormals
    """Folders of masks, regions and excludes may lie in theirs, and are left out."""
    masks: FilePath | None = None
    """Folder or ZIP."""
    regions: FilePath | None = None
    """Folder or ZIP, or one image for all."""
    excludes: FilePath | None = None
    """The same."""
    normals_metadata: FilePath | None = None
    """CSV with a header, or JSON lines; ``file`` names the image."""
    reference: FilePath | DatasetReference | None = None
    """A photo on which what masks, regions and excludes give as one image is drawn; of uploads, one with what is
    drawn on it."""

    def beside(self) -> dict[str, Path]:
        """What lies beside the normal images, by its name in a form."""
        named = {
            "masks": self.masks,
            "regions": self.regions,
            "excludes": self.excludes,
            "normals_metadata": self.normals_metadata,
            "reference": None if isinstance(self.reference, DatasetReference) else self.reference,
        }
        return {name: Path(path) for name, path in named.items() if path is not None}


@contextmanager
def opened(sources: DatasetSources) -> Iterator[SampleSend]:
    """Everything that is sent beside the parameters, for as long as the block runs; folders are packed.

    Raises:
        InvalidParameterError: something cannot be read, a folder holds no image, or files lie beside uploads.
    """
    normals, beside = sources.normals, sources.beside()
    if isinstance(normals, DatasetPrefix):
        with ExitStack() as files:
            yield SampleSend(
                files={name: files.enter_context(_file(path, name)) for name, path in beside.items()},
                ids={"normals": normals.model_dump(mode="json")},
            )
        return
    if not isinstance(normals, str | os.PathLike):
        if beside:
            raise InvalidParameterError(
                f"{' and '.join(beside)} are files and normals uploads; name mask, region, exclude and metadata "
                "of each upload in a DatasetNormal, and a reference with what is drawn on it in a DatasetReference"
            )
        ids: dict[str, JsonValue] = {"normals": [_normal(one) for one in normals]}
        if isinstance(sources.reference, DatasetReference):
            ids["reference"] = sources.reference.model_dump(mode="json", exclude_none=True)
        yield SampleSend(ids=ids)
        return
    if isinstance(sources.reference, DatasetReference):
        raise InvalidParameterError("reference names uploads and normals are files; give its file")
    with ExitStack() as files:
        drawn = [path for name, path in beside.items() if name in DRAWN]
        photos = files.enter_context(_file(Path(normals), "normals", drawn))
        others = {name: files.enter_context(_file(path, name)) for name, path in beside.items()}
        yield SampleSend(files={"normals": photos, **others})


def images_in(folder: Path) -> dict[str, Path]:
    """The images in a folder by their names in a ZIP: paths from the folder, with letters composed (Unicode NFC),
    so that a photo and its mask are called the same wherever they were written."""
    return {
        unicodedata.normalize("NFC", path.relative_to(folder).as_posix()): path
        for path in files_in(folder, IMAGE_ENDINGS)
    }


def but_for(images: Mapping[str, Path], folder: Path, drawn: Collection[Path]) -> dict[str, Path]:
    """The images of a folder but for those in folders of it that hold what is drawn, which are no photos."""
    root = folder.resolve()
    places = [place for place in (path.resolve() for path in drawn if path.is_dir()) if root in place.parents]
    return {
        name: path
        for name, path in images.items()
        if not places or not any(path.parent.resolve().is_relative_to(place) for place in places)
    }


def create(
    send: SampleSend, entries: DatasetEntries, options: DatasetOptions, idempotency_key: str | None
) -> Call[Job]:
    """``POST /v1/datasets``, under a key of its own if none is given.

    Raises:
        InvalidParameterError: a parameter is out of range.
    """
    call = _dataset(send, entries, options, model_of(Job), dry_run=False)
    return replace(call, idempotency_key=idempotency_key or new_key())


def plan(send: SampleSend, entries: DatasetEntries, options: DatasetOptions) -> Call[DatasetPlan]:
    """``POST /v1/datasets`` as a dry run.

    Raises:
        InvalidParameterError: a parameter is out of range.
    """
    return _dataset(send, entries, options, model_of(DatasetPlan), dry_run=True)


def rows(job_id: str, cursor: str | None, limit: int | None) -> Call[DatasetRowPage]:
    """``GET /v1/jobs/{id}/rows``: a page; as long as the service likes it if ``limit`` is None."""
    params: dict[str, str | int] = {} if limit is None else {"limit": limit}
    if cursor is not None:
        params["cursor"] = cursor
    return Call(
        "GET", f"/v1/jobs/{quote(job_id, safe='')}/rows", model_of(DatasetRowPage), params, repeatable=True
    )


def report(job_id: str, wanted: ReportFormat) -> Call[None]:
    """``GET /v1/jobs/{id}/report``: a page, or JSON."""
    return replace(file_of(job_id, "report"), params={"format": wanted}, timeout_s=DATASET_TIMEOUT_S)


def report_format(path: Path) -> ReportFormat:
    """What a file of this name is to hold: JSON if it says so, else the page."""
    return "json" if path.suffix.lower() == ".json" else "html"


def archive(job_id: str, formats: Sequence[DatasetFormat] | None) -> Call[None]:
    """``GET /v1/jobs/{id}/archive`` of some formats, else of all that the data set has."""
    call = replace(file_of(job_id, "archive"), timeout_s=DATASET_TIMEOUT_S)
    return replace(call, params={"format": list(formats)}) if formats else call


def sent_values(parameters: DatasetParameters) -> dict[str, JsonValue]:
    """What a request says of ``parameters``: what was set, and not its defaults."""
    return parameters.model_dump(mode="json", exclude_unset=True, exclude_none=True)


def _dataset(
    send: SampleSend,
    entries: DatasetEntries,
    options: DatasetOptions,
    read: Callable[[httpx.Response], T],
    *,
    dry_run: bool,
) -> Call[T]:
    given = {name: value for name, value in options.items() if value is not None}
    try:
        parameters = DatasetParameters.model_validate({"entries": list(entries), **given})
    except ValidationError as error:
        raise InvalidParameterError.from_validation(error) from error
    values = sent_values(parameters)
    if dry_run:
        values["dry_run"] = True
    call: Call[T] = Call("POST", "/v1/datasets", read, repeatable=True, timeout_s=DATASET_TIMEOUT_S)
    values = {**send.ids, **values}
    return replace(call, form=texts_of(values), files=send.files) if send.files else replace(call, json=values)


def _normal(normal: Upload | str | DatasetNormal) -> JsonValue:
    if isinstance(normal, DatasetNormal):
        return normal.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    found = upload_id(normal)
    if found is None:
        raise InvalidParameterError(f"{normal!r} is no upload; give a folder, a ZIP, or uploads")
    return found


def _file(path: Path, name: str, drawn: Collection[Path] = ()) -> AbstractContextManager[ImageFile]:
    """A file as it is, or the images of a folder as a ZIP, but for those of `but_for`."""

    def images(folder: Path) -> dict[str, Path]:
        found = but_for(images_in(folder), folder, drawn)
        if not found:
            raise InvalidParameterError(f"{name}: {folder} holds no image ({', '.join(sorted(IMAGE_ENDINGS))})")
        return found

    return sent(path, f"{name}.zip", images, name)
