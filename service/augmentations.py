"""``/v1/augmentations``: one normal image, one defect or several, each with its mask → ``count`` items."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import JsonValue

from flawsmith.contract import problems
from flawsmith.contract.augmentations import MASK_FILES, AugmentationForm, AugmentationRequest
from flawsmith.contract.base import now
from flawsmith.contract.files import EXCLUDE_FILE, INPUT_FILE, MASK_FILE, REGION_FILE
from flawsmith.contract.ids import new_job_id
from flawsmith.contract.jobs import AugmentationPlan, Job, PlannedDefect
from flawsmith.contract.manifests import AUGMENTATION_FORMAT, AugmentationManifest
from flawsmith.contract.resolved import ResolvedAugmentation
from flawsmith.contract.uploads import ImageInfo
from service import idempotency, uploads
from service.accepting import accept
from service.body import MAX_JSON_BYTES, media_type, read, unsupported
from service.fields import from_json, from_texts, no_query, said
from service.forms import read_form
from service.idempotency import Attempt
from service.images.door import Admitted
from service.images.errors import ImageError
from service.images.folders import private_folder
from service.masks import BOUNDS, AdmittedMask, Requested, SentMask, requested
from service.openapi.bodies import augmentation_body
from service.openapi.responses import Responses, location, problem
from service.problems import ProblemError
from service.resolution import Parameters, Wish, check_levels, mask_field, resolve, wishes
from service.resources import Has, Quota, Resources, Tenant
from service.sizes import check_sizes
from service.telemetry import context, traces

router = APIRouter(prefix="/v1/augmentations", tags=["augmentations"], dependencies=[Depends(no_query)])

FIELDS = {name: mask_field(number) for number, name in enumerate(MASK_FILES)}
"""What the masks of several defects are called everywhere else, by their names in a form."""
FILES = ("image", "mask", *BOUNDS, *MASK_FILES)
MAX_FULL_FILES = 4
"""As many of the largest files fit in a form; masks are small."""
ANSWERS: Responses = {
    200: {"model": AugmentationPlan, "description": "Answer to a dry run: nothing was stored or queued."},
    202: {"model": Job, "description": "The job was accepted.", "headers": location("The job.")},
}


@dataclass(frozen=True)
class Sent:
    """A request as it was read: what is wished, and the images on disk, where it names uploads once fetched."""

    parameters: Parameters
    wished: list[Wish]
    image: Path
    masks: dict[str, SentMask]
    """By field: ``mask``, or ``defects.0.mask`` and so on; ``region``, ``exclude``; as far as they were sent."""
    payload: dict[str, JsonValue]
    """What tells this request from another."""
    uploaded: Mapping[str, str] = field(default_factory=dict)
    """Ids of the uploads that it names, by field."""
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
    """Draw `count` synthetic images of one normal image with one defect type, or with several defects.

    Send image and mask as files of a form, or upload them first and send their ids as JSON. Without a mask each
    item gets one that is drawn as the defect type learned it from its samples, on the part, within `region` and
    outside `exclude`. The same request with the same `seed` gives the same items.

    With `size`, `contrast` or both the defect is to be that long and that strong, as `measures` tell it of its
    largest region. Each item's mask is then drawn that long, or cut out of the one that is sent. What misses it is
    drawn again a few times, and if that does not help it is not accepted and says why.

    For several defects in one image send `defects` in place of `defect_type`, `mask`, `severity`, `size` and
    `contrast`. Each item
    then has all of them, and a label of each beside the label of all. In a form the mask of the first one is the
    file `mask_0`, that of the second `mask_1`, and so on. Everything else holds for all of them.
    """
    with private_folder(has.settings.spool_dir) as folder:
        kind, arguments = media_type(request)
        if kind == "multipart/form-data":
            sent = await _read_form(request, arguments.get("boundary"), folder, has)
        elif kind == "application/json":
            sent = await _read_json(request, folder)
        else:
            raise unsupported(request, "multipart/form-data or application/json")
        async with idempotency.once(request, tenant, has, sent.payload) as attempt:
            if attempt.replay is not None:
                return attempt.replay
            resolved = await run_in_threadpool(resolve, has, tenant, sent.parameters, sent.wished)
            sent = await run_in_threadpool(_fetched, has, tenant, sent, resolved, folder)
            async with has.turn():
                with traces.span("admit"):
                    admitted, wanted = await _admit(has, sent, folder)
                dry_run = sent.parameters.dry_run
                return await _carry_out(has, tenant, quota, attempt, dry_run, resolved, admitted, wanted)


async def _read_form(request: Request, boundary: str | None, folder: Path, has: Resources) -> Sent:
    form = await read_form(
        request,
        boundary,
        folder,
        files=FILES,
        texts=AugmentationForm.model_fields,
        max_file_bytes=has.settings.max_upload_bytes,
        max_full_files=MAX_FULL_FILES,
    )
    parameters = from_texts(AugmentationForm, form.texts)
    if "image" not in form.files:
        raise ProblemError(
            problems.INVALID_REQUEST, "image is missing; send it as a file of the form", field="image"
        )
    masked = {FIELDS.get(name, name): name for name in form.files if name not in ("image", *BOUNDS)}
    wished = wishes(parameters, masked)
    payload: dict[str, JsonValue] = {name: file.sha256 for name, file in form.files.items()}
    files = {FIELDS.get(name, name): file.path for name, file in form.files.items()}
    masks = {name: SentMask(path) for name, path in files.items() if name != "image"}
    return Sent(parameters, wished, files["image"], masks, payload | said(parameters))


async def _read_json(request: Request, folder: Path) -> Sent:
    parameters = from_json(AugmentationRequest, await read(request, MAX_JSON_BYTES))
    ids = {"image": parameters.image, "mask": parameters.mask}
    ids |= {mask_field(number): one.mask for number, one in enumerate(parameters.defects or ())}
    ids |= {name: getattr(parameters, name) for name in BOUNDS}
    named = {name: upload_id for name, upload_id in ids.items() if upload_id is not None}
    wished = wishes(parameters, {name: name for name in named if name not in ("image", *BOUNDS)})
    return Sent(parameters, wished, folder / "image", {}, said(parameters), named)


def _fetched(has: Resources, tenant: str, sent: Sent, resolved: ResolvedAugmentation, folder: Path) -> Sent:
    """The request with the uploads that it names.

    Raises:
        ProblemError: one is not there, or its image needs no levels.
    """
    if not sent.uploaded:
        return sent
    found = {name: uploads.named(has.storage, tenant, one, name) for name, one in sent.uploaded.items()}
    image = found["image"].image
    check_levels(resolved, image)
    for name, record in found.items():
        uploads.fetch(has.storage, tenant, record, folder / name, name)
    masks = {name: SentMask(folder / name, record.image) for name, record in found.items() if name != "image"}
    return replace(sent, masks=masks, image_info=image)


async def _admit(has: Resources, sent: Sent, folder: Path) -> tuple[Admitted, Requested]:
    """Let the images in through the door, and say where defects may lie.

    Raises:
        ProblemError: one of them cannot be used, or defects may lie nowhere.
    """
    fields = [wish.mask_field for wish in sent.wished]
    masks: dict[str, AdmittedMask | SentMask] = {name: sent.masks[name] for name in fields if name in sent.masks}
    # The mask of a single defect goes with the image: one process decodes both.
    mask = sent.masks.get(fields[0]) if len(fields) == 1 else None
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
        field = fields[0] if error.field == "mask" else error.field
        raise ProblemError(kind, error.detail, field=field) from error
    of_upload = [f"mask: {warning}" for warning in uploaded.warnings] if uploaded else []
    assert admitted.info is not None
    if admitted.mask_png is not None:
        masks[fields[0]] = AdmittedMask(admitted.mask_png, admitted.mask_pixels or 0)
    bounds = {name: sent.masks[name] for name in BOUNDS if name in sent.masks}
    wanted = await requested(has.door, admitted.info, fields, masks, bounds, folder)
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
    check_levels(resolved, info)
    check_sizes(resolved, info)
    if dry_run:
        plan = AugmentationPlan(
            request=resolved.shown(),
            warnings=admitted.warnings,
            width=info.width,
            height=info.height,
            mode=info.mode,
            bit_depth=info.bit_depth,
            mask_pixels=wanted.all_pixels,
            defects=_planned(resolved, wanted),
        )
        return await attempt.keep(200, plan.model_dump_json().encode())
    of_image, of_mask, of_region, of_exclude = await run_in_threadpool(_digests, admitted.png, wanted)
    manifest = AugmentationManifest(
        format_version=AUGMENTATION_FORMAT,
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


def _planned(resolved: ResolvedAugmentation, wanted: Requested) -> list[PlannedDefect] | None:
    if not resolved.several:
        return None
    return [
        PlannedDefect(index=number, defect_type=defect.reference, mask_pixels=pixels)
        for number, (defect, pixels) in enumerate(zip(resolved.defects, wanted.pixels, strict=True))
    ]


def _digests(png: bytes, wanted: Requested) -> tuple[str, str | None, str | None, str | None]:
    """Digests of image, mask, region and exclude, as far as they are kept."""
    of_image = hashlib.sha256(png).hexdigest()
    return of_image, wanted.sha256(MASK_FILE), wanted.sha256(REGION_FILE), wanted.sha256(EXCLUDE_FILE)
