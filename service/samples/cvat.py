"""CVAT for images: an XML file that names images and the shapes on them."""

from __future__ import annotations

from collections import Counter
from xml.etree.ElementTree import Element

from service.samples.errors import SampleError
from service.samples.layouts import Gathering, Layout, Names, Region, clipped, stated
from service.samples.references import Reference, meant
from service.samples.shapes import Outline, Runs, ShapeError, listed_runs

_SHAPES = ("polygon", "mask", "box", "ellipse")


def is_cvat(root: Element) -> bool:
    """Whether an XML file is of this kind."""
    return root.tag == "annotations" and root.find("image") is not None


def cvat(documents: dict[str, Element], names: Names) -> Layout:
    """What CVAT files, by name, say of a set. Images without shapes are normal ones.

    Polygons, masks, boxes and ellipses, turned or not, are defects; points, lines, cuboids and skeletons are left
    out.

    Raises:
        SampleError: a file is not as CVAT writes it, or as of `meant`.
    """
    found = Gathering()
    passed_over: Counter[str] = Counter()
    entries = [
        (Reference(entry.get("name", ""), name), entry)
        for name, root in documents.items()
        for entry in root.iter("image")
    ]
    named, notes = meant([reference for reference, _ in entries], names)
    for image, (reference, entry) in zip(named, entries, strict=True):
        if image is None:
            continue
        regions = []
        others: Counter[str] = Counter()
        for shape in entry:
            if shape.tag not in _SHAPES:
                others[shape.tag] += shape.get("label") is not None
                continue
            try:
                regions.append(_region(shape))
            except (ShapeError, KeyError, ValueError) as error:
                raise SampleError(
                    "samples",
                    f"{reference.beside}: a {shape.tag} on {clipped(reference.path)} is not as CVAT writes it "
                    f"({clipped(str(error))}). Export the annotations again.",
                ) from error
        try:
            said = stated(entry.get("width"), entry.get("height"))
        except ValueError as error:
            raise SampleError(
                "samples",
                f"{reference.beside}: the size of {clipped(reference.path)} is not as CVAT writes it "
                f"({clipped(str(error))}). Export the annotations again.",
            ) from error
        passed_over.update(others)
        if regions or not others.total():
            found.add(image, regions, said)
    notes += [
        f"{count} shapes of the kind {clipped(kind, 20)} are left out; draw polygons or masks around defects"
        for kind, count in sorted(passed_over.items())
        if count
    ]
    return Layout("cvat", found.images(), notes)


def _region(shape: Element) -> Region:
    values = shape.attrib
    label = values["label"]
    if shape.tag == "polygon":
        pairs = (pair.split(",") for pair in values["points"].split(";"))
        return Region(label, shape=Outline.of(number for pair in pairs for number in pair))
    if shape.tag == "mask":
        left, top, width, height = (int(values[side]) for side in ("left", "top", "width", "height"))
        return Region(label, shape=Runs(left, top, width, height, listed_runs(values["rle"])))
    is_box = shape.tag == "box"
    if is_box:
        outline = Outline.box(*(values[side] for side in ("xtl", "ytl", "xbr", "ybr")))
    else:
        outline = Outline.ellipse(*(values[name] for name in ("cx", "cy", "rx", "ry")))
    return Region(label, shape=outline.turned(values.get("rotation", 0)), is_box=is_box)
