"""From what the models give to what the contract promises."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
from numpy.typing import NDArray

from flawsmith.contract.jobs import DrawnRegion, Item, ItemStatus, Measures, RegionMeasures, Scores
from flawsmith.contract.manifests import AugmentationManifest
from models.adapters import Adapter
from models.items import ItemRequest, ItemResult
from models.measures import RegionMeasures as ModelRegion
from models.placement import DrawnMask
from models.references import References
from models.samples import Exemplar
from service.images.canonical import CanonicalImage, pixels_sha256
from service.images.encoding import encode_mask_png, encode_png, encode_tiff
from service.store import keys
from service.store.storage import Storage
from worker.preview import preview_png


def item_request(
    manifest: AugmentationManifest,
    index: int,
    image: CanonicalImage,
    mask: NDArray[np.bool_],
    adapter: Adapter,
    exemplars: Sequence[Exemplar] = (),
    references: References | None = None,
) -> ItemRequest:
    """What to ask the models for one item."""
    wanted = manifest.augmentation
    return ItemRequest(
        image=image.pixels,
        mask=mask,
        adapter=adapter,
        part=wanted.part,
        severity=wanted.severity,
        guidance=wanted.guidance,
        seed_share=wanted.seed_share,
        steps=wanted.steps,
        seed=wanted.seed,
        index=index,
        control=wanted.control,
        min_quality=wanted.min_quality,
        black_level=wanted.black_level,
        white_level=wanted.white_level,
        exemplars=exemplars,
        references=references,
    )


def store_item(
    storage: Storage,
    manifest: AugmentationManifest,
    request: ItemRequest,
    source: CanonicalImage,
    result: ItemResult,
    fingerprint: str,
    drawn: DrawnMask | None = None,
) -> Item:
    """Write an item's files, and give its record, which is not written here.

    Args:
        drawn: the requested mask, if it was drawn for this item.

    Raises:
        StorageError: a file could not be written.
    """
    tenant, job_id, index = manifest.tenant, manifest.job_id, request.index
    synthetic = replace(source, pixels=result.image)
    is_tiff = manifest.image.source_format == "tiff"
    image = encode_tiff(synthetic) if is_tiff else encode_png(synthetic)
    mask = encode_mask_png(result.refined_mask)
    preview = preview_png(source.pixels, request.mask, result.image, result.refined_mask)
    url = f"/v1/jobs/{job_id}/items/{index}"
    item = Item(
        index=index,
        status=ItemStatus.SUCCEEDED,
        accepted=result.accepted,
        seed=request.seed,
        attempts=result.attempts,
        image_url=f"{url}/image",
        mask_url=f"{url}/mask",
        preview_url=f"{url}/preview",
        image_sha256=hashlib.sha256(image).hexdigest(),
        mask_sha256=hashlib.sha256(mask).hexdigest(),
        preview_sha256=hashlib.sha256(preview).hexdigest(),
        pixels_sha256=pixels_sha256(result.image),
        scores=Scores(
            presence=result.scores.presence,
            seam=result.scores.seam,
            grain=result.scores.grain,
            coverage=result.scores.coverage,
            realism=result.scores.realism,
            novelty=result.scores.novelty,
            quality=result.scores.quality,
            background_max_abs_diff=result.scores.background_max_abs_diff,
        ),
        measures=Measures(
            regions=[_region(region, manifest.augmentation.pixel_size_um) for region in result.regions],
            soft_edge_px=result.soft_edge_px,
            pixels_per_model_pixel=result.pixels_per_model_pixel,
        ),
        fingerprint=fingerprint,
    )
    if drawn is not None:
        requested = encode_mask_png(drawn.mask)
        item.request_url = f"{url}/request"
        item.request_sha256 = hashlib.sha256(requested).hexdigest()
        item.drawn = [DrawnRegion(**asdict(region)) for region in drawn.regions]
        storage.put(keys.item_request(tenant, job_id, item), requested, "image/png")
    kind = "image/tiff" if is_tiff else "image/png"
    storage.put(keys.item_image(tenant, job_id, item, manifest.image), image, kind)
    storage.put(keys.item_mask(tenant, job_id, item), mask, "image/png")
    storage.put(keys.item_preview(tenant, job_id, item), preview, "image/png")
    return item


def _region(region: ModelRegion, pixel_size_um: float | None) -> RegionMeasures:
    measures = RegionMeasures(
        area=region.area,
        length=region.length,
        width=region.width,
        contrast=region.contrast,
        box=region.box,
    )
    if pixel_size_um is not None:
        measures.area_um2 = region.area * pixel_size_um**2
        measures.length_um = region.length * pixel_size_um
        measures.width_um = region.width * pixel_size_um
    return measures
