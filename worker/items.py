"""From what the models give to what the contract promises."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace

import numpy as np

from flawsmith.contract.jobs import DrawnRegion, Item, ItemDefect, ItemStatus, Measures, RegionMeasures, Scores
from flawsmith.contract.uploads import ImageInfo
from models.items import ItemResult
from models.measures import RegionMeasures as ModelRegion
from models.merging import merged
from models.scores import Scores as ModelScores
from service.images.canonical import CanonicalImage, Pixels, pixels_sha256
from service.images.encoding import encode_mask_png, encode_png, encode_tiff
from service.store import keys
from service.store.storage import Storage
from service.telemetry import traces
from worker.looks import look, thumbnail
from worker.material import Order
from worker.preview import preview_png
from worker.rejection import rejection
from worker.subjects import Mask, Subject

_PNG, _JSON = "image/png", "application/json"
_WRITERS = ThreadPoolExecutor(16, thread_name_prefix="writers")
"""Of files of items, which are written side by side; S3 is reached by as many connections."""


@dataclass(frozen=True)
class _File:
    """What is written of an item beside its record."""

    key: str
    data: bytes
    media_type: str


def store_item(
    storage: Storage,
    tenant: str,
    job_id: str,
    order: Order,
    results: Sequence[ItemResult],
    fingerprint: str,
    made: str | None = None,
) -> Item:
    """Write an item's files, and give its record, which is not written here and has no addresses yet.

    Args:
        results: of each of its defects.
        made: of an item of a data set, what its files are kept under.

    Raises:
        StorageError: a file could not be written.
    """
    with traces.span("encode"):
        item, files = _with_files(tenant, job_id, order, results, fingerprint, made)
    with traces.span("store"):
        first, *others = files  # one by this thread, for to hand it over and wait costs CPU
        written = [_WRITERS.submit(storage.put, file.key, file.data, file.media_type) for file in others]
        try:
            storage.put(first.key, first.data, first.media_type)
        finally:
            wait(written)  # nobody goes on while a file of it is being written, whatever happens to another
        for one in written:
            one.result()
    return item


def _with_files(
    tenant: str,
    job_id: str,
    order: Order,
    results: Sequence[ItemResult],
    fingerprint: str,
    made: str | None,
) -> tuple[Item, list[_File]]:
    """The record of an item, and its files."""
    material = order.material
    source, augmentation, subject = material.subject.image, material.augmentation, material.subject
    masks = order.masks.of_results(results)
    requests = [replace(one, mask=mask) for one, mask in zip(order.requests, masks.masks, strict=True)]
    result = merged(requests, results) if len(results) > 1 else results[0]
    requested = np.logical_or.reduce(masks.masks)
    labels = [one.refined_mask for one in results]
    image = encoded(replace(source, pixels=result.image), subject.info, synthetic=True)
    mask = encode_mask_png(result.refined_mask)
    preview = preview_png(source.pixels, requested, result.image, labels)
    item = Item(
        index=order.index,
        status=ItemStatus.SUCCEEDED,
        accepted=result.accepted,
        rejection=rejection(augmentation, results),
        seed=augmentation.seed,
        attempts=result.attempts,
        image_sha256=hashlib.sha256(image).hexdigest(),
        mask_sha256=hashlib.sha256(mask).hexdigest(),
        preview_sha256=hashlib.sha256(preview).hexdigest(),
        pixels_sha256=pixels_sha256(result.image),
        scores=_scores(result.scores),
        measures=Measures(
            regions=[_region(region, augmentation.pixel_size_um) for region in result.regions],
            soft_edge_px=result.soft_edge_px,
            pixels_per_model_pixel=result.pixels_per_model_pixel,
        ),
        fingerprint=fingerprint,
        made=made,
    )
    files = [
        _File(keys.item_image(tenant, job_id, item, subject.info), image, media_type(subject.info)),
        _File(keys.item_mask(tenant, job_id, item), mask, _PNG),
        _File(keys.item_preview(tenant, job_id, item), preview, _PNG),
    ]
    if masks.drawn:
        request = encode_mask_png(requested)
        item.request_sha256 = hashlib.sha256(request).hexdigest()
        learned = [(number, region) for number, drawn in masks.drawn.items() for region in drawn.regions]
        item.drawn = [DrawnRegion(**asdict(region), defect=number) for number, region in learned] or None
        files.append(_File(keys.item_request(tenant, job_id, item), request, _PNG))
    if len(results) > 1:
        item.defects = []
        for number, (wanted, one) in enumerate(zip(augmentation.defects, results, strict=True)):
            label = encode_mask_png(one.refined_mask)
            defect = ItemDefect(
                index=number,
                defect_type=wanted.reference,
                accepted=one.accepted,
                attempts=one.attempts,
                mask_sha256=hashlib.sha256(label).hexdigest(),
                scores=_scores(one.scores),
            )
            item.defects.append(defect)
            files.append(_File(keys.item_defect_mask(tenant, job_id, item, defect), label, _PNG))
    if made is not None:
        files.append(_look(tenant, item, subject, result.image, labels))
    return item, files


def note_look(
    storage: Storage, tenant: str, item: Item, subject: Subject, image: Pixels, labels: Sequence[Mask]
) -> None:
    """Say in the record of an item of a data set what it looks like, and write its thumbnail.

    Args:
        image: (H, W[, C]), the item.
        labels: (H, W) of each of its defects.

    Raises:
        StorageError: the thumbnail could not be written.
    """
    file = _look(tenant, item, subject, image, labels)
    storage.put(file.key, file.data, file.media_type)


def _look(tenant: str, item: Item, subject: Subject, image: Pixels, labels: Sequence[Mask]) -> _File:
    """Say in a record what its item looks like; the thumbnail."""
    item.look = look(image, labels, subject.pattern)
    small = thumbnail(image, labels).model_dump_json().encode()
    return _File(keys.made_thumbnail(tenant, item), small, _JSON)


def addressed(item: Item, job_id: str, index: int) -> Item:
    """The item in its place in a job, with the addresses of the files that it has."""
    url = f"/v1/jobs/{job_id}/items/{index}"
    fields: dict[str, object] = {"index": index, **{f"{part}_url": f"{url}/{part}" for part in item.parts}}
    if item.defects is not None:
        fields["defects"] = [
            defect.model_copy(update={"mask_url": f"{url}/defects/{defect.index}/mask"}) for defect in item.defects
        ]
    return item.model_copy(update=fields)


def encoded(image: CanonicalImage, info: ImageInfo, *, synthetic: bool) -> bytes:
    """The image as it leaves: TIFF where the source was one, else PNG; it says whether it is synthetic."""
    encode = encode_tiff if info.source_format == "tiff" else encode_png
    return encode(image, synthetic=synthetic)


def media_type(info: ImageInfo) -> str:
    """Of what `encoded` gives."""
    return "image/tiff" if info.source_format == "tiff" else "image/png"


def _scores(scores: ModelScores) -> Scores:
    return Scores(**asdict(scores), quality=scores.quality)


def _region(region: ModelRegion, pixel_size_um: float | None) -> RegionMeasures:
    measures = RegionMeasures(
        area=region.area,
        length=region.length,
        width=region.width,
        contrast=region.contrast,
        box=region.box,
        defect=region.defect,
    )
    if pixel_size_um is not None:
        measures.area_um2 = region.area * pixel_size_um**2
        measures.length_um = region.length * pixel_size_um
        measures.width_um = region.width * pixel_size_um
    return measures
