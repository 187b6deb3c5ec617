"""``/v1/augmentations``: one normal image, one mask, one defect type → ``count`` items."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, replace
from pathlib import Path

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import JsonValue

from flawsmith.contract import problems
from flawsmith.contract.augmentations import MAX_SEED, AugmentationParameters, AugmentationRequest
from flawsmith.contract.base import FORMAT_VERSION, now
from flawsmith.contract.defect_types import DefectTypeRecord
from flawsmith.contract.files import EXCLUDE_FILE, INPUT_FILE, MASK_FILE, REGION_FILE
from flawsmith.contract.ids import new_job_id, split_defect_type
from flawsmith.contract.jobs import AugmentationPlan, Job
from flawsmith.contract.manifests import AugmentationManifest, ResolvedAugmentation
from flawsmith.contract.uploads import ImageInfo
from service import idempotency, uploads
from service.accepting import accept
from service.body import MAX_JSON_BYTES, media_type, read, spool_folder, unsupported
from service.fields import from_json, from_texts, no_query
from service.forms import read_form
from service.idempotency import Attempt
from service.images.door import Admitted
from service.images.errors import ImageError
from service.masks import BOUNDS, Requested, SentMask, requested
from service.openapi import Responses, augmentation_body, location, problem
from service.problems import ProblemError
from service.resources import Has, Quota, Resources, Tenant
from service.telemetry import context, traces

router = APIRouter(prefix="/v1/augmentations", tags=["augmentations"], dependencies=[Depends(no_query)])

FILES = ("image", "mask", *BOUNDS)
ANSWERS: Responses = {
    200: {"model": AugmentationPlan, "description": "Answer to a dry run: nothing was stored or queued."},
    202: {"model": Job, "description": "The job was accepted.", "headers": location("The job.")},
}


@dataclass(frozen=True)
class Sent:
    """A request as it was read: what is wished, and the images on disk."""

    parameters: AugmentationParameters
    image: Path
    masks: dict[str, SentMask]
    """By field: mask, region and exclude, as far as they were sent."""
    payload: dict[str, JsonValue]
    """What tells this request from another."""
    image_info: ImageInfo | None = None
    """Known already when the images are earlier uploads; their files are then canonical."""


@router.post(
    "",
    operation_id="createAugmentation",
    summary="Draw defects on an image",
    status_code=202,
    response_model=None,
    openapi_extra={"requestBody": augmentation_body(), "parameters": [idempotency.PARAMETER]},
    responses=ANSWERS | problem(400, 408, 409, 413, 415),
)
async def create_augmentation(request: Request, tenant: Tenant, quota: Quota, has: Has) -> Response:
    """Draw `count` synthetic images of one normal image with one defect type.

    Send image and mask as files of a form, or upload them first and send their ids as JSON. Without a mask each
    item gets one that is drawn as the defect type learned it from its samples, on the part, within `region` and
    outside `exclude`. The same request with the same `seed` gives the same items.
    """
    with spool_folder(has.settings.spool_dir) as folder:
        kind, arguments = media_type(request)
        if kind == "multipart/form-data":
            sent, resolved = await _read_form(request, arguments.get("boundary"), folder, tenant, has)
        elif kind == "application/json":
            sent, resolved = await _read_json(request, folder, tenant, has)
        else:
            raise unsupported(request, "multipart/form-data or application/json")
        async with idempotency.once(request, tenant, has, sent.payload) as attempt:
            if attempt.replay is not None:
                return attempt.replay
            async with has.turn():
                admitted, wanted = await _admit(has, sent, folder)
                dry_run = sent.parameters.dry_run
                return await _carry_out(has, tenant, quota, attempt, dry_run, resolved, admitted, wanted)


async def _read_form(
    request: Request, boundary: str | None, folder: Path, tenant: str, has: Resources
) -> tuple[Sent, ResolvedAugmentation]:
    form = await read_form(
        request,
        boundary,
        folder,
        files=FILES,
        texts=AugmentationParameters.model_fields,
        max_file_bytes=has.settings.max_upload_bytes,
    )
    parameters = from_texts(AugmentationParameters, form.texts)
    if "image" not in form.files:
        raise ProblemError(
            problems.INVALID_REQUEST, "image is missing; send it as a file of the form", field="image"
        )
    resolved = await run_in_threadpool(_resolve, has, tenant, parameters, masked="mask" in form.files)
    payload = {name: form.files[name].sha256 for name in FILES if name in form.files}
    masks = {name: SentMask(form.files[name].path) for name in FILES[1:] if name in form.files}
    return Sent(parameters, form.files["image"].path, masks, {**payload, **_sent(parameters)}), resolved


async def _read_json(
    request: Request, folder: Path, tenant: str, has: Resources
) -> tuple[Sent, ResolvedAugmentation]:
    parameters = from_json(AugmentationRequest, await read(request, MAX_JSON_BYTES))
    resolved = await run_in_threadpool(_resolve, has, tenant, parameters, masked=parameters.mask is not None)
    ids = {name: upload_id for name in FILES if (upload_id := getattr(parameters, name)) is not None}
    found = {
        name: await run_in_threadpool(uploads.named, has.storage, tenant, upload_id, name)
        for name, upload_id in ids.items()
    }
    image = found["image"].image
    _check_levels(resolved, image)
    for name, record in found.items():
        await run_in_threadpool(uploads.fetch, has.storage, tenant, record, folder / name, name)
    masks = {name: SentMask(folder / name, record.image) for name, record in found.items() if name != "image"}
    return Sent(parameters, folder / "image", masks, _sent(parameters), image), resolved


def _sent(parameters: AugmentationParameters) -> dict[str, JsonValue]:
    """What the client itself said, before anything was filled in."""
    return parameters.model_dump(mode="json", exclude_unset=True)


def _resolve(
    has: Resources, tenant: str, parameters: AugmentationParameters, *, masked: bool
) -> ResolvedAugmentation:
    """The parameters with every default filled in and the seed drawn; ``masked`` says that a mask was sent.

    Raises:
        ProblemError: there is no such defect type, it needs a mask, or two parameters contradict each other.
    """
    name, version = split_defect_type(parameters.defect_type)
    record = has.registry.get(tenant, name, version)
    if record is None:
        raise ProblemError(
            problems.UNKNOWN_DEFECT_TYPE,
            f"defect_type {parameters.defect_type} is not known here; GET /v1/defect-types lists what is",
            field="defect_type",
        )
    _check_method(parameters, record)
    if not masked and not record.draws_masks:
        raise ProblemError(
            problems.MASK_REQUIRED,
            f"mask is missing, and {record.name}@{record.version} has not learned from samples how to draw one; "
            "send mask, an image of the same size that is white where the defect may appear",
            field="mask",
        )
    black, white = parameters.black_level, parameters.white_level
    if black is not None and white is not None and black >= white:
        raise ProblemError(
            problems.INVALID_REQUEST,
            f"black_level must be below white_level; got {black} and {white}",
            field="black_level",
        )
    return _with_defaults(parameters, record, masked=masked)


def _check_method(parameters: AugmentationParameters, record: DefectTypeRecord) -> None:
    if parameters.method != "paste":
        return
    if record.exemplars_sha256 is None:
        raise ProblemError(
            problems.INVALID_REQUEST,
            f"method paste needs real defects, and {record.name}@{record.version} keeps none; leave method out, or"
            " teach a type from samples of yours with POST /v1/defect-types",
            field="method",
        )
    if parameters.control:
        raise ProblemError(
            problems.INVALID_REQUEST,
            "control is for method diffusion: a control pastes nothing; leave one of the two out",
            field="control",
        )


def _with_defaults(
    parameters: AugmentationParameters, record: DefectTypeRecord, *, masked: bool
) -> ResolvedAugmentation:
    chosen = parameters.model_dump(exclude_none=True, exclude={"defect_type", "dry_run", *FILES})
    return ResolvedAugmentation.model_validate(
        record.defaults.model_dump()
        | {"seed": secrets.randbelow(MAX_SEED + 1)}
        | chosen
        | {
            "defect_type": record.name,
            "defect_type_version": record.version,
            "defect_type_tenant": record.tenant,
            "mask": "sent" if masked else "drawn",
        }
    )


def _check_levels(resolved: ResolvedAugmentation, image: ImageInfo) -> None:
    for field, level in (("black_level", resolved.black_level), ("white_level", resolved.white_level)):
        if level is not None and image.bit_depth != 16:
            raise ProblemError(
                problems.INVALID_REQUEST,
                f"{field} is for 16-bit images only, and this image has {image.bit_depth} bits; leave it out",
                field=field,
            )


async def _admit(has: Resources, sent: Sent, folder: Path) -> tuple[Admitted, Requested]:
    """Let the images in through the door, and say where defects may lie.

    Raises:
        ProblemError: one of them cannot be used, or defects may lie nowhere.
    """
    mask = sent.masks.get("mask")
    uploaded = mask.info if mask else None
    try:
        admitted = await has.door.admit(
            sent.image,
            mask.path if mask else None,
            image_info=sent.image_info,
            mask_lossy=uploaded.lossy if uploaded else None,
        )
    except ImageError as error:
        kind = problems.INVALID_MASK if error.field == "mask" else problems.INVALID_IMAGE
        raise ProblemError(kind, error.detail, field=error.field) from error
    of_upload = [f"mask: {warning}" for warning in uploaded.warnings] if uploaded else []
    assert admitted.info is not None
    bounds = {name: sent.masks[name] for name in BOUNDS if name in sent.masks}
    wanted = await requested(has.door, admitted.info, admitted.mask_png, admitted.mask_pixels, bounds, folder)
    return replace(admitted, warnings=admitted.warnings + of_upload + wanted.warnings), wanted


async def _carry_out(
    has: Resources,
    tenant: str,
    quota: int | None,
    attempt: Attempt,
    dry_run: bool,
    resolved: ResolvedAugmentation,
    admitted: Admitted,
    wanted: Requested,
) -> Response:
    """Accept the job, or say what would be done."""
    info = admitted.info
    assert info is not None
    assert admitted.png is not None
    _check_levels(resolved, info)
    if dry_run:
        plan = AugmentationPlan(
            request=resolved.model_dump(mode="json", exclude={"defect_type_tenant"}),
            warnings=admitted.warnings,
            width=info.width,
            height=info.height,
            mode=info.mode,
            bit_depth=info.bit_depth,
            mask_pixels=wanted.pixels,
        )
        return await attempt.keep(200, plan.model_dump_json().encode())
    of_image, of_mask, of_region, of_exclude = await run_in_threadpool(_digests, admitted.png, wanted)
    manifest = AugmentationManifest(
        format_version=FORMAT_VERSION,
        tenant=tenant,
        job_id=new_job_id(),
        created_at=now(),
        request_id=context.request_id(),
        traceparent=traces.traceparent(),
        augmentation=resolved,
        image=info,
        shard_size=has.settings.shard_size,
        input_sha256=of_image,
        mask_sha256=of_mask,
        region_sha256=of_region,
        exclude_sha256=of_exclude,
        idempotency=attempt.record,
        warnings=admitted.warnings,
    )
    return await accept(has, manifest, {INPUT_FILE: admitted.png, **wanted.files}, quota, attempt)


def _digests(png: bytes, wanted: Requested) -> tuple[str, str | None, str | None, str | None]:
    """Digests of image, mask, region and exclude, as far as they are kept."""
    of_image = hashlib.sha256(png).hexdigest()
    return of_image, wanted.sha256(MASK_FILE), wanted.sha256(REGION_FILE), wanted.sha256(EXCLUDE_FILE)
