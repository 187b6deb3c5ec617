"""Which layout a set has, by its content."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element

from flawsmith.contract.samples import IMAGE_ENDINGS
from service.samples.annotations import Annotations
from service.samples.archive import Archive
from service.samples.coco import coco, is_coco
from service.samples.cvat import cvat, is_cvat
from service.samples.errors import SampleError
from service.samples.folders import is_normal, mvtec, normal_images, pairs
from service.samples.labelme import is_labelme, labelme
from service.samples.layouts import ARCHIVE_ENDINGS, FoundImage, Layout, Names, ending, listed
from service.samples.limits import SampleLimits

_OF_COCO = ("images", "annotations", "categories")
_OF_LABELME = ("shapes", "imagePath", "imageWidth", "imageHeight")
"""Keys of annotation files that are read; the rest of a file is not kept."""
_UNUSED_ENDINGS = frozenset({".txt", ".md", ".csv", ".json", ".xml", ".pdf", ".html", ".yaml", ".yml", ""})
"""Of files that belong to sets and say nothing here; nobody misses them."""

EXPECTED = (
    "Send a ZIP with folders images/ and masks/ whose files are called alike, or MVTec layout, "
    "or images with COCO, LabelMe or CVAT annotations."
)


def recognise(archive: Archive, limits: SampleLimits) -> Layout:
    """What a ZIP of samples holds.

    Annotation files count before folders, since they say what folders leave open.

    Raises:
        SampleError: there is no image with a defect in it, or an annotation file is damaged.
    """
    names = Names(archive.names)
    if not names.images():
        raise SampleError(archive.field, f"the ZIP holds no image that is read here. {EXPECTED}")
    of_coco, of_labelme, of_cvat = _documents(archive, names, limits)
    layouts = [
        layout
        for layout in (
            coco(of_coco, names) if of_coco else None,
            cvat(of_cvat, names) if of_cvat else None,
            labelme(of_labelme, names) if of_labelme else None,
        )
        if layout is not None
    ]
    layout = layouts[0] if layouts else mvtec(names) or pairs(names)
    if layout is None:
        raise SampleError(archive.field, f"no image of the ZIP has a mask or an annotation. {EXPECTED}")
    images = list(layout.images)
    notes = list(layout.notes)
    if len(layouts) > 1:
        others = ", ".join(other.kind.upper() for other in layouts[1:])
        notes.append(f"the set is read as {layout.kind.upper()}; its annotations as {others} are left out")
    if layouts:
        used = {image.name for image in images}
        alone = [name for name in names.images() if name not in used]
        images += [FoundImage(name) for name in alone if is_normal(name)]
        alone = [name for name in alone if not is_normal(name)]
        if alone:
            notes.append(f"left out, for no annotation names them: {listed(alone)}")
    return Layout(layout.kind, images, notes + strangers(names))


def recognise_normals(archive: Archive) -> tuple[list[str], list[str]]:
    """Names of the images in a ZIP of normal ones, and notes on what was left out.

    Raises:
        SampleError: there is none.
    """
    names = Names(archive.names)
    found, notes = normal_images(names)
    if not found:
        holds = "images alone that are called like masks" if names.images() else "no image that is read here"
        raise SampleError(archive.field, f"the ZIP holds {holds}. Send a ZIP of photos of good parts.")
    return found, notes + strangers(names)


def _documents(
    archive: Archive, names: Names, limits: SampleLimits
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]], dict[str, Element]]:
    """The set's annotation files by kind and name."""
    annotations = Annotations(archive, limits)
    of_coco: dict[str, dict[str, Any]] = {}
    of_labelme: dict[str, dict[str, Any]] = {}
    of_cvat: dict[str, Element] = {}
    for name in names.all:
        if ending(name) == ".json":
            document = annotations.json(name)
            if is_coco(document):
                of_coco[name] = {key: document[key] for key in _OF_COCO if key in document}
            elif is_labelme(document):
                of_labelme[name] = {key: document[key] for key in _OF_LABELME if key in document}
        elif ending(name) == ".xml":
            root = annotations.xml(name)
            if is_cvat(root):
                of_cvat[name] = root
    return of_coco, of_labelme, of_cvat


def strangers(names: Names, where: str = "in the ZIP") -> list[str]:
    """Notes on files that somebody may miss."""
    nested = [name for name in names.all if ending(name) in ARCHIVE_ENDINGS]
    known = IMAGE_ENDINGS | ARCHIVE_ENDINGS | _UNUSED_ENDINGS
    others = [name for name in names.all if ending(name) not in known]
    notes = []
    if nested:
        notes.append(f"left out, for archives {where} are not opened: {listed(nested)}")
    if others:
        notes.append(f"left out, for they are no images that are read here: {listed(others)}")
    return notes
