"""LabelMe: a JSON file beside each image, with the shapes that were drawn on it."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, TypeGuard

from service.samples.errors import SampleError
from service.samples.layouts import FoundImage, Layout, Names, Region, clipped, stated
from service.samples.references import Reference, meant
from service.samples.shapes import Outline, ShapeError


def is_labelme(document: Any) -> TypeGuard[dict[str, Any]]:
    """Whether a JSON file is of this kind."""
    return (
        isinstance(document, dict)
        and isinstance(document.get("shapes"), list)
        and isinstance(document.get("imagePath"), str)
    )


def labelme(documents: dict[str, dict[str, Any]], names: Names) -> Layout:
    """What LabelMe files, by name, say of a set. Images whose file holds no shape are normal ones.

    Polygons, rectangles and circles are defects; points, lines and painted masks are left out.

    Raises:
        SampleError: a file is not as LabelMe writes it, or as of `meant`.
    """
    images: dict[str, FoundImage] = {}
    passed_over: Counter[str] = Counter()
    named, notes = meant([Reference(file["imagePath"], name) for name, file in documents.items()], names)
    for image, (name, document) in zip(named, documents.items(), strict=True):
        if image is None:
            continue
        if image in images:
            raise SampleError("samples", f"{image} has two LabelMe files, one is {name}; keep one of them")
        regions = []
        for number, shape in enumerate(document["shapes"]):
            try:
                kind = shape.get("shape_type") or "polygon"
                region = _region(str(kind), str(shape["label"]), shape["points"])
            except (
                ShapeError,
                LookupError,
                TypeError,
                ValueError,
                AttributeError,
                OverflowError,
                RecursionError,
            ) as error:
                raise SampleError(
                    "samples",
                    f"{name}: shape {number} is not as LabelMe writes it ({clipped(str(error))}). Save it again.",
                ) from error
            if region is None:
                passed_over[str(kind)] += 1
            else:
                regions.append(region)
        try:
            said = stated(document.get("imageWidth"), document.get("imageHeight"))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise SampleError(
                "samples",
                f"{name}: imageWidth and imageHeight are not as LabelMe writes them ({clipped(str(error))}). "
                "Save it again.",
            ) from error
        if regions or not document["shapes"]:
            images[image] = FoundImage(image, tuple(regions), said)
    notes += [
        f"{count} shapes of the kind {clipped(kind, 20)} are left out; draw polygons around defects"
        for kind, count in sorted(passed_over.items())
    ]
    return Layout("labelme", list(images.values()), notes)


def _region(kind: str, label: str, points: Any) -> Region | None:
    corners = [(point[0], point[1]) for point in points]
    if kind == "polygon":
        return Region(label, shape=Outline.of(number for corner in corners for number in corner))
    if kind == "rectangle":
        (left, top), (right, bottom) = corners[0], corners[-1] if len(corners) == 2 else corners[2]
        return Region(label, shape=Outline.box(left, top, right, bottom), is_box=True)
    if kind == "circle":
        (x, y), (edge_x, edge_y) = corners
        radius = math.hypot(float(edge_x) - float(x), float(edge_y) - float(y))
        return Region(label, shape=Outline.ellipse(x, y, radius, radius))
    return None
