"""The plan of a data set: which items it has, and what each is made from. Pure: the same arguments, the same plan.

What is drawn for an item follows from the data set's seed, from what its entry asks for, counts left out, from the
normal image's pixels with what bounds defects on it, and from the item's number among its equals. So nothing that
is added or put in another order changes an item that was there (decision 0043).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from pydantic import JsonValue

from flawsmith.contract.augmentations import MAX_SEED
from flawsmith.contract.datasets import DatasetSource, PlannedItem, ResolvedDataset, ResolvedEntry
from flawsmith.contract.defect_types import DefectTypeRecord
from flawsmith.contract.resolved import ResolvedAugmentation
from flawsmith.contract.specs import DatasetItemKind, DatasetSplit, Split
from flawsmith.contract.wishes import SizeRange

MADE_FORMAT = 1
"""Of what `PlannedItem.made` is a digest of; another one makes everything anew."""

VIEW_FORMAT = 2
"""Of what `PlannedItem.view` is a digest of; another one exports everything anew."""

_SEED_BITS = MAX_SEED.bit_length()
_STEM = 40
"""Characters of a normal image's name in that of its items."""
_WHAT = 100
"""Characters of the types' names there."""
_SHOWN = 8
"""Hex digits of what an item is made from there."""

Bound = Literal["mask", "region", "exclude"]


@dataclass(frozen=True)
class Series:
    """Items that are asked for alike.

    Attributes:
        entry: its place in the request.
        bin: of the entry's bins the one that they are for; None if there are none, or of controls.
        control: drawn without a defect, in places of the entry.
        content: digest of what is asked for, counts left out.
        numbers: of each normal image that has items of them, by its number: their numbers among their equals.
    """

    entry: int
    bin: int | None
    control: bool
    asked: ResolvedEntry
    content: str
    numbers: Mapping[int, range]

    @property
    def items(self) -> int:
        return sum(map(len, self.numbers.values()))

    def base(self, source: DatasetSource) -> str:
        """What its items on a normal image have in common, in hex."""
        return _base(self.content, self.asked, source)


def side(group: str, split: DatasetSplit) -> Split:
    """The side on which a group of normal images is: that on which a hash of its name falls."""
    shares: tuple[tuple[Split, float], ...] = (("train", split.train), ("val", split.val), ("test", split.test))
    sides = [(name, share) for name, share in shares if share > 0]
    place = _uniform(_sha256(f"side:{group}")) * sum(share for _, share in sides)
    for name, share in sides[:-1]:
        if place < share:
            return name
        place -= share
    return sides[-1][0]


def usable(entry: ResolvedEntry, sources: Sequence[DatasetSource], closed: Collection[int]) -> list[DatasetSource]:
    """The normal images that an entry draws on: those with a mask, or that leave room to draw one, and that can
    show a defect of the size that it asks for.

    Args:
        closed: numbers of those whose region and exclude leave nothing.
    """
    if _is_given(entry):
        found = [source for source in sources if source.mask_sha256 is not None]
    else:
        found = [source for source in sources if source.number not in closed]
    sizes = [defect.size for defect in entry.defects if defect.size is not None]
    return [source for source in found if all(shows(source, size) for size in sizes)]


def shows(source: DatasetSource, size: SizeRange) -> bool:
    """Whether some defect of this size fits on a normal image, and a window shows it.

    Raises:
        ValueError: the size is in µm, and that of a pixel is not known.
    """
    return size.fits(source.image.width, source.image.height, source.pixel_size_um)


def series(
    seed: int,
    entries: Sequence[ResolvedEntry],
    controls: int,
    sources: Sequence[DatasetSource],
    closed: Collection[int] = (),
) -> list[Series]:
    """How the items of each entry, then controls, are spread over the normal images.

    Args:
        controls: how many to draw in places of the first entry; of its first bin, if it has some.
        closed: as of `usable`.
    """
    asked = [
        (number, place if entry.bins else None, part, False)
        for number, entry in enumerate(entries)
        for place, part in enumerate(entry.parts)
    ]
    if controls:
        first = entries[0].parts[0]
        defects = [defect.model_copy(update={"contrast": None}) for defect in first.defects]
        first = first.model_copy(update={"defects": defects, "count": controls, "per_image": None})
        asked.append((0, None, first, True))
    taken = Counter[str]()
    found = []
    for number, place_of_bin, entry, control in asked:
        content = _content_of(seed, entry, control=control)
        bases = sorted((_base(content, entry, one), one.number) for one in usable(entry, sources, closed))
        numbers = {}
        for place, (base, source) in enumerate(bases[: entry.count]):  # for those behind nothing is left
            wanted = (
                entry.per_image if entry.count is None else (entry.count + len(bases) - 1 - place) // len(bases)
            )
            first_number = taken[base]
            taken[base] += wanted or 0
            numbers[source] = range(first_number, taken[base])
        found.append(Series(number, place_of_bin, control, entry, content, numbers))
    return found


def plan(
    resolved: ResolvedDataset,
    sources: Sequence[DatasetSource],
    types: Mapping[str, DefectTypeRecord],
    closed: Collection[int] = (),
) -> Iterator[PlannedItem]:
    """The items of a data set in order: by normal image, then entry, then bin, then number among equals.

    Args:
        types: every version that the entries name, by ``name@version``.
        closed: as of `usable`.
    """
    spread = series(resolved.seed, resolved.entries, resolved.controls, sources, closed)
    spread.sort(key=lambda one: (one.entry, one.control))
    names = _Names()
    index = 0
    for source in sorted(sources, key=lambda one: one.number):
        if resolved.include_normals:
            made = _made("normal", source, None, types)
            place = _place(spread, source, closed) if resolved.frame == "crop" else None
            at = _made("defect", source, place, types) if place else None
            item = _item(index, names, "normal", None, source, None, made)
            yield item.model_copy(update={"place": place, "view": _view(resolved, source, made, at)})
            index += 1
        for one in spread:
            if source.number not in one.numbers:
                continue
            kind: DatasetItemKind = "control" if one.control else "defect"
            base = one.base(source)
            for number in one.numbers[source.number]:
                identity = _sha256(f"{base}:{number}")
                drawn = _augmentation(one, source, identity)
                made = _made(kind, source, drawn, types)
                backbone = types[drawn.defects[0].reference].backbone
                item = _item(index, names, kind, one.entry, source, drawn, made, backbone, one.bin)
                yield item.model_copy(update={"view": _view(resolved, source, made)})
                index += 1


def _content_of(seed: int, entry: ResolvedEntry, *, control: bool) -> str:
    """Digest of what an entry asks for, counts left out."""
    asked = entry.model_dump(mode="json", exclude={"count", "per_image", "bins"})
    return _sha256(_canonical({"seed": seed, "entry": asked, "control": control}))


def _base(content: str, entry: ResolvedEntry, source: DatasetSource) -> str:
    """What the items of an entry on a normal image have in common."""
    on: dict[str, JsonValue] = {"content": content, "pixels": source.image.pixels_sha256}
    return _sha256(_canonical(on | _bounds(_is_given(entry), source)))


def _is_given(entry: ResolvedEntry) -> bool:
    return all(defect.mask == "sent" for defect in entry.defects)


def _bounds(is_given: bool, source: DatasetSource) -> dict[str, JsonValue]:
    """Digests of what bounds defects on a normal image; a mask that was sent is cut to the others already."""
    if is_given:
        return {"mask": source.mask_sha256}
    return {"region": source.region_sha256, "exclude": source.exclude_sha256}


def _augmentation(one: Series, source: DatasetSource, identity: str) -> ResolvedAugmentation:
    """What is drawn for one item."""
    defects = []
    for place, (defect, severity) in enumerate(zip(one.asked.defects, one.asked.severities, strict=True)):
        share = _uniform(_sha256(f"{identity}:severity:{place}"))
        changed = {"severity": min(severity.max, severity.min + (severity.max - severity.min) * share)}
        if one.control:  # nothing of a defect is to be seen in it, and quality counts what is
            changed["min_quality"] = 0.0
        defects.append(defect.model_copy(update=changed))
    return ResolvedAugmentation(
        defects=defects,
        method=one.asked.method,
        count=1,
        seed=_first_bits(identity),
        pixel_size_um=source.pixel_size_um,
        control=one.control,
    )


def _made(
    kind: DatasetItemKind,
    source: DatasetSource,
    drawn: ResolvedAugmentation | None,
    types: Mapping[str, DefectTypeRecord],
) -> str:
    """Digest of all that shapes an item."""
    shaped: dict[str, JsonValue] = {
        "format": MADE_FORMAT,
        "kind": kind,
        "input_sha256": source.input_sha256,
        "tiff": source.image.source_format == "tiff",
    }
    if drawn is not None:
        records = [types[defect.reference] for defect in drawn.defects]
        shaped |= _bounds(drawn.masked, source)
        shaped["augmentation"] = drawn.model_dump(mode="json", exclude={"metadata"})
        shaped["types"] = [
            [record.adapter_sha256, record.exemplars_sha256, record.backbone_digest] for record in records
        ]
    return _sha256(_canonical(shaped))


def _view(resolved: ResolvedDataset, source: DatasetSource, made: str, place: str | None = None) -> str | None:
    """Digest of all that shapes an item as it is exported; None if it is exported as it was made.

    Args:
        place: digest of what might be drawn where a normal image is cropped.
    """
    in_eight_bits = resolved.bit_depth == "8" and source.image.bit_depth == 16
    if resolved.crop_size is None and not in_eight_bits:
        return None
    shaped: dict[str, JsonValue] = {
        "format": VIEW_FORMAT,
        "made": made,
        "crop_size": resolved.crop_size,
        "in_eight_bits": in_eight_bits,
        "place": place,
    }
    return _sha256(_canonical(shaped))


def _place(
    spread: Sequence[Series], source: DatasetSource, closed: Collection[int]
) -> ResolvedAugmentation | None:
    """What is, or might be, drawn on a normal image where it is cropped: the first item of an entry on it.

    Of several entries it is the one on which a digest falls, so that normal images are cropped where defects of
    all entries are, and neither counts nor the order of entries move a crop.
    """
    drawn_on = [one for one in spread if not one.control and usable(one.asked, [source], closed)]
    if not drawn_on:
        return None
    chosen = min(drawn_on, key=lambda one: _sha256(f"place:{one.base(source)}"))
    return _augmentation(chosen, source, _sha256(f"{chosen.base(source)}:0"))


def _item(
    index: int,
    names: _Names,
    kind: DatasetItemKind,
    entry: int | None,
    source: DatasetSource,
    drawn: ResolvedAugmentation | None,
    made: str,
    backbone: str | None = None,
    place_of_bin: int | None = None,
) -> PlannedItem:
    match kind:
        case "normal":
            what = "good"
        case "control":
            what = "control"
        case "defect":
            assert drawn is not None
            what = "+".join(defect.defect_type for defect in drawn.defects)[:_WHAT]
    return PlannedItem(
        index=index,
        name=names.new(f"{_stem(source.name)}-{what}", made),
        kind=kind,
        entry=entry,
        bin=place_of_bin,
        source=source,
        augmentation=drawn,
        backbone=backbone,
        made=made,
    )


class _Names:
    """Names of items, no two alike, not even where a file system takes capitals for small letters."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def new(self, stem: str, made: str) -> str:
        """The stem with as much of the digest as makes it another one than all before."""
        name = ""
        for shown in range(_SHOWN, len(made) + 1, _SHOWN):
            name = f"{stem}-{made[:shown]}"
            if name.lower() not in self._taken:
                break
        self._taken.add(name.lower())
        return name


def _stem(name: str) -> str:
    """The name of a file without folders and ending, of letters that any file system takes."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", PurePosixPath(name).stem)[:_STEM] or "image"


def _canonical(value: JsonValue) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _first_bits(digest: str) -> int:
    """As many of the first bits of a digest in hex as a seed has."""
    return int(digest, 16) >> (4 * len(digest) - _SEED_BITS)


def _uniform(digest: str) -> float:
    """A number in [0, 1) that a digest in hex falls on."""
    return _first_bits(digest) / (MAX_SEED + 1)
