"""A data set as it was planned: sources, entries, and what each comes to."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from flawsmith.contract import problems
from flawsmith.contract.augmentations import MAX_SEED
from flawsmith.contract.datasets import (
    MAX_LEFT_OUT,
    AlignmentState,
    DatasetBinPlan,
    DatasetEntryPlan,
    DatasetSource,
    DatasetState,
    PlannedItem,
    ResolvedDataset,
    ResolvedEntry,
)
from flawsmith.contract.specs import CROP_SIZE, MAX_ITEMS, SPLITS
from service.alignment.registration import limit
from service.datasets.entries import Entries, check_pairs, too_many
from service.datasets.refusals import unfit, without_masks
from service.datasets.sent import Sent
from service.normals.filing import filed, files_of
from service.normals.reading import NormalImage, NormalSet
from service.planning import Series, plan, series, usable
from service.problems import ProblemError
from service.samples.errors import SampleError
from service.samples.layouts import listed
from service.sizes import check_bins
from service.store.plans import write_plan


@dataclass(frozen=True)
class Planned:
    """A data set before anything of it is made."""

    resolved: ResolvedDataset
    entries: Entries
    found: NormalSet
    sources: list[DatasetSource]
    closed: frozenset[int]
    """Numbers of sources in which no mask can be drawn."""
    state: DatasetState
    warnings: list[str]

    def rows(self) -> Iterable[PlannedItem]:
        """Its items, made anew each time."""
        return plan(self.resolved, self.sources, self.entries.types, self.closed)

    def files(self, folder: Path) -> dict[str, Path]:
        """What the job is made with: normal images with what belongs to them, and the plan."""
        return files_of(self.found.images) | write_plan(self.rows(), folder / "planned")


def make_plan(sent: Sent, entries: Entries, found: NormalSet) -> Planned:
    """What is made of the normal images.

    Raises:
        ProblemError: an entry can be drawn on none of them, there are too many items or entries, or groups are not
            known.
    """
    parameters = sent.parameters
    try:
        sources = filed(found.images, parameters)
    except SampleError as error:
        raise unfit(error) from error
    check_pairs(entries.entries, len(sources))
    closed = frozenset(number for number, one in enumerate(found.images) if not one.has_room)
    warnings = [*found.warnings, *_check_usable(sent, entries, sources, closed)]
    seed = parameters.seed if parameters.seed is not None else secrets.randbelow(MAX_SEED + 1)
    spread = series(seed, entries.entries, parameters.controls, sources, closed)
    normals = len(sources) if parameters.include_normals else 0
    items = sum(one.items for one in spread) + normals
    if items > MAX_ITEMS:
        raise too_many(items, len(sources))
    resolved = ResolvedDataset(
        entries=entries.entries,
        controls=parameters.controls,
        include_normals=parameters.include_normals,
        seed=seed,
        split=parameters.split,
        formats=parameters.formats,
        bit_depth=parameters.bit_depth,
        frame=parameters.frame,
        crop_size=(parameters.crop_size or CROP_SIZE) if parameters.frame == "crop" else None,
        lock=entries.lock,
        align=parameters.align,
        max_rotation_deg=parameters.max_rotation_deg,
        normals=len(sources),
        prefix=sent.prefix,
        items=items,
        evaluations=parameters.evaluations,
        metadata=parameters.metadata,
    )
    state = DatasetState(
        entries=[_entry_plan(entry, number, spread) for number, entry in enumerate(entries.entries)],
        controls=parameters.controls,
        normals=normals,
        left_out=found.left_out[:MAX_LEFT_OUT],
        left_out_count=len(found.left_out),
        alignment=_alignment(found.images),
        lock=entries.lock,
    )
    sides = {source.split for source in sources}
    warnings += [
        f"split: no normal image is on the side of {name}; with more groups of them some will be"
        for name in SPLITS
        if getattr(parameters.split, name) > 0 and name not in sides
    ]
    return Planned(resolved, entries, found, sources, closed, state, warnings)


def _entry_plan(entry: ResolvedEntry, number: int, spread: Sequence[Series]) -> DatasetEntryPlan:
    ours = [one for one in spread if one.entry == number and not one.control]
    bins = [
        DatasetBinPlan(size=asked.size, contrast=asked.contrast, items=one.items)
        for asked, one in zip(entry.bins or (), ours, strict=entry.bins is not None)
    ]
    return DatasetEntryPlan(
        defect_types=[defect.reference for defect in entry.defects],
        items=sum(one.items for one in ours),
        bins=bins or None,
    )


def _alignment(images: Sequence[NormalImage]) -> AlignmentState | None:
    """How those lie that were laid on a reference; None if none was."""
    laid = [one for one in images if one.alignment is not None]
    if not laid:
        return None
    residuals = [one.alignment.residual_px for one in laid if one.alignment is not None]
    return AlignmentState(
        images=len(laid),
        median_residual_px=median(residuals),
        greatest_residual_px=max(residuals),
        limit_px=limit(laid[0].info.width, laid[0].info.height),
    )


def _check_usable(
    sent: Sent, entries: Entries, sources: Sequence[DatasetSource], closed: frozenset[int]
) -> list[str]:
    """Warnings of entries that leave out normal images for which no mask was sent.

    Raises:
        ProblemError: an entry leaves out all of them.
    """
    warnings = []
    for number, (asked, entry) in enumerate(zip(sent.parameters.entries, entries.entries, strict=True)):
        drawn_on = {source.number for source in usable(entry, sources, closed)}
        if not drawn_on and asked.masks == "given":
            raise without_masks(number, "no normal image that was taken has a mask of which something is left")
        if not drawn_on:
            raise ProblemError(
                problems.INVALID_MASK,
                f"entries.{number}: region and exclude leave no pixel of any normal image to draw a mask in; make"
                " regions larger, or exclude less",
                field=f"entries.{number}.masks",
            )
        out = [source.name for source in sources if source.number not in drawn_on]
        if out and asked.masks == "given":
            warnings.append(
                f"entries.{number}: {len(out)} of {len(sources)} normal images have no mask and are left out of "
                f"it: {listed(out)}"
            )
        here = [source for source in sources if source.number in drawn_on]
        warnings += check_bins(f"entries.{number}.bins", entry.bins or (), here)
    if sent.has_masks and all(entry.masks == "drawn" for entry in sent.parameters.entries):
        warnings.append("masks were sent and no entry uses them; say masks: given in entries that shall")
    return warnings
