"""A data set's request as it was sent: a form with ZIPs, or JSON with upload ids or a prefix of storage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from pydantic import JsonValue

from flawsmith.contract.specs import (
    DatasetForm,
    DatasetNormal,
    DatasetParameters,
    DatasetPrefix,
    DatasetReference,
    DatasetRequest,
)
from flawsmith.contract.uploads import UploadRecord
from service import uploads
from service.body import MEGABYTE, read
from service.datasets.refusals import unfit
from service.fields import from_json, from_texts, missing, said
from service.forms import read_form
from service.normals.alignment import ALIGN, REFERENCE, SentReference
from service.normals.bounds import BOUNDS, FIELDS, Bound, SentBound
from service.normals.imports import Imports, find_imports
from service.normals.metadata import FIELD as METADATA
from service.normals.reading import NORMALS, ZIPS, SentNormal
from service.resolution import invalid
from service.resources import Resources
from service.samples.errors import SampleError
from service.samples.intake import MaskFile, Offer
from service.store.storage import Storage

FILES = (*ZIPS, METADATA, REFERENCE)
MAX_FULL_FILES = 2
"""As many of the largest files fit in a form; masks are small."""
MAX_TEXT_BYTES = 256 * 1024
"""Of one text part: entries, or a lock, may be long."""
MAX_JSON_BYTES = 64 * MEGABYTE
"""Of a JSON request: ten thousand normal images, each with some metadata."""
_READERS = 8
"""Requests to storage at once."""


@dataclass(frozen=True)
class Sent:
    """A request as it was read: what is wished, and normal images as ZIPs on disk, uploads, or in storage."""

    parameters: DatasetParameters
    payload: dict[str, JsonValue]
    """What tells this request from another."""
    files: Mapping[str, Path] = field(default_factory=dict)
    uploaded: Sequence[SentNormal] = ()
    prefix: str | None = None
    imports: Imports | None = None
    """What lies there."""
    has_masks: bool = False
    reference: SentReference | None = None
    """Of a JSON request; that of a form is among its files."""


async def sent_as_form(request: Request, boundary: str | None, folder: Path, tenant: str, has: Resources) -> Sent:
    """A request that is a form: its ZIPs go to the folder."""
    form = await read_form(
        request,
        boundary,
        folder,
        files=FILES,
        texts=DatasetForm.model_fields,
        max_file_bytes=has.settings.max_dataset_bytes,
        max_full_files=MAX_FULL_FILES,
        max_text_bytes=MAX_TEXT_BYTES,
    )
    parameters = from_texts(DatasetForm, form.texts)
    if NORMALS not in form.files and parameters.normals is None:
        raise missing(DatasetRequest, NORMALS)
    _check_alignment(parameters, has_reference=REFERENCE in form.files)
    digests: dict[str, JsonValue] = {name: file.sha256 for name, file in form.files.items()}
    paths = {name: file.path for name, file in form.files.items()}
    sent = Sent(parameters, digests | said(parameters), paths, has_masks=FIELDS["mask"] in paths)
    return sent if parameters.normals is None else await _with_imports(sent, parameters.normals, tenant, has)


async def sent_as_json(request: Request, tenant: str, has: Resources) -> Sent:
    """A request that is JSON: its uploads are looked up later; see `with_uploads`."""
    parameters = await run_in_threadpool(from_json, DatasetRequest, await read(request, MAX_JSON_BYTES))
    _check_alignment(parameters, has_reference=parameters.reference is not None)
    found = Sent(parameters, said(parameters))
    if not isinstance(parameters.normals, DatasetPrefix):
        return found
    return await _with_imports(found, parameters.normals, tenant, has)


def with_uploads(sent: Sent, tenant: str, has: Resources) -> Sent:
    """The request with the uploads that it names, which are fetched later.

    Raises:
        ProblemError: one is not there.
    """
    parameters = sent.parameters
    if not isinstance(parameters, DatasetRequest):
        return sent
    listed = [] if isinstance(parameters.normals, DatasetPrefix) else parameters.normals
    normals = [DatasetNormal(image=one) if isinstance(one, str) else one for one in listed]
    named: dict[str, str] = {}
    for number, (said_as, one) in enumerate(zip(listed, normals, strict=True)):
        named[f"normals.{number}" if isinstance(said_as, str) else f"normals.{number}.image"] = one.image
        named |= {f"normals.{number}.{bound}": getattr(one, bound) for bound in BOUNDS if getattr(one, bound)}
    if (drawn_on := parameters.reference) is not None:
        named[f"{REFERENCE}.image"] = drawn_on.image
        named |= {f"{REFERENCE}.{bound}": getattr(drawn_on, bound) for bound in BOUNDS if getattr(drawn_on, bound)}
    records = _found(has.storage, tenant, named)
    uploaded = [_uploaded(has.storage, tenant, records, number, one) for number, one in enumerate(normals)]
    reference = (
        None if drawn_on is None else _uploaded_reference(has.storage, tenant, records, parameters, drawn_on)
    )
    has_masks = any(one.mask for one in normals) or (drawn_on is not None and drawn_on.mask is not None)
    return replace(sent, uploaded=uploaded, has_masks=has_masks, reference=reference)


def _check_alignment(parameters: DatasetParameters, *, has_reference: bool) -> None:
    """Refuse a reference without a word on how normal images are laid on it, and that word without a reference."""
    if parameters.align is None and has_reference:
        raise invalid(
            ALIGN,
            "align is missing; say how normal images are laid on the reference: none, as they lie, shift, or "
            "rigid, turned and shifted",
        )
    if parameters.align is not None and not has_reference:
        raise invalid(
            REFERENCE,
            f"reference is missing, and align is {parameters.align}; send a photo with what is drawn on it, or "
            "leave align out",
        )
    if parameters.max_rotation_deg is not None and parameters.align != "rigid":
        raise invalid(
            "max_rotation_deg",
            f"max_rotation_deg is of align: rigid, and align is {parameters.align or 'not said'}; leave it out, "
            "or say rigid",
        )


async def _with_imports(sent: Sent, normals: DatasetPrefix, tenant: str, has: Resources) -> Sent:
    """The request with what lies where it says; what changed there makes it another one.

    Raises:
        ProblemError: nothing of use lies there, or too much.
    """
    try:
        found = await run_in_threadpool(
            find_imports, has.storage, tenant, normals.prefix, has.settings.dataset_limits
        )
    except SampleError as error:
        raise unfit(error) from error
    return replace(sent, payload=sent.payload | {"imports": found.digest}, prefix=normals.prefix, imports=found)


def _found(storage: Storage, tenant: str, named: Mapping[str, str]) -> dict[str, UploadRecord]:
    """The uploads by their ids.

    Args:
        named: ids by the fields that name them.

    Raises:
        ProblemError: one is not there.
    """
    fields: dict[str, str] = {}
    for at, upload_id in named.items():
        fields.setdefault(upload_id, at)
    with ThreadPoolExecutor(_READERS) as readers:
        found = readers.map(lambda one: uploads.named(storage, tenant, *one), fields.items())
        return {record.id: record for record in found}


def _fetching(
    storage: Storage, tenant: str, records: Mapping[str, UploadRecord], upload_id: str, of: str
) -> Callable[[Path], MaskFile]:
    """Brings an upload to a path as a mask."""

    def fetch(path: Path) -> MaskFile:
        uploads.fetch(storage, tenant, records[upload_id], path, of)
        return MaskFile(of, path, records[upload_id].image.lossy)

    return fetch


def _uploaded_reference(
    storage: Storage,
    tenant: str,
    records: Mapping[str, UploadRecord],
    parameters: DatasetParameters,
    one: DatasetReference,
) -> SentReference:
    """The reference of a JSON request, with what is drawn on it."""
    at = f"{REFERENCE}.image"
    return SentReference(
        at,
        _offering(storage, tenant, records[one.image], REFERENCE, at),
        _bounds(storage, tenant, records, REFERENCE, one),
        parameters.align or "none",
        parameters.max_rotation_deg or 180.0,
    )


def _uploaded(
    storage: Storage, tenant: str, records: Mapping[str, UploadRecord], number: int, one: DatasetNormal
) -> SentNormal:
    """A normal image of a JSON request, with what belongs to it."""
    at, name = f"normals.{number}", one.name or one.image
    return SentNormal(
        name,
        _offering(storage, tenant, records[one.image], name, at),
        bounds=_bounds(storage, tenant, records, at, one),
        metadata=one.metadata,
        metadata_field=f"{at}.metadata",
    )


def _offering(
    storage: Storage, tenant: str, record: UploadRecord, source: str, at: str
) -> Callable[[Path], Offer]:
    """Brings an uploaded image to a path."""

    def fetch(path: Path) -> Offer:
        uploads.fetch(storage, tenant, record, path, at)
        return Offer(source, at, path, record.id.removeprefix("sha256:"), info=record.image)

    return fetch


def _bounds(
    storage: Storage,
    tenant: str,
    records: Mapping[str, UploadRecord],
    at: str,
    one: DatasetNormal | DatasetReference,
) -> dict[Bound, SentBound]:
    """The uploaded files beside an image that the request names ``at``."""
    found: dict[Bound, SentBound] = {}
    for bound in BOUNDS:
        if (upload_id := getattr(one, bound)) is not None:
            of = f"{at}.{bound}"
            found[bound] = SentBound(of, _fetching(storage, tenant, records, upload_id, of))
    return found
