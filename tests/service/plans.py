"""Data sets to plan, made in code."""

from __future__ import annotations

from typing import Any

from flawsmith.contract.base import FORMAT_VERSION
from flawsmith.contract.datasets import DatasetSource, PlannedItem, ResolvedDataset, ResolvedEntry
from flawsmith.contract.defect_types import DefectTypeRecord
from flawsmith.contract.resolved import ResolvedDefect
from flawsmith.contract.specs import DATASET_FORMATS, DatasetLock, DatasetSplit, SeverityRange
from flawsmith.contract.uploads import ImageInfo
from service.planning import plan, side
from tests.service.conftest import SCRATCH

TYPES: dict[str, DefectTypeRecord] = {
    f"{name}@1": SCRATCH.model_copy(update={"name": name, "adapter_sha256": 64 * digit})
    for name, digit in (("scratch", "1"), ("dent", "2"), ("pit", "3"))
}
SPLIT = DatasetSplit(train=0.6, val=0.2, test=0.2)


def source(number: int, pixels: int | None = None, **changes: Any) -> DatasetSource:
    """A normal image; those of one ``pixels`` have the same."""
    digest = f"{number if pixels is None else pixels:064x}"
    info = ImageInfo(
        width=64, height=48, mode="rgb", bit_depth=8, source_format="png", lossy=False, pixels_sha256=digest
    )
    group = changes.pop("group", digest)
    return DatasetSource.model_validate(
        {
            "number": number,
            "name": f"lot/part {number}.png",
            "sha256": digest,
            "input_sha256": digest[::-1],
            "image": info,
            "group": group,
            "split": side(group, SPLIT),
        }
        | changes
    )


def entry(
    *names: str,
    count: int | None = None,
    per_image: int | None = None,
    severity: tuple[float, float] = (0.2, 0.8),
    given: bool = False,
    **changes: Any,
) -> ResolvedEntry:
    """An entry of these types."""
    defects = [
        ResolvedDefect(
            defect_type=name,
            defect_type_version=1,
            defect_type_tenant="builtin",
            severity=severity[0],
            guidance=1.0,
            steps=20,
            seed_share=0.7,
            part="a metal part",
            min_quality=0.3,
            mask="sent" if given else "drawn",
        )
        for name in names
    ]
    return ResolvedEntry.model_validate(
        {
            "defects": defects,
            "severities": [SeverityRange(min=severity[0], max=severity[1])] * len(names),
            "method": "diffusion",
            "count": count,
            "per_image": per_image,
        }
        | changes
    )


def dataset(
    *entries: ResolvedEntry, seed: int = 7, controls: int = 0, normals: bool = True, **changes: Any
) -> ResolvedDataset:
    return ResolvedDataset(
        entries=list(entries),
        controls=controls,
        include_normals=normals,
        seed=seed,
        split=SPLIT,
        formats=list(DATASET_FORMATS),
        lock=DatasetLock(format_version=FORMAT_VERSION, defect_types={}, backbones={}, classes={}),
        normals=0,
        items=0,
        **changes,
    )


def planned(
    *entries: ResolvedEntry, sources: list[DatasetSource], closed: tuple[int, ...] = (), **changes: Any
) -> list[PlannedItem]:
    return list(plan(dataset(*entries, **changes), sources, TYPES, closed))
