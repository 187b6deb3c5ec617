"""``POST /v1/datasets``: many normal images × defect types → a labelled data set, planned at the door."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import JsonValue

from flawsmith.contract import problems
from flawsmith.contract.augmentations import MAX_SEED
from flawsmith.contract.base import FORMAT_VERSION, now
from flawsmith.contract.datasets import (
    MAX_LEFT_OUT,
    AlignmentState,
    DatasetBinPlan,
    DatasetEntryPlan,
    DatasetPlan,
    DatasetSource,
    DatasetState,
    NormalAlignment,
    PlannedItem,
    ResolvedDataset,
    ResolvedEntry,
)
from flawsmith.contract.ids import new_job_id
from flawsmith.contract.jobs import Job
from flawsmith.contract.manifests import DatasetManifest
from flawsmith.contract.specs import (
    CROP_SIZE,
    MAX_ITEMS,
    SPLITS,
    DatasetForm,
    DatasetNormal,
    DatasetParameters,
    DatasetPrefix,
    DatasetReference,
    DatasetRequest,
)
from flawsmith.contract.uploads import UploadRecord
from service import idempotency, uploads
from service.accepting import accept
from service.alignment.registration import limit
from service.body import MEGABYTE, media_type, read, unsupported
from service.entries import Entries, check_pairs, resolve_entries, too_many
from service.fields import from_json, from_texts, missing, no_query, said
from service.forms import read_form
from service.images.folders import private_folder
from service.normals.alignment import ALIGN, REFERENCE, SentReference
from service.normals.bounds import BOUNDS, FIELDS, Bound, SentBound
from service.normals.filing import GROUP_BY, filed, files_of
from service.normals.imports import Imports, find_imports
from service.normals.metadata import FIELD as METADATA
from service.normals.reading import (
    NORMALS,
    ZIPS,
    NormalImage,
    NormalSet,
    SentNormal,
    read_imported,
    read_uploads,
    read_zips,
)
from service.openapi import Responses, dataset_body, location, problem
from service.planning import Series, plan, series, usable
from service.problems import ProblemError
from service.resolution import invalid
from service.resources import Has, Quota, Resources, Tenant
from service.samples.errors import SampleError
from service.samples.intake import MaskFile, Offer
from service.samples.layouts import listed
from service.sizes import check_bins
from service.store import keys
from service.store.plans import write_plan
from service.store.storage import Storage
from service.telemetry import context, traces
from service.verdicts import find_verdicts

router = APIRouter(prefix="/v1/datasets", tags=["data sets"], dependencies=[Depends(no_query)])

FILES = (*ZIPS, METADATA, REFERENCE)
MAX_FULL_FILES = 2
"""As many of the largest files fit in a form; masks are small."""
MAX_TEXT_BYTES = 256 * 1024
"""Of one text part: entries, or a lock, may be long."""
MAX_JSON_BYTES = 64 * MEGABYTE
"""Of a JSON request: ten thousand normal images, each with some metadata."""
MAX_LOOKED_FOR = 2000
"""Items that a dry run looks for one by one."""
_READERS = 8
"""Requests to storage at once."""

ANSWERS: Responses = {
    200: {"model": DatasetPlan, "description": "Answer to a dry run: nothing was stored or queued."},
    202: {"model": Job, "description": "The data set was accepted.", "headers": location("The job.")},
}


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


@dataclass(frozen=True)
class Planned:
    """A data set before anything of it is made."""

    resolved: ResolvedDataset
    entries: Entries
    found: NormalSet
    sources: list[DatasetSource]
    closed: frozenset[int]
    """Numbers of sources in which no mask can be drawn."""
    state: DatasetState
    warnings: list[str]

    def rows(self) -> Iterable[PlannedItem]:
        """Its items, made anew each time."""
        return plan(self.resolved, self.sources, self.entries.types, self.closed)


@router.post(
    "",
    operation_id="createDataset",
    summary="Make a data set",
    status_code=202,
    response_model=None,
    openapi_extra={"requestBody": dataset_body(), "parameters": [idempotency.PARAMETER]},
    responses=ANSWERS | problem(400, 408, 409, 413, 415),
)
async def create_dataset(request: Request, tenant: Tenant, quota: Quota, has: Has) -> Response:
    """Draw defects of several types on many normal images, with labels, as a data set.

    Send the normal images as one ZIP, or upload them first and send their ids as JSON, or name a folder of the
    service's storage in which they lie. Each entry says what is drawn, and how often. The same request with the
    same `seed` gives the same items, and items that were made before are not made again; what is added changes
    none that was there. Send the `lock` that a build answers with the next one, so that types keep their versions
    and classes their numbers.

    A normal image that cannot be read, or that is there twice, is left out, and the answer says so. What cannot be
    made otherwise is refused before anything is made.
    """
    with private_folder(has.settings.spool_dir) as folder:
        kind, arguments = media_type(request)
        if kind == "multipart/form-data":
            sent = await _read_form(request, arguments.get("boundary"), folder, tenant, has)
        elif kind == "application/json":
            sent = await _read_json(request, tenant, has)
        else:
            raise unsupported(request, "multipart/form-data or application/json")
        entries = await run_in_threadpool(resolve_entries, has, tenant, sent.parameters)
        _check_masks(sent)
        async with idempotency.once(request, tenant, has, sent.payload) as attempt:
            if attempt.replay is not None:
                return attempt.replay
            verdicts = await run_in_threadpool(
                find_verdicts, has, tenant, sent.parameters.evaluations, entries.types
            )
            async with has.turn():
                found = await _admit(has, sent, folder)
                planned = await run_in_threadpool(_planned, sent, entries, found)
                if sent.parameters.dry_run:
                    answer = await run_in_threadpool(_answered, has, tenant, planned)
                    return await attempt.keep(200, answer.model_dump_json().encode())
                files = await run_in_threadpool(_files, planned, folder)
                manifest = DatasetManifest(
                    format_version=FORMAT_VERSION,
                    tenant=tenant,
                    job_id=new_job_id(),
                    created_at=now(),
                    request_id=context.request_id(),
                    traceparent=traces.traceparent(),
                    dataset=planned.resolved,
                    state=planned.state,
                    verdicts=verdicts,
                    shard_size=has.settings.shard_size,
                    idempotency=attempt.record,
                    warnings=planned.warnings,
                )
                return await accept(has, manifest, files, quota, attempt)


async def _read_form(request: Request, boundary: str | None, folder: Path, tenant: str, has: Resources) -> Sent:
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


async def _read_json(request: Request, tenant: str, has: Resources) -> Sent:
    parameters = await run_in_threadpool(from_json, DatasetRequest, await read(request, MAX_JSON_BYTES))
    _check_alignment(parameters, has_reference=parameters.reference is not None)
    prefix = parameters.normals if isinstance(parameters.normals, DatasetPrefix) else None
    listed = [] if isinstance(parameters.normals, DatasetPrefix) else parameters.normals
    normals = [DatasetNormal(image=one) if isinstance(one, str) else one for one in listed]
    named: dict[str, str] = {}
    for number, (sent, one) in enumerate(zip(listed, normals, strict=True)):
        named[f"normals.{number}" if isinstance(sent, str) else f"normals.{number}.image"] = one.image
        named |= {f"normals.{number}.{bound}": getattr(one, bound) for bound in BOUNDS if getattr(one, bound)}
    if (drawn_on := parameters.reference) is not None:
        named[f"{REFERENCE}.image"] = drawn_on.image
        named |= {f"{REFERENCE}.{bound}": getattr(drawn_on, bound) for bound in BOUNDS if getattr(drawn_on, bound)}
    records = await run_in_threadpool(_found, has.storage, tenant, named)
    uploaded = [_uploaded(has.storage, tenant, records, number, one) for number, one in enumerate(normals)]
    reference = (
        None if drawn_on is None else _uploaded_reference(has.storage, tenant, records, parameters, drawn_on)
    )
    has_masks = any(one.mask for one in normals) or (drawn_on is not None and drawn_on.mask is not None)
    found = Sent(parameters, said(parameters), uploaded=uploaded, has_masks=has_masks, reference=reference)
    return found if prefix is None else await _with_imports(found, prefix, tenant, has)


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
        raise _unfit(error) from error
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


def _check_masks(sent: Sent) -> None:
    """Refuse an entry whose masks are given where none was sent."""
    for number, entry in enumerate(sent.parameters.entries):
        if entry.masks == "given" and not sent.has_masks:
            raise _without_masks(number, "no normal image came with a mask")


def _without_masks(number: int, why: str) -> ProblemError:
    at = f"entries.{number}.masks"
    return ProblemError(
        problems.INVALID_MASK,
        f"{at} is given, and {why}; send masks, in a form as the ZIP masks, in JSON as mask of each normal "
        "image, or leave masks out so that they are drawn",
        field=at,
    )


async def _admit(has: Resources, sent: Sent, folder: Path) -> NormalSet:
    """Read the normal images, and what belongs to them.

    Raises:
        ProblemError: no data set can be made of them.
    """
    target, limits = folder / "set", has.settings.dataset_limits
    laid = sent.parameters.align, sent.parameters.max_rotation_deg
    target.mkdir()
    try:
        if sent.imports is not None:
            imported = await run_in_threadpool(sent.imports.sent, None if METADATA in sent.files else folder)
            found = await read_imported(imported, sent.files, target, has.door, limits, *laid, sent.reference)
            return replace(found, warnings=[*sent.imports.notes, *found.warnings])
        if sent.files:
            return await read_zips(sent.files, target, has.door, limits, *laid)
        return await read_uploads(sent.uploaded, target, has.door, limits, sent.reference)
    except SampleError as error:
        raise _unfit(error) from error


def _unfit(error: SampleError) -> ProblemError:
    first, last = error.field.partition(".")[0], error.field.rpartition(".")[2]
    if error.field == GROUP_BY:
        kind = problems.INVALID_REQUEST
    elif first in FIELDS.values() or last in BOUNDS:
        kind = problems.INVALID_MASK
    elif first == REFERENCE:
        kind = problems.INVALID_IMAGE
    else:
        kind = problems.INVALID_NORMALS
    return ProblemError(kind, error.detail, field=error.field)


def _planned(sent: Sent, entries: Entries, found: NormalSet) -> Planned:
    """What is made of the normal images.

    Raises:
        ProblemError: an entry can be drawn on none of them, there are too many items or entries, or groups are not
            known.
    """
    parameters = sent.parameters
    try:
        sources = filed(found.images, parameters)
    except SampleError as error:
        raise _unfit(error) from error
    check_pairs(entries.entries, len(sources))
    closed = frozenset(number for number, one in enumerate(found.images) if not one.has_room)
    warnings = [*found.warnings, *_check_usable(sent, entries, sources, closed)]
    seed = parameters.seed if parameters.seed is not None else secrets.randbelow(MAX_SEED + 1)
    spread = series(seed, entries.entries, parameters.controls, sources, closed)
    normals = len(sources) if parameters.include_normals else 0
    items = sum(one.items for one in spread) + normals
    if items > MAX_ITEMS:
        raise too_many(items, len(sources))
    resolved = ResolvedDataset(
        entries=entries.entries,
        controls=parameters.controls,
        include_normals=parameters.include_normals,
        seed=seed,
        split=parameters.split,
        formats=parameters.formats,
        bit_depth=parameters.bit_depth,
        frame=parameters.frame,
        crop_size=(parameters.crop_size or CROP_SIZE) if parameters.frame == "crop" else None,
        lock=entries.lock,
        align=parameters.align,
        max_rotation_deg=parameters.max_rotation_deg,
        normals=len(sources),
        prefix=sent.prefix,
        items=items,
        evaluations=parameters.evaluations,
        metadata=parameters.metadata,
    )
    state = DatasetState(
        entries=[_entry_plan(entry, number, spread) for number, entry in enumerate(entries.entries)],
        controls=parameters.controls,
        normals=normals,
        left_out=found.left_out[:MAX_LEFT_OUT],
        left_out_count=len(found.left_out),
        alignment=_alignment(found.images),
        lock=entries.lock,
    )
    sides = {source.split for source in sources}
    warnings += [
        f"split: no normal image is on the side of {name}; with more groups of them some will be"
        for name in SPLITS
        if getattr(parameters.split, name) > 0 and name not in sides
    ]
    return Planned(resolved, entries, found, sources, closed, state, warnings)


def _entry_plan(entry: ResolvedEntry, number: int, spread: Sequence[Series]) -> DatasetEntryPlan:
    ours = [one for one in spread if one.entry == number and not one.control]
    bins = [
        DatasetBinPlan(size=asked.size, contrast=asked.contrast, items=one.items)
        for asked, one in zip(entry.bins or (), ours, strict=entry.bins is not None)
    ]
    return DatasetEntryPlan(
        defect_types=[defect.reference for defect in entry.defects],
        items=sum(one.items for one in ours),
        bins=bins or None,
    )


def _alignment(images: Sequence[NormalImage]) -> AlignmentState | None:
    """How those lie that were laid on a reference; None if none was."""
    laid = [one for one in images if one.alignment is not None]
    if not laid:
        return None
    residuals = [one.alignment.residual_px for one in laid if one.alignment is not None]
    return AlignmentState(
        images=len(laid),
        median_residual_px=median(residuals),
        greatest_residual_px=max(residuals),
        limit_px=limit(laid[0].info.width, laid[0].info.height),
    )


def _check_usable(
    sent: Sent, entries: Entries, sources: Sequence[DatasetSource], closed: frozenset[int]
) -> list[str]:
    """Warnings of entries that leave out normal images for which no mask was sent.

    Raises:
        ProblemError: an entry leaves out all of them.
    """
    warnings = []
    for number, (asked, entry) in enumerate(zip(sent.parameters.entries, entries.entries, strict=True)):
        drawn_on = {source.number for source in usable(entry, sources, closed)}
        if not drawn_on and asked.masks == "given":
            raise _without_masks(number, "no normal image that was taken has a mask of which something is left")
        if not drawn_on:
            raise ProblemError(
                problems.INVALID_MASK,
                f"entries.{number}: region and exclude leave no pixel of any normal image to draw a mask in; make"
                " regions larger, or exclude less",
                field=f"entries.{number}.masks",
            )
        out = [source.name for source in sources if source.number not in drawn_on]
        if out and asked.masks == "given":
            warnings.append(
                f"entries.{number}: {len(out)} of {len(sources)} normal images have no mask and are left out of "
                f"it: {listed(out)}"
            )
        here = [source for source in sources if source.number in drawn_on]
        warnings += check_bins(f"entries.{number}.bins", entry.bins or (), here)
    if sent.has_masks and all(entry.masks == "drawn" for entry in sent.parameters.entries):
        warnings.append("masks were sent and no entry uses them; say masks: given in entries that shall")
    return warnings


def _files(planned: Planned, folder: Path) -> dict[str, Path]:
    """What the job is made with: normal images with what belongs to them, and the plan."""
    return files_of(planned.found.images) | write_plan(planned.rows(), folder / "planned")


def _answered(has: Resources, tenant: str, planned: Planned) -> DatasetPlan:
    """What a dry run answers."""
    splits = Counter[str]()
    looked_for: list[PlannedItem] = []
    for row in planned.rows():
        splits[row.source.split] += 1
        if planned.resolved.items <= MAX_LOOKED_FOR:
            looked_for.append(row)
    if looked_for:
        with ThreadPoolExecutor(_READERS) as readers:
            there = readers.map(lambda row: has.storage.exists(keys.made_record(tenant, row.made)), looked_for)
            missed = [row for row, is_there in zip(looked_for, there, strict=True) if not is_there]
        to_make: int | None = len(missed)
        to_draw = sum(row.kind != "normal" for row in missed)
    else:
        to_make = None
        to_draw = planned.resolved.items - planned.state.normals
    return DatasetPlan(
        request=planned.resolved.shown(),
        dataset=planned.state,
        items=planned.resolved.items,
        to_make=to_make,
        expected_s=_expected_s(has, to_draw),
        splits={name: splits[name] for name in SPLITS},
        alignments=[
            NormalAlignment(name=source.name, **source.alignment.model_dump())
            for source in planned.sources
            if source.alignment is not None
        ],
        warnings=planned.warnings,
    )


def _expected_s(has: Resources, to_draw: int) -> float | None:
    """Seconds that so many items take the workers there are; None if that cannot be told."""
    pace, workers = has.jobs.pace(), has.jobs.workers()
    if pace is None or not workers:
        return None
    return round(pace * to_draw / workers, 3)
