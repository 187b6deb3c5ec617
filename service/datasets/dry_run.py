"""The answer to a dry run."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from flawsmith.contract.datasets import DatasetPlan, NormalAlignment, PlannedItem
from flawsmith.contract.specs import SPLITS
from service.datasets.planned import Planned
from service.resources import Resources
from service.store import keys

MAX_LOOKED_FOR = 2000
"""Items that a dry run looks for one by one."""
_READERS = 8
"""Requests to storage at once."""


def answer(has: Resources, tenant: str, planned: Planned) -> DatasetPlan:
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
