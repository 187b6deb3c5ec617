"""What was found in a set: which images, and what says where their defects are."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from flawsmith.contract.samples import IMAGE_ENDINGS, SampleLayout
from service.samples.errors import SampleError
from service.samples.limits import MAX_NAME
from service.samples.shapes import Shape

Size = tuple[int, int]
"""Width and height in pixels."""

ARCHIVE_ENDINGS = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst"})
MASKS = frozenset({"mask", "masks", "label", "labels", "annotations", "gt", "ground_truth"})
"""What folders of masks are called."""
_SPLIT = re.compile(r"instances_(?P<split>.+)\.json")
_SHOWN = 5


@dataclass(frozen=True)
class Region:
    """Where a defect is: a mask file of the set, or a shape."""

    label: str
    """Its class; empty where the layout has none."""
    mask: str | None = None
    shape: Shape | None = None
    is_box: bool = False
    """The shape is a rectangle, which no defect fills."""


@dataclass(frozen=True)
class FoundImage:
    """An image of the set by name; without regions it is a normal one."""

    name: str
    regions: tuple[Region, ...] = ()
    sizes: frozenset[Size] = frozenset()
    """What its annotations say that it has."""

    @property
    def label(self) -> str | None:
        """Its classes, for a person; None where the layout names none."""
        named = sorted({region.label for region in self.regions} - {""})
        return clipped(", ".join(named)) if named else None


class Gathering:
    """Images of a set, of each of which several annotation files may tell."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[list[Region], set[Size]]] = {}

    def add(self, image: str, regions: Iterable[Region], sizes: Iterable[Size]) -> None:
        """What one of them says of an image; see `FoundImage`."""
        all_regions, all_sizes = self._told.setdefault(image, ([], set()))
        all_regions.extend(regions)
        all_sizes.update(sizes)

    def images(self) -> list[FoundImage]:
        """All with what was said of them."""
        return [
            FoundImage(image, tuple(regions), frozenset(sizes)) for image, (regions, sizes) in self._told.items()
        ]


@dataclass(frozen=True)
class Layout:
    """What a set holds, as far as its names and annotations tell."""

    kind: SampleLayout
    images: list[FoundImage]
    notes: list[str] = field(default_factory=list)
    """What was left out, and why."""

    def classes(self) -> dict[str, int]:
        """Images with a defect of each class, by name; empty where the layout names none."""
        counts = Counter(label for image in self.images for label in {region.label for region in image.regions})
        counts.pop("", None)
        return dict(sorted(counts.items()))

    def only(self, label: str | None) -> Layout:
        """The same with the defects of one class alone; images with defects of other classes only are left out.

        Raises:
            SampleError: there is no such class.
        """
        classes = self.classes()
        if label is not None and label not in classes:
            label = unicodedata.normalize("NFC", label)  # as folders are called that give classes their names
        if label is None:
            if len(classes) < 2:
                return self
            named = ", ".join(f"{name} ({count})" for name, count in classes.items())
            note = f"several classes are taken as one defect type: {clipped(named, 400)}; label picks one of them"
            return replace(self, notes=[*self.notes, note])
        if label not in classes:
            there = f"it has {clipped(', '.join(classes), 400)}" if classes else "it names none; leave label out"
            raise SampleError("label", f"the set has no class {clipped(label)}: {there}")
        chosen = []
        mixed = 0
        for image in self.images:
            regions = tuple(region for region in image.regions if region.label == label)
            if regions or not image.regions:
                chosen.append(replace(image, regions=regions))
                mixed += 0 < len(regions) < len(image.regions)
        notes = list(self.notes)
        if mixed:
            notes.append(
                f"{mixed} images show other classes beside {clipped(label)}; to the type those are background, "
                "so leave such images out if there are enough others"
            )
        return replace(self, images=chosen, notes=notes)


class Names:
    """Names of the files of a set, and how other files of it refer to them.

    Args:
        names: paths in the set, in NFC.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.all = list(names)
        self._known = set(names)
        self._ends = (_Ends(names), _Ends([name for name in names if not in_mask_folder(name)]))

    def images(self) -> list[str]:
        """Those that end like images that are accepted."""
        return [name for name in self.all if ending(name) in IMAGE_ENDINGS]

    @staticmethod
    def path(reference: str) -> PurePosixPath:
        """``reference``, a path of any computer, as one of a set; of a very long one nothing, for no file is
        called so, and taking it apart takes long.
        """
        if len(reference) > MAX_NAME:
            return PurePosixPath()
        return PurePosixPath(unicodedata.normalize("NFC", reference).replace("\\", "/"))

    def find(self, reference: str, beside: str) -> str | None:
        """The file that an annotation file means by ``reference``, a path of the computer that it was made on.

        It is looked for `near` the annotation file, then by the end of its path, then by its file name, as long as
        only one is called so, or only one outside of folders of masks.
        """
        if (name := self.near(reference, beside)) is not None:
            return name
        for called in self._called(reference):
            if len(called) == 1:
                return called[0]
        return None

    def near(self, reference: str, beside: str) -> str | None:
        """The file that lies where ``reference`` leads to from its annotation file, or from the folder above.

        In both, folders ``images`` are looked into as well, and those called like the split of an annotation file
        ``instances_{split}.json``.
        """
        path, file = self.path(reference), PurePosixPath(beside)
        here = file.parent
        folders = [here, here / "images", here.parent / "images", here.parent]
        if (split := _SPLIT.fullmatch(file.name)) is not None:
            folders = [folder / split["split"] for folder in folders] + folders
        for folder in folders:
            if (name := str(folder / path)) in self._known:
                return name
        return None

    def has_several(self, reference: str) -> bool:
        """Whether the paths of several files end with it."""
        return len(self._ends[0].ending(_end(self.path(reference)))) > 1

    def _called(self, reference: str) -> Iterator[list[str]]:
        """Files that may be meant by it, two at most; first those that fit best."""
        path = self.path(reference)
        for ends in self._ends:
            yield ends.ending(_end(path))
        for ends in self._ends:
            yield ends.called(path.name)


class _Ends:
    """Files by the ends of their paths."""

    def __init__(self, names: Sequence[str]) -> None:
        self._by_file: dict[str, list[str]] = {}
        for name in names:
            self._by_file.setdefault(PurePosixPath(name).name, []).append(name)
        self._backwards = sorted(f"/{name}"[::-1] for name in names)

    def ending(self, end: str) -> list[str]:
        """Names that end so, two at most; ``end`` begins with the ``/`` before a folder or file."""
        first = bisect_left(self._backwards, end[::-1])
        return [name[-2::-1] for name in self._backwards[first : first + 2] if name.startswith(end[::-1])]

    def called(self, file: str) -> list[str]:
        """Names of files that are called so, two at most."""
        return self._by_file.get(file, [])[:2]


def _end(path: PurePosixPath) -> str:
    return f"/{str(path).lstrip('./')}"


def in_mask_folder(name: str) -> bool:
    """Whether a file lies in a folder that is called like one of masks."""
    return any(folder.lower() in MASKS for folder in PurePosixPath(name).parts[:-1])


def stated(width: Any, height: Any) -> frozenset[Size]:
    """The size that an annotation file says; none if it says none, or nothing of sense.

    Raises:
        TypeError, ValueError, OverflowError: what it says are no numbers.
    """
    if width is None or height is None:
        return frozenset()
    found = int(width), int(height)
    return frozenset({found} if min(found) > 0 else ())


def ending(name: str) -> str:
    """``.png`` of ``a/b.PNG``."""
    return PurePosixPath(name).suffix.lower()


def listed(names: Sequence[str]) -> str:
    """Some of several names, for a person."""
    shown = ", ".join(clipped(name) for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


def clipped(text: str, length: int = 120) -> str:
    """A text as an answer may hold it: short, without what a terminal would act on."""
    clean = "".join(letter if letter.isprintable() else "?" for letter in text[: 2 * length])
    return clean if len(clean) <= length else clean[: length - 1] + "…"
