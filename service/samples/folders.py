"""Sets whose folders and file names say everything: MVTec layout, and pairs of images and masks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from service.samples.errors import SampleError
from service.samples.layouts import MASKS, FoundImage, Layout, Names, Region, in_mask_folder, listed

_TRUTH = "ground_truth"
_SPLITS = ("test", "train", "validation")
_NORMAL = frozenset({"good", "ok", "normal", "normals"})
_IMAGES = frozenset({"image", "images", "img", "imgs", "photos"})
_SUFFIXES = ("_mask", "-mask", ".mask", " mask", "_gt", "_label", "_seg")

Key = tuple[str, ...]


def mvtec(names: Names) -> Layout | None:
    """``test/scratch/001.png`` with ``ground_truth/scratch/001_mask.png``, and ``train/good/…``; or None.

    Several masks of an image may lie in a folder called like it. The class is the name of the folder.
    """
    images = [PurePosixPath(name) for name in names.images()]
    roots = {parent for path in images if (parent := _above(path, _TRUTH)) is not None}
    pictures: dict[tuple[PurePosixPath, Key], list[str]] = {}
    masks: dict[tuple[PurePosixPath, Key], list[str]] = {}
    normals, truths, strange = [], [], []
    for path in images:
        root = next((root for root in path.parents if root in roots), None)
        parts = path.relative_to(root).parts if root is not None else ()
        if root is not None and len(parts) >= 3 and parts[0] == _TRUTH:
            truths.append((path, root, parts))
        elif root is None or len(parts) < 3 or parts[0] not in _SPLITS:
            strange.append(str(path))
        elif parts[1].lower() in _NORMAL:
            normals.append(FoundImage(str(path)))
        else:
            pictures.setdefault((root, (*parts[1:-1], path.stem)), []).append(str(path))
    if not pictures:
        return None
    for path, root, parts in truths:
        places = [(root, key) for key in (parts[1:-1], (*parts[1:-1], path.stem))]
        place = next((place for place in places if place in pictures), (root, (*parts[1:-1], _bare(path.stem))))
        masks.setdefault(place, []).append(str(path))
    found, alone = [], []
    for (above, key), called in pictures.items():
        if len(called) > 1:
            raise _ambiguous(called)
        if (above, key) not in masks:
            alone.append(called[0])
            continue
        regions = tuple(Region(key[0], mask=mask) for mask in masks.pop((above, key)))
        found.append(FoundImage(called[0], regions))
    return Layout("mvtec", found + normals, _left_out(alone, masks.values(), strange))


def pairs(names: Names) -> Layout | None:
    """``images/001.jpg`` with ``masks/001.png``, or ``001.jpg`` with ``001_mask.png`` beside it; or None.

    Images in a folder called ``good`` or ``normal`` are normal ones.
    """
    masks: dict[Key, list[str]] = {}
    pictures: dict[Key, list[str]] = {}
    normals = []
    images = names.images()
    beside = _masks_beside(images)
    for name in images:
        if in_mask_folder(name) or name in beside:
            continue
        if is_normal(name):
            normals.append(FoundImage(name))
        else:
            pictures.setdefault(_photo(name), []).append(name)
    for name in images:
        path = PurePosixPath(name)
        if in_mask_folder(name):
            key = _key(path, MASKS, path.stem)
            masks.setdefault(key if key in pictures else _key(path, MASKS, _bare(path.stem)), []).append(name)
        elif name in beside:
            masks.setdefault(_key(path, _IMAGES, _bare(path.stem)), []).append(name)
    if not masks:
        return None
    found, alone = [], []
    for key, called in pictures.items():
        if len(called) > 1:
            raise _ambiguous(called)
        if key not in masks:
            alone.append(called[0])
            continue
        if len(masks[key]) > 1:
            raise _ambiguous(masks[key])
        found.append(FoundImage(called[0], (Region("", mask=masks.pop(key)[0]),)))
    return Layout("pairs", found + normals, _left_out(alone, masks.values(), []))


def is_normal(name: str) -> bool:
    """Whether an image lies in a folder of normal ones."""
    return any(folder.lower() in _NORMAL for folder in PurePosixPath(name).parts[:-1])


def normal_images(names: Names) -> tuple[list[str], list[str]]:
    """Images of a set of normal ones but for masks, those in folders called so if there are any; and notes."""
    images = names.images()
    beside = _masks_beside(images)
    masks = [name for name in images if in_mask_folder(name) or name in beside]
    photos = [name for name in images if not in_mask_folder(name) and name not in beside]
    named = [name for name in photos if is_normal(name)]
    others = [name for name in photos if named and not is_normal(name)]
    notes = [f"left out, for they are called like masks: {listed(masks)}"] if masks else []
    if others:
        notes.append(f"left out, for they are in no folder of good parts: {listed(others)}")
    return named or photos, notes


def _masks_beside(images: Sequence[str]) -> set[str]:
    """Those called like a photo beside them but for a suffix of masks, which photos may have in their names, too.

    Where masks have folders, none in a folder of photos is one.
    """
    photos = {_photo(name) for name in images if not in_mask_folder(name)}
    have_folders = any(map(in_mask_folder, images))
    found = set()
    for name in images:
        path = PurePosixPath(name)
        bare = _bare(path.stem)
        among_photos = any(folder.lower() in _IMAGES for folder in path.parts[:-1])
        if bare != path.stem and _key(path, _IMAGES, bare) in photos and not (have_folders and among_photos):
            found.add(name)
    return found


def _photo(name: str) -> Key:
    path = PurePosixPath(name)
    return _key(path, _IMAGES, path.stem)


def _above(path: PurePosixPath, folder: str) -> PurePosixPath | None:
    return next((parent.parent for parent in path.parents if parent.name == folder), None)


def _key(path: PurePosixPath, left_out: frozenset[str], stem: str) -> Key:
    """What an image and its mask have in common: their folders but those that tell which of them is which."""
    return (*(folder for folder in path.parts[:-1] if folder.lower() not in left_out), stem)


def _bare(stem: str) -> str:
    """The stem of the image that a mask of this stem belongs to."""
    for suffix in _SUFFIXES:
        if stem.lower().endswith(suffix) and len(stem) > len(suffix):
            return stem[: -len(suffix)]
    return stem


def _ambiguous(names: list[str]) -> SampleError:
    return SampleError("samples", f"{listed(names)} have the same name but for their ending; keep one of them")


def _left_out(alone: list[str], masks: Iterable[list[str]], strange: list[str]) -> list[str]:
    unmatched = [name for names in masks for name in names]
    notes = []
    if alone:
        notes.append(f"left out, for they have no mask: {listed(alone)}")
    if unmatched:
        notes.append(f"left out, for they are masks of no image: {listed(unmatched)}")
    if strange:
        notes.append(
            f"left out, for they are neither in a test, a train nor a ground_truth folder: {listed(strange)}"
        )
    return notes
