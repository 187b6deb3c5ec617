"""What the entries of a data set come to: types by lock or by name, defaults filled in, classes numbered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flawsmith.contract import problems
from flawsmith.contract.augmentations import DefectParameters
from flawsmith.contract.base import FORMAT_VERSION
from flawsmith.contract.datasets import ResolvedEntry
from flawsmith.contract.defect_types import DefectTypeRecord
from flawsmith.contract.ids import split_defect_type
from flawsmith.contract.specs import (
    MAX_ITEMS,
    MAX_PAIRS,
    AnySeverity,
    DatasetEntry,
    DatasetLock,
    DatasetParameters,
    EntryDefect,
    SeverityRange,
)
from service.problems import ProblemError
from service.resolution import Wish, check_masks, find_types, invalid, resolve_defects
from service.resources import Resources

MAX_CLASS = 255
"""The greatest number that a pixel of a label image has."""


@dataclass(frozen=True)
class Entries:
    """The entries of a data set, resolved.

    Attributes:
        types: every version that is drawn, by ``name@version``.
    """

    entries: list[ResolvedEntry]
    types: dict[str, DefectTypeRecord]
    lock: DatasetLock


def resolve_entries(has: Resources, tenant: str, parameters: DatasetParameters) -> Entries:
    """The entries with every default filled in, and the lock that a next build is the same by.

    Raises:
        ProblemError: a type is not here or cannot do what is asked for, the lock does not hold, or two parameters
            contradict each other.
    """
    _check_counts(parameters)
    lock = parameters.lock
    if lock is not None:
        _check_classes(lock)
    versions = dict(lock.defect_types) if lock else {}
    entries: list[ResolvedEntry] = []
    drawn: list[DefectTypeRecord] = []
    unversioned: dict[str, DefectTypeRecord] = {}
    for number, entry in enumerate(parameters.entries):
        at = f"entries.{number}."
        asked = _defects(entry, at)
        _check_locked(has, tenant, asked, versions)
        wished = [_wish(place, one, entry, versions) for place, one in asked]
        records = find_types(has, tenant, wished, entry.method, at)
        check_masks(
            wished,
            records,
            lambda wish: wish.type_field,
            "is {}, which has not learned from samples how to draw masks; say masks: given in the entry and send a"
            " mask of each normal image, or name a type that draws its own",
        )
        if entry.min_quality is None:
            entry = entry.model_copy(update={"min_quality": parameters.min_quality})
        defects = resolve_defects(entry, wished, records)
        severities = [
            one.severity if isinstance(one.severity, SeverityRange) else _only(defect.severity)
            for (_, one), defect in zip(asked, defects, strict=True)
        ]
        entries.append(
            ResolvedEntry(
                defects=defects,
                severities=severities,
                method=entry.method,
                count=entry.count,
                per_image=entry.per_image,
                bins=entry.bins,
            )
        )
        drawn += records
        unversioned |= {
            record.name: record
            for (_, one), record in zip(asked, records, strict=True)
            if split_defect_type(one.defect_type)[1] is None
        }
    if parameters.controls and parameters.entries[0].method == "paste":
        raise invalid(
            "controls",
            "controls are drawn by method diffusion in places of the first entry, and entries.0.method is paste;"
            " put another entry first, or leave controls out",
        )
    if lock is not None:
        _check_backbones(lock, drawn)
    types = {record.reference: record for record in drawn}
    return Entries(entries, types, _locked(lock, drawn, unversioned))


def _defects(entry: DatasetEntry, at: str) -> list[tuple[str, EntryDefect]]:
    """The defects of an entry, each with what its fields are called."""
    if entry.defects is None:
        assert entry.defect_type is not None
        return [(at, EntryDefect(defect_type=entry.defect_type, severity=entry.severity))]
    if entry.masks == "given" and len(entry.defects) > 1:
        raise invalid(
            f"{at}masks",
            f"{at}masks given is for one defect, and {at}defects lists {len(entry.defects)}, which would all need"
            " masks of their own; leave masks out so that they are drawn, or send images with their masks to"
            " POST /v1/augmentations",
        )
    return [(f"{at}defects.{place}.", one) for place, one in enumerate(entry.defects)]


def _wish(at: str, one: EntryDefect, entry: DatasetEntry, versions: Mapping[str, int]) -> Wish:
    """A defect as it is asked for, in the lock's version if it names none."""
    name, version = split_defect_type(one.defect_type)
    locked = versions.get(name) if version is None else version
    defect = DefectParameters(
        defect_type=name if locked is None else f"{name}@{locked}", severity=_least(one.severity)
    )
    return Wish(at, defect, entry.masks == "given")


def _least(severity: AnySeverity | None) -> float | None:
    return severity.min if isinstance(severity, SeverityRange) else severity


def _only(severity: float) -> SeverityRange:
    return SeverityRange(min=severity, max=severity)


def _check_counts(parameters: DatasetParameters) -> None:
    """Refuse what is too many whatever normal images there are."""
    parts = [part for entry in parameters.entries for part in (entry, *(entry.bins or ()))]
    items = sum(part.count or part.per_image or 0 for part in parts) + parameters.controls
    if items > MAX_ITEMS:
        raise too_many(items)


def too_many(items: int, normals: int | None = None) -> ProblemError:
    """The problem of more items than a data set may have."""
    of = "" if normals is None else f" of {normals:,} normal images"
    return invalid(
        "entries",
        f"entries and controls come to {items:,} items{of}; a data set has at most {MAX_ITEMS:,}. Ask for fewer,"
        " or make several data sets",
    )


def check_pairs(entries: Sequence[ResolvedEntry], normals: int) -> None:
    """Refuse entries and bins that take too long to be spread over so many normal images.

    Raises:
        ProblemError: they are too many.
    """
    parts = sum(len(entry.bins or [entry]) for entry in entries)
    if parts * normals > MAX_PAIRS:
        raise invalid(
            "entries",
            f"entries are {parts:,}, each bin counted as one, and come to {parts * normals:,} pairs with"
            f" {normals:,} normal images; a data set has at most {MAX_PAIRS:,}. Ask for fewer bins, or make"
            " several data sets",
        )


def _check_locked(
    has: Resources, tenant: str, asked: Sequence[tuple[str, EntryDefect]], versions: Mapping[str, int]
) -> None:
    """Refuse a version that the lock names and that is not here."""
    for _, one in asked:
        name, version = split_defect_type(one.defect_type)
        locked = versions.get(name)
        if version is not None or locked is None:
            continue
        if locked < 1 or has.registry.get(tenant, name, locked) is None:
            raise ProblemError(
                problems.UNKNOWN_DEFECT_TYPE,
                f"lock.defect_types names {name}@{locked}, which is not known here; import that version again, or"
                f" take {name} out of the lock to draw with the newest one",
                field="lock.defect_types",
            )


def _check_classes(lock: DatasetLock) -> None:
    """Refuse a number that two classes have."""
    names: dict[int, str] = {}
    for name, number in lock.classes.items():
        if (other := names.setdefault(number, name)) != name:
            raise invalid(
                "lock.classes",
                f"lock.classes gives the number {number} to {other} and to {name}; give one of them another",
            )


def _check_backbones(lock: DatasetLock, drawn: Sequence[DefectTypeRecord]) -> None:
    """Refuse a locked version that would be drawn on something else than what it was locked with."""
    for record in drawn:
        digest = lock.backbones.get(record.backbone)
        if lock.defect_types.get(record.name) == record.version and digest not in (None, record.backbone_digest):
            raise invalid(
                "lock.backbones",
                f"lock.backbones has {digest} for {record.backbone}, and {record.reference} is here on"
                f" {record.backbone_digest}, which draws other pixels; install the locked backbone, or take"
                f" {record.backbone} out of the lock to draw on the one that is here",
            )


def _locked(
    lock: DatasetLock | None, drawn: Sequence[DefectTypeRecord], unversioned: Mapping[str, DefectTypeRecord]
) -> DatasetLock:
    """What the lock says that was sent, and what is drawn; a name alone means the version that it means now.

    By name, so that a build with the lock of the one before gives the same bytes.
    """
    versions = dict(lock.defect_types) if lock else {}
    backbones = dict(lock.backbones) if lock else {}
    classes = dict(lock.classes) if lock else {}
    for record in (*drawn, *unversioned.values()):
        versions[record.name] = record.version
        backbones[record.backbone] = record.backbone_digest
        if record.name not in classes:
            classes[record.name] = max(classes.values(), default=0) + 1
    if max(classes.values()) > MAX_CLASS:
        raise invalid(
            "lock.classes",
            f"labels have numbers of at most {MAX_CLASS}, and new classes go on from the greatest in lock.classes;"
            " give the locked ones smaller numbers",
        )
    return DatasetLock(
        format_version=FORMAT_VERSION,
        defect_types=dict(sorted(versions.items())),
        backbones=dict(sorted(backbones.items())),
        classes=dict(sorted(classes.items())),
    )
