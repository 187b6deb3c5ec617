"""From what the models give to what the contract promises."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np

from flawsmith.contract.jobs import DrawnRegion, Item, ItemDefect, ItemStatus, Measures, RegionMeasures, Scores
from models.items import ItemResult
from models.measures import RegionMeasures as ModelRegion
from models.merging import merged
from models.scores import Scores as ModelScores
from service.images.canonical import pixels_sha256
from service.images.encoding import encode_mask_png, encode_png, encode_tiff
from service.store import keys
from service.store.storage import Storage
from worker.material import Material, Order
from worker.preview import preview_png


def store_item(
    storage: Storage, material: Material, order: Order, results: Sequence[ItemResult], fingerprint: str
) -> Item:
    """Write an item's files, and give its record, which is not written here.

    Args:
        results: of each of its defects.

    Raises:
        StorageError: a file could not be written.
    """
    manifest, source, index = material.manifest, material.image, order.index
    tenant, job_id = manifest.tenant, manifest.job_id
    result = merged(order.requests, results) if len(results) > 1 else results[0]
    requested = np.logical_or.reduce(order.masks.masks)
    synthetic = replace(source, pixels=result.image)
    is_tiff = manifest.image.source_format == "tiff"
    image = encode_tiff(synthetic) if is_tiff else encode_png(synthetic)
    mask = encode_mask_png(result.refined_mask)
    preview = preview_png(source.pixels, requested, result.image, [one.refined_mask for one in results])
    url = f"/v1/jobs/{job_id}/items/{index}"
    item = Item(
        index=index,
        status=ItemStatus.SUCCEEDED,
        accepted=result.accepted,
        seed=manifest.seed,
        attempts=result.attempts,
        image_url=f"{url}/image",
        mask_url=f"{url}/mask",
        preview_url=f"{url}/preview",
        image_sha256=hashlib.sha256(image).hexdigest(),
        mask_sha256=hashlib.sha256(mask).hexdigest(),
        preview_sha256=hashlib.sha256(preview).hexdigest(),
        pixels_sha256=pixels_sha256(result.image),
        scores=_scores(result.scores),
        measures=Measures(
            regions=[_region(region, manifest.augmentation.pixel_size_um) for region in result.regions],
            soft_edge_px=result.soft_edge_px,
            pixels_per_model_pixel=result.pixels_per_model_pixel,
        ),
        fingerprint=fingerprint,
    )
    if order.masks.drawn:
        request = encode_mask_png(requested)
        item.request_url = f"{url}/request"
        item.request_sha256 = hashlib.sha256(request).hexdigest()
        item.drawn = [
            DrawnRegion(**asdict(region), defect=number)
            for number, drawn in order.masks.drawn.items()
            for region in drawn.regions
        ]
        storage.put(keys.item_request(tenant, job_id, item), request, "image/png")
    if len(results) > 1:
        item.defects = []
        for number, (wanted, one) in enumerate(zip(manifest.augmentation.defects, results, strict=True)):
            label = encode_mask_png(one.refined_mask)
            defect = ItemDefect(
                index=number,
                defect_type=wanted.reference,
                accepted=one.accepted,
                attempts=one.attempts,
                mask_url=f"{url}/defects/{number}/mask",
                mask_sha256=hashlib.sha256(label).hexdigest(),
                scores=_scores(one.scores),
            )
            item.defects.append(defect)
            storage.put(keys.item_defect_mask(tenant, job_id, item, defect), label, "image/png")
    kind = "image/tiff" if is_tiff else "image/png"
    storage.put(keys.item_image(tenant, job_id, item, manifest.image), image, kind)
    storage.put(keys.item_mask(tenant, job_id, item), mask, "image/png")
    storage.put(keys.item_preview(tenant, job_id, item), preview, "image/png")
    return item


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
