"""Data sets as they lie in storage once workers have made them, drawn by hand and written by the real encoders."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from flawsmith.contract.base import FORMAT_VERSION
from flawsmith.contract.datasets import (
    Alignment,
    DatasetSource,
    DatasetState,
    PlannedItem,
    ResolvedDataset,
    ResolvedEntry,
)
from flawsmith.contract.files import PLAN_ROWS, plan_file, source_file
from flawsmith.contract.ids import new_job_id
from flawsmith.contract.jobs import (
    Counts,
    Failure,
    Item,
    ItemDefect,
    ItemStatus,
    JobKind,
    JobStatus,
    Measures,
    RegionMeasures,
    Scores,
)
from flawsmith.contract.looks import CELLS, ItemLook, Thumbnail, ThumbnailOutline
from flawsmith.contract.manifests import DatasetManifest, ResultManifest
from flawsmith.contract.resolved import ResolvedAugmentation, ResolvedDefect
from flawsmith.contract.rows import ItemAnnotations, ItemView, RegionAnnotation
from flawsmith.contract.specs import (
    DATASET_FORMATS,
    DatasetFormat,
    DatasetItemKind,
    DatasetLock,
    DatasetSplit,
    SeverityRange,
    Split,
)
from flawsmith.contract.uploads import ImageInfo
from service.images.canonical import MODES, CanonicalImage, Pixels, channels, pixels_sha256
from service.images.encoding import encode_mask_png, encode_png, encode_tiff
from service.store import keys
from service.store.storage import Storage

CLASSES = {"scratch": 2, "dent": 5, "pit": 9}
"""As after builds whose classes went: numbers have gaps."""
TENANT = "default"

Mask = NDArray[np.bool_]


WHOLE = (96, 128)
"""H and W of photos of which a part is exported."""


@dataclass
class Made:
    """An item, and what it is to look like."""

    name: str
    split: Split = "train"
    kind: DatasetItemKind = "defect"
    defects: Sequence[tuple[str, Mask]] = ()
    """Type and label of each."""
    pixels: Pixels = field(default_factory=lambda: photo())
    tiff: bool = False
    status: ItemStatus | None = ItemStatus.SUCCEEDED
    """None: it has no outcome."""
    accepted: bool | None = True
    metadata: dict[str, object] = field(default_factory=dict)
    backbone: str | None = None
    crop: tuple[int, int, int, int] | None = None
    """Pixels and labels are this part of a photo of `WHOLE`."""
    levels: tuple[int, int] | None = None
    """Pixels are of a 16-bit photo, black and white of which are these."""
    quality: float = 0.6
    rejection: Failure | None = None
    pattern: str | None = None
    """Perceptual hash of the item; one of its own if None."""
    source: str | None = None
    """Name of its normal image, and of the pattern of that; an own one if None."""
    region: bytes | None = None
    """What was carried over to its normal image from a reference."""

    @property
    def viewed(self) -> bool:
        return self.crop is not None or self.levels is not None

    @property
    def mask(self) -> Mask:
        """Its label: of all its defects."""
        whole = np.zeros(self.pixels.shape[:2], bool)
        for _, one in self.defects:
            whole |= one
        return whole

    @property
    def classes(self) -> NDArray[np.uint8]:
        """Its label with numbers of classes."""
        label = np.zeros(self.pixels.shape[:2], np.uint8)
        for name, one in self.defects:
            label[one] = CLASSES[name]
        return label


def photo(height: int = 48, width: int = 64, seed: int = 0, *, colour: bool = False, depth: int = 8) -> Pixels:
    """A photo of a part, more or less."""
    shape = (height, width, 3) if colour else (height, width)
    dtype = np.uint8 if depth == 8 else np.uint16
    return np.random.default_rng(seed).integers(0, 2**depth, shape, dtype=dtype)


def box(top: int, left: int, bottom: int, right: int, height: int = 48, width: int = 64) -> Mask:
    found = np.zeros((height, width), bool)
    found[top:bottom, left:right] = True
    return found


def line(height: int = 48, width: int = 64) -> Mask:
    """A scratch of one pixel's width, from corner to corner."""
    drawn = np.zeros((height, width), np.uint8)
    cv2.line(drawn, (0, 0), (width - 1, height - 1), 1)
    return drawn.astype(bool)


def ring(height: int = 48, width: int = 64) -> Mask:
    """A defect with a large hole."""
    return box(10, 10, 40, 50, height, width) & ~box(14, 14, 36, 46, height, width)


def points(height: int = 48, width: int = 64) -> Mask:
    """Defects of one and of two pixels, on borders too."""
    found = np.zeros((height, width), bool)
    found[0, 0] = found[height - 1, width - 1] = found[20, 30] = found[30, 40] = found[30, 41] = True
    return found


def zoo() -> list[Made]:
    """Every kind of item there is."""
    colour, deep = photo(seed=1, colour=True), photo(seed=2, depth=16)
    deep_colour = photo(40, 56, seed=3, colour=True, depth=16)
    return [
        Made("a-normal", kind="normal"),
        Made("a-scratch", defects=[("scratch", line())], metadata={"lot": "L1", "serial": 7}),
        Made("a-ring", defects=[("dent", ring())]),
        Made("a-control", kind="control", split="val"),
        Made("b-normal", "test", "normal", pixels=colour),
        Made(
            "b-both",
            "test",
            defects=[("dent", box(3, 4, 12, 20)), ("scratch", box(30, 30, 33, 60))],
            pixels=colour,
        ),
        Made("b-twice", "val", defects=[("pit", box(1, 1, 9, 9)), ("pit", box(20, 20, 31, 35))], pixels=colour),
        Made("c-normal", "val", "normal", pixels=deep, tiff=True),
        Made("c-points", "val", defects=[("pit", points())], pixels=deep, tiff=True),
        Made("d-dent", defects=[("dent", box(0, 0, 40, 20, 40, 56))], pixels=deep_colour),
        Made("d-crop-normal", "val", "normal", pixels=photo(30, 44, seed=4), crop=(70, 66, 44, 30)),
        Made(
            "d-crop",
            "val",
            defects=[("dent", box(3, 4, 12, 20, 30, 44)), ("pit", box(20, 30, 24, 40, 30, 44))],
            pixels=photo(30, 44, seed=5),
            crop=(0, 12, 44, 30),
        ),
        Made("d-eight", "val", defects=[("scratch", line())], tiff=True, levels=(0, 4095)),
        Made("d-both", "val", defects=[("dent", box(0, 0, 7, 9))], crop=(64, 48, 64, 48), levels=(0, 1023)),
        Made("e-failed", defects=[("dent", ring())], status=ItemStatus.FAILED),
        Made("e-canceled", defects=[("dent", ring())], status=ItemStatus.CANCELED),
        Made("e-left", defects=[("dent", ring())], status=None),
        Made("e-rejected", defects=[("dent", ring())], accepted=False),
    ]


def exported(items: Sequence[Made]) -> list[Made]:
    """Those that are part of the exports."""
    return [one for one in items if one.status is ItemStatus.SUCCEEDED and one.accepted is not False]


def keep(
    storage: Storage,
    items: Sequence[Made],
    *,
    tenant: str = TENANT,
    status: JobStatus | None = JobStatus.SUCCEEDED,
    formats: Sequence[DatasetFormat] = DATASET_FORMATS,
    metadata: dict[str, object] | None = None,
    reused: int = 0,
    backbones: Sequence[str] = ("flawsmith-small-1",),
) -> DatasetManifest:
    """Write a data set as STORE, door and workers do; without ``status`` it has not ended."""
    manifest = manifest_of(items, tenant, formats, metadata or {}, backbones)
    planned = [planned_item(index, one) for index, one in enumerate(items)]
    for first in range(0, len(planned), PLAN_ROWS):
        rows = b"".join(row.model_dump_json().encode() + b"\n" for row in planned[first : first + PLAN_ROWS])
        storage.put(keys.job_file(tenant, manifest.job_id, plan_file(first)), rows)
    for row, one in zip(planned, items, strict=True):
        if one.region is not None:
            name = source_file(row.source.number, "region")
            storage.put(keys.job_file(tenant, manifest.job_id, name), one.region)
        put_item(storage, manifest, row, one)
    storage.put(keys.job_request(tenant, manifest.job_id), manifest.model_dump_json().encode())
    if status is not None:
        put_result(storage, manifest, items, status, reused)
    return manifest


def put_result(
    storage: Storage, manifest: DatasetManifest, items: Sequence[Made], status: JobStatus, reused: int = 0
) -> None:
    """Write how the data set ended."""
    counts = Counts(
        succeeded=sum(one.status is ItemStatus.SUCCEEDED for one in items),
        failed=sum(one.status is ItemStatus.FAILED for one in items),
        canceled=sum(one.status in (None, ItemStatus.CANCELED) for one in items),
        rejected=sum(one.accepted is False for one in items),
    )
    result = ResultManifest(
        format_version=FORMAT_VERSION,
        tenant=manifest.tenant,
        job_id=manifest.job_id,
        kind=JobKind.DATASET,
        status=status,
        counts=counts,
        created_at=manifest.created_at,
        started_at=datetime.now(UTC),
        finished_at=datetime.now(UTC),
        items=[],
        dataset=manifest.state.model_copy(update={"reused": reused}),
    )
    storage.put(keys.job_result(manifest.tenant, manifest.job_id), result.model_dump_json().encode())


def manifest_of(
    items: Sequence[Made],
    tenant: str,
    formats: Sequence[DatasetFormat],
    metadata: dict[str, object],
    backbones: Sequence[str],
) -> DatasetManifest:
    lock = DatasetLock(
        format_version=FORMAT_VERSION,
        defect_types=dict.fromkeys(CLASSES, 1),
        backbones={name: f"sha256:{index:064x}" for index, name in enumerate(backbones)},
        classes=CLASSES,
    )
    dataset = ResolvedDataset.model_validate(
        {
            "entries": [
                ResolvedEntry(
                    defects=[resolved("scratch")],
                    severities=[SeverityRange(min=0.5, max=0.5)],
                    method="diffusion",
                    count=len(items),
                    per_image=None,
                )
            ],
            "controls": sum(one.kind == "control" for one in items),
            "include_normals": True,
            "seed": 7,
            "split": DatasetSplit(),
            "formats": list(formats),
            "lock": lock,
            "normals": len(items),
            "items": len(items),
            "metadata": metadata,
        }
    )
    return DatasetManifest(
        format_version=FORMAT_VERSION,
        tenant=tenant,
        job_id=new_job_id(),
        created_at=datetime.now(UTC),
        shard_size=4,
        dataset=dataset,
        state=DatasetState(entries=[], controls=dataset.controls, normals=1, lock=lock),
    )


def resolved(name: str) -> ResolvedDefect:
    return ResolvedDefect(
        defect_type=name,
        defect_type_version=1,
        defect_type_tenant="builtin",
        severity=0.5,
        guidance=1.0,
        steps=20,
        seed_share=0.7,
        part="a part",
        min_quality=0.3,
    )


def planned_item(index: int, one: Made) -> PlannedItem:
    augmentation = None
    if one.kind != "normal":
        types = [name for name, _ in one.defects] or ["scratch"]
        augmentation = ResolvedAugmentation(
            defects=[resolved(name) for name in types], count=1, seed=100 + index, control=one.kind == "control"
        )
    source = DatasetSource.model_validate(
        {
            "number": index,
            "name": one.source or f"{one.name}.png",
            "sha256": 64 * "a",
            "input_sha256": 64 * "b",
            "image": info_of(one),
            "group": one.name[0],
            "split": one.split,
            "metadata": one.metadata,
            "region_sha256": one.region and hashlib.sha256(one.region).hexdigest(),
            "alignment": one.region and Alignment(x_px=1.5, y_px=-2, angle_deg=3, residual_px=0.5),
        }
    )
    return PlannedItem(
        index=index,
        name=one.name,
        kind=one.kind,
        entry=None if one.kind == "normal" else 0,
        source=source,
        augmentation=augmentation,
        backbone=one.backbone,
        made=hashlib.sha256(f"{one.name} {one.split}".encode()).hexdigest(),
        view=hashlib.sha256(f"view of {one.name} {one.split}".encode()).hexdigest() if one.viewed else None,
    )


def info_of(one: Made) -> ImageInfo:
    pixels = whole(one)
    height, width = pixels.shape[:2]
    return ImageInfo(
        width=width,
        height=height,
        mode=MODES[channels(pixels)],
        bit_depth=16 if pixels.dtype == np.uint16 else 8,
        source_format="tiff" if one.tiff else "png",
        lossy=False,
        pixels_sha256=pixels_sha256(pixels),
    )


def whole(one: Made) -> Pixels:
    """The item as it was made, of which pixels are what is exported."""
    if not one.viewed:
        return one.pixels
    height, width = WHOLE if one.crop else one.pixels.shape[:2]
    return photo(height, width, seed=9, depth=16 if one.levels else 8)


def put_item(storage: Storage, manifest: DatasetManifest, planned: PlannedItem, one: Made) -> None:
    """Do a worker's part: the files of an item, then its record."""
    if one.status is None:
        return
    if one.status is not ItemStatus.SUCCEEDED:
        error = Failure(code="x", detail="no memory") if one.status is ItemStatus.FAILED else None
        item = Item(index=planned.index, status=one.status, seed=7, error=error)
        storage.put(
            keys.item_record(manifest.tenant, manifest.job_id, planned.index), item.model_dump_json().encode()
        )
        return
    tenant, made = manifest.tenant, planned.made
    image = encoded(one, whole(one), planned)
    mask = encode_mask_png(np.ones(WHOLE, bool) if one.crop else one.mask)
    scores = Scores(
        presence=0.9, seam=0.8, grain=0.7, coverage=one.quality, quality=one.quality, background_max_abs_diff=0
    )
    item = Item(
        index=planned.index,
        status=one.status,
        rejection=one.rejection,
        accepted=one.accepted,
        seed=7,
        attempts=1,
        image_sha256=hashlib.sha256(image).hexdigest(),
        mask_sha256=hashlib.sha256(mask).hexdigest(),
        preview_sha256=hashlib.sha256(image).hexdigest(),
        pixels_sha256=pixels_sha256(whole(one)),
        scores=None if one.kind == "normal" else scores,
        measures=measures_of(one) if one.defects else None,
        fingerprint="cpu",
        made=made,
        look=look_of(one),
    )
    storage.put(keys.made_thumbnail(tenant, item), thumbnail_of(one).model_dump_json().encode())
    storage.put(keys.item_image(tenant, manifest.job_id, item, planned.source.image), image)
    storage.put(keys.item_mask(tenant, manifest.job_id, item), mask)
    if len(one.defects) > 1:
        item.defects = [
            ItemDefect(
                index=index,
                defect_type=f"{name}@1",
                accepted=True,
                attempts=1,
                mask_sha256=hashlib.sha256(encode_mask_png(label)).hexdigest(),
                scores=scores,
            )
            for index, (name, label) in enumerate(one.defects)
        ]
    if planned.view is not None:
        put_view(storage, tenant, planned, item, one)
    if one.kind == "defect":
        kept = planned.view or made
        storage.put(keys.made_annotations(tenant, kept), annotations_of(one).model_dump_json().encode())
        numbers = [CLASSES[name] for name, _ in one.defects]
        label_png = cv2.imencode(".png", one.classes)[1].tobytes()
        storage.put(keys.made_classes(tenant, kept, numbers), label_png)
    record = keys.item_record(tenant, manifest.job_id, planned.index)
    storage.put(record, item.model_dump_json().encode())


def encoded(one: Made, pixels: Pixels, planned: PlannedItem) -> bytes:
    canonical = CanonicalImage(pixels, planned.source.image)
    return encode_tiff(canonical) if one.tiff else encode_png(canonical)


def put_view(storage: Storage, tenant: str, planned: PlannedItem, item: Item, one: Made) -> None:
    """An item as it is exported where it was made otherwise: image, label and record."""
    image, mask = encoded(one, one.pixels, planned), encode_mask_png(one.mask)
    height, width = one.pixels.shape[:2]
    view = ItemView(
        format_version=FORMAT_VERSION,
        view=planned.view or "",
        of_sha256=item.image_sha256 or "",
        width=width,
        height=height,
        image_sha256=hashlib.sha256(image).hexdigest(),
        mask_sha256=hashlib.sha256(mask).hexdigest() if one.kind == "defect" else None,
        crop=one.crop,
        black_level=one.levels[0] if one.levels else None,
        white_level=one.levels[1] if one.levels else None,
    )
    storage.put(keys.view_image(tenant, view, planned.source.image), image)
    if one.kind == "defect":
        storage.put(keys.view_mask(tenant, view), mask)
    storage.put(keys.made_record(tenant, view.view), view.model_dump_json().encode())


def measures_of(one: Made) -> Measures:
    """One region for each defect."""
    regions = []
    for number, (_, mask) in enumerate(one.defects):
        rows, columns = np.nonzero(mask)
        top, left = int(rows.min()), int(columns.min())
        height, width = int(rows.max()) - top + 1, int(columns.max()) - left + 1
        regions.append(
            RegionMeasures(
                area=float(mask.sum()),
                length=float(max(height, width)),
                width=float(min(height, width)),
                contrast=0.2,
                box=(left, top, width, height),
                defect=number,
            )
        )
    return Measures(regions=regions, soft_edge_px=2.0, pixels_per_model_pixel=1.0)


def look_of(one: Made) -> ItemLook:
    return ItemLook(
        pattern=one.pattern or hashlib.sha256(one.name.encode()).hexdigest(),
        source_pattern=hashlib.sha256((one.source or one.name).encode()).hexdigest(),
        places=[cells_of(mask) for _, mask in one.defects],
    )


def cells_of(mask: Mask) -> str:
    """Cells that a label reaches into, row by row."""
    height, width = mask.shape
    bits = ""
    for row in range(CELLS):
        for column in range(CELLS):
            down = slice(math.ceil(row * height / CELLS), math.ceil((row + 1) * height / CELLS))
            across = slice(math.ceil(column * width / CELLS), math.ceil((column + 1) * width / CELLS))
            bits += "1" if mask[down, across].any() else "0"
    return f"{int(bits, 2):0{CELLS * CELLS // 4}x}"


def thumbnail_of(one: Made) -> Thumbnail:
    """The whole image, and a box around each defect."""
    height, width = one.pixels.shape[:2]
    eight = (one.pixels >> 8).astype(np.uint8) if one.pixels.dtype == np.uint16 else one.pixels
    outlines = []
    for number, region in enumerate(measures_of(one).regions):
        left, top, across, down = region.box
        right, bottom = left + across, top + down
        points = [left, top, right, top, right, bottom, left, bottom]
        outlines.append(ThumbnailOutline(defect=number, points=points))
    jpeg = base64.b64encode(cv2.imencode(".jpg", eight)[1].tobytes()).decode()
    return Thumbnail(format_version=FORMAT_VERSION, width=width, height=height, jpeg=jpeg, outlines=outlines)


def annotations_of(one: Made) -> ItemAnnotations:
    """What a worker says of a label: regions, run lengths, outlines."""
    height, width = one.pixels.shape[:2]
    regions = []
    outlined = np.zeros((height, width), np.uint8)
    for index, (_, mask) in enumerate(one.defects):
        count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        for number in range(1, count):
            region = (labels == number).astype(np.uint8)
            contours, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.fillPoly(outlined, contours, 1)
            left, top, across, down, area = (int(value) for value in stats[number])
            regions.append(
                RegionAnnotation(
                    defect=index,
                    area=area,
                    box=(left, top, across, down),
                    rle=coco_mask.encode(np.asfortranarray(region))["counts"].decode(),
                    polygons=[(contour.reshape(-1) + 0.5).tolist() for contour in contours],
                )
            )
    union = int((outlined.astype(bool) | one.mask).sum())
    iou = int((outlined.astype(bool) & one.mask).sum()) / union if union else 1.0
    return ItemAnnotations(
        format_version=FORMAT_VERSION, width=width, height=height, regions=regions, polygon_iou=iou
    )
