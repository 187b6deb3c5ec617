"""Data sets as the service accepts them, and items as a worker makes them, for whoever tests or measures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from flawsmith.contract.base import FORMAT_VERSION, now
from flawsmith.contract.datasets import (
    DatasetEntryPlan,
    DatasetSource,
    DatasetState,
    PlannedItem,
    ResolvedDataset,
    ResolvedEntry,
)
from flawsmith.contract.ids import BUILTIN_TENANT, new_job_id
from flawsmith.contract.jobs import DrawnRegion, Failure, Item, ItemStatus, Measures, RegionMeasures, Scores
from flawsmith.contract.manifests import DatasetManifest
from flawsmith.contract.resolved import ResolvedAugmentation, ResolvedDefect
from flawsmith.contract.specs import DatasetLock, DatasetSplit, SeverityRange
from flawsmith.contract.uploads import ImageInfo
from service.store.plans import plan_files

TENANT = "default"
_IMAGE = ImageInfo(
    width=1024, height=1024, mode="grey", bit_depth=8, source_format="png", lossy=False, pixels_sha256=64 * "0"
)


def scratch(tenant: str = BUILTIN_TENANT) -> ResolvedDefect:
    return ResolvedDefect(
        defect_type="scratch",
        defect_type_version=3,
        defect_type_tenant=tenant,
        severity=0.5,
        guidance=1.5,
        steps=20,
        seed_share=0.5,
        part="part",
        min_quality=0.1,
        mask="drawn",
    )


def digest(text: object) -> str:
    return hashlib.sha256(str(text).encode()).hexdigest()


def dataset(count: int = 50, shard_size: int = 13, *, tenant: str = TENANT) -> DatasetManifest:
    """A data set of items that are all drawn."""
    lock = DatasetLock(format_version=1, defect_types={"scratch": 3}, backbones={}, classes={"scratch": 1})
    return DatasetManifest(
        format_version=FORMAT_VERSION,
        tenant=tenant,
        job_id=new_job_id(),
        created_at=now(),
        shard_size=shard_size,
        warnings=["a warning"],
        dataset=ResolvedDataset(
            entries=[
                ResolvedEntry(
                    defects=[scratch(), scratch(tenant)],
                    severities=[SeverityRange(min=0.5, max=0.5)] * 2,
                    method="diffusion",
                    count=count,
                    per_image=None,
                )
            ],
            controls=0,
            include_normals=False,
            seed=7,
            split=DatasetSplit(),
            formats=["coco"],
            lock=lock,
            normals=1,
            items=count,
        ),
        state=DatasetState(
            entries=[DatasetEntryPlan(defect_types=["scratch@3"], items=count)], controls=0, normals=1, lock=lock
        ),
    )


def rows(count: int, *, of: str = "", normals: int = 0, source_format: str = "png") -> Iterator[PlannedItem]:
    """Rows of a plan, the last ``normals`` of which are normal images; ``of`` makes what they come to another."""
    image = _IMAGE.model_copy(update={"source_format": source_format})
    source = DatasetSource(
        number=0,
        name="part",
        sha256=digest("sent"),
        input_sha256=digest("input"),
        image=image,
        group="part",
        split="train",
    )
    for index in range(count):
        is_normal = index >= count - normals
        yield PlannedItem(
            index=index,
            name=f"part-{index}",
            kind="normal" if is_normal else "defect",
            entry=None if is_normal else 0,
            source=source,
            augmentation=None if is_normal else ResolvedAugmentation(defects=[scratch()], count=1, seed=index),
            made=digest(f"{of}{index}"),
        )


def plan(count: int, *, of: str = "") -> dict[str, bytes]:
    return plan_files(rows(count, of=of))


def drawn(index: int, *, accepted: bool = True, of: str = "") -> Item:
    """An item with all that its record has in earnest."""
    return Item(
        index=index,
        status=ItemStatus.SUCCEEDED,
        accepted=accepted,
        seed=index,
        attempts=1,
        image_sha256=digest(f"image{index}"),
        mask_sha256=digest(f"mask{index}"),
        preview_sha256=digest(f"preview{index}"),
        request_sha256=digest(f"request{index}"),
        pixels_sha256=digest(f"pixels{index}"),
        scores=Scores(
            presence=0.9,
            seam=0.8,
            grain=0.7,
            coverage=0.6,
            realism=0.5,
            novelty=0.4,
            quality=0.75,
            background_max_abs_diff=0,
        ),
        measures=Measures(
            regions=[RegionMeasures(area=312.0, length=80.5, width=4.25, contrast=0.21, box=(410, 220, 76, 31))],
            soft_edge_px=3.0,
            pixels_per_model_pixel=1.0,
        ),
        drawn=[DrawnRegion(area=420, box=(408, 218, 80, 35), angle=31.5, scale=1.02, of_sample=3)],
        fingerprint=digest("fingerprint"),
        made=digest(f"{of}{index}"),
    )


def failed(index: int, *, of: str = "") -> Item:
    error = Failure(code="item-failed", detail="the model fell over")
    return Item(index=index, status=ItemStatus.FAILED, seed=index, error=error, made=digest(f"{of}{index}"))
