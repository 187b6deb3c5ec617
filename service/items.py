"""``/v1/jobs/{id}/items/{n}``: the files of an item."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from starlette.responses import Response

from flawsmith.contract import problems
from flawsmith.contract.files import ItemPart, item_defect_file, item_file
from flawsmith.contract.jobs import Item, ItemStatus, Job, JobKind
from flawsmith.contract.manifests import AugmentationManifest, DatasetManifest
from flawsmith.contract.uploads import ImageInfo
from service.fields import no_query
from service.files import StoredFile, file_route
from service.jobs import JobPath, find
from service.openapi.responses import FILE_HEADERS, file, problem
from service.problems import ProblemError, not_found
from service.resources import Has, Resources, Tenant
from service.store import keys
from service.store.plans import Plans

router = APIRouter(
    prefix="/v1/jobs/{job_id}/items/{n}",
    tags=["items"],
    dependencies=[Depends(no_query)],
)

Index = Annotated[int, Path(description="Index of the item in its job, from 0.", ge=0, examples=[0])]
DefectIndex = Annotated[
    int, Path(description="Place of the defect in the request's `defects`, from 0.", ge=0, examples=[0])
]


@file_route(
    router,
    "/image",
    operation_id="getItemImage",
    summary="Download an item's image",
    openapi_extra={"parameters": FILE_HEADERS},
    responses=file("image/png", "image/tiff") | problem(404, 409, 412, 416),
)
def get_image(job_id: JobPath, n: Index, tenant: Tenant, has: Has) -> Response:
    """The synthetic image as PNG, or as TIFF if the input was one; of a data set also its normal images."""
    item = _finished(has, tenant, job_id, n)
    source = _source(has, tenant, job_id, n)
    tiff = source.source_format == "tiff"
    key = keys.item_image(tenant, job_id, item, source)
    return _file(has, key, job_id, item, "image", item.image_sha256, tiff=tiff)


@file_route(
    router,
    "/mask",
    operation_id="getItemMask",
    summary="Download an item's refined mask",
    openapi_extra={"parameters": FILE_HEADERS},
    responses=file("image/png") | problem(404, 409, 412, 416),
)
def get_mask(job_id: JobPath, n: Index, tenant: Tenant, has: Has) -> Response:
    """The refined mask, the label to train on: 8-bit grey PNG, 255 where a pixel became defect, else 0."""
    item = _drawn(has, tenant, job_id, n)
    return _file(has, keys.item_mask(tenant, job_id, item), job_id, item, "mask", item.mask_sha256)


@file_route(
    router,
    "/defects/{k}/mask",
    operation_id="getItemDefectMask",
    summary="Download the refined mask of one of an item's defects",
    openapi_extra={"parameters": FILE_HEADERS},
    responses=file("image/png") | problem(404, 409, 412, 416),
)
def get_defect_mask(job_id: JobPath, n: Index, k: DefectIndex, tenant: Tenant, has: Has) -> Response:
    """The label of one of several defects, like the item's, which is that of all of them."""
    item = _drawn(has, tenant, job_id, n)
    if item.defects is None:
        raise not_found(f"items of {job_id} have one defect; its mask is at /v1/jobs/{job_id}/items/{n}/mask")
    if k >= len(item.defects):
        raise not_found(f"items of {job_id} have {len(item.defects)} defects; their index runs from 0")
    defect = item.defects[k]
    return StoredFile(
        has.storage,
        keys.item_defect_mask(tenant, job_id, item, defect),
        "image/png",
        etag=defect.mask_sha256,
        name=f"{job_id}-{item_defect_file(n, k, defect.defect_type)}",
        sha256=defect.mask_sha256,
    )


@file_route(
    router,
    "/preview",
    operation_id="getItemPreview",
    summary="Download an item's preview",
    openapi_extra={"parameters": FILE_HEADERS},
    responses=file("image/png") | problem(404, 409, 412, 416),
)
def get_preview(job_id: JobPath, n: Index, tenant: Tenant, has: Has) -> Response:
    """A small 8-bit PNG to look at."""
    item = _drawn(has, tenant, job_id, n)
    return _file(has, keys.item_preview(tenant, job_id, item), job_id, item, "preview", item.preview_sha256)


@file_route(
    router,
    "/request",
    operation_id="getItemRequest",
    summary="Download an item's requested mask",
    openapi_extra={"parameters": FILE_HEADERS},
    responses=file("image/png") | problem(404, 409, 412, 416),
)
def get_request(job_id: JobPath, n: Index, tenant: Tenant, has: Has) -> Response:
    """The requested mask of the item, where one was drawn for it: 8-bit grey PNG, 255 where a defect may appear.

    Of several defects it is all their masks in one.
    """
    item = _drawn(has, tenant, job_id, n)
    if item.request_sha256 is None and item.made is not None:
        raise not_found(f"no mask was drawn for item {n} of {job_id}; one was sent with its normal image")
    if item.request_sha256 is None:
        raise not_found(f"a mask was sent for all items of {job_id}; it is at /v1/jobs/{job_id}/mask")
    return _file(has, keys.item_request(tenant, job_id, item), job_id, item, "request", item.request_sha256)


def _file(
    has: Resources, key: str, job_id: str, item: Item, part: ItemPart, sha256: str | None, *, tiff: bool = False
) -> StoredFile:
    return StoredFile(
        has.storage,
        key,
        "image/tiff" if tiff else "image/png",
        etag=sha256
        or f"{item.image_sha256}-{part}",  # of previews that were made before digests of them were kept
        name=f"{job_id}-{item_file(item.index, part, tiff=tiff)}",
        sha256=sha256,
    )


def _source(has: Resources, tenant: str, job_id: str, n: int) -> ImageInfo:
    """The image that an item was drawn on."""
    match has.jobs.manifest(tenant, job_id):
        case AugmentationManifest() as manifest:
            return manifest.image
        case DatasetManifest() as manifest:
            return Plans(has.storage).row(manifest, n).source.image
    raise not_found(f"{job_id} has no items")


def _drawn(has: Resources, tenant: str, job_id: str, n: int) -> Item:
    """The item, if it has more files than its image.

    Raises:
        ProblemError: there is no such item, it has no result (yet), or it is a normal image.
    """
    item = _finished(has, tenant, job_id, n)
    if item.mask_sha256 is None and item.made is not None:
        raise not_found(f"item {n} of {job_id} is a normal image as it is, and has no file but its image")
    return item


def _stored(has: Resources, tenant: str, job: Job, n: int) -> Item:
    """An item of a data set, which storage alone knows."""
    left = ItemStatus.CANCELED if job.status.is_final else ItemStatus.PENDING
    return has.jobs.finished_item(tenant, job.id, n) or Item(index=n, status=left, seed=0)


def _finished(has: Resources, tenant: str, job_id: str, n: int) -> Item:
    """The item, if it has files.

    Raises:
        ProblemError: there is no such item, or it has no result (yet).
    """
    job = find(has, tenant, job_id)
    if job.kind not in (JobKind.AUGMENTATION, JobKind.DATASET):
        raise not_found(f"{job_id} is no augmentation and no data set, and has no items")
    total = job.progress.total
    if n >= total:
        raise not_found(f"{job_id} has {total} items; their index runs from 0 to {total - 1}")
    item = job.items[n] if job.kind is JobKind.AUGMENTATION else _stored(has, tenant, job, n)
    if item.status is ItemStatus.SUCCEEDED:
        return item
    if item.status is ItemStatus.PENDING:
        detail = f"item {n} of {job_id} is not drawn yet; ask again when GET /v1/jobs/{job_id} says so"
    elif item.error is not None:
        detail = f"item {n} of {job_id} failed: {item.error.detail}"
    else:
        detail = f"item {n} of {job_id} is {item.status} and has no files"
    raise ProblemError(problems.ITEM_NOT_READY, detail)
