"""COCO: one JSON file that names images, categories and the outlines of what is on them."""

from __future__ import annotations

from typing import Any, TypeGuard

from service.samples.errors import SampleError
from service.samples.layouts import Gathering, Layout, Names, Region, Size, clipped, stated
from service.samples.references import Reference, meant
from service.samples.shapes import Outline, Runs, Shape, ShapeError, unpacked_runs


def is_coco(document: Any) -> TypeGuard[dict[str, Any]]:
    """Whether a JSON file is of this kind."""
    return (
        isinstance(document, dict)
        and isinstance(document.get("images"), list)
        and isinstance(document.get("annotations"), list)
    )


def coco(documents: dict[str, dict[str, Any]], names: Names) -> Layout:
    """What COCO files, by name, say of a set. Images without annotations are normal ones.

    Segmentations are polygons or run lengths, packed or not; an annotation without one counts by its box.

    Raises:
        SampleError: a file is not as COCO wants it, or as of `meant`.
    """
    entries: list[tuple[Reference, list[Region], frozenset[Size]]] = []
    for name, document in documents.items():
        try:
            labels = {entry["id"]: str(entry["name"]) for entry in document.get("categories", [])}
            images = {
                entry["id"]: (str(entry["file_name"]), stated(entry.get("width"), entry.get("height")))
                for entry in document["images"]
            }
            regions: dict[Any, list[Region]] = {image_id: [] for image_id in images}
            for number, annotation in enumerate(document["annotations"]):
                where = f"annotation {clipped(str(annotation.get('id', number)), 40)}"
                image_id, category = annotation["image_id"], annotation.get("category_id")
                if image_id not in images:
                    raise SampleError(
                        "samples", f"{name}: {where} is of an image that is not listed; export it again"
                    )
                label = labels.get(category, str(category or ""))
                regions[image_id].extend(_regions(annotation, label, f"{name}: {where}"))
        except SampleError:
            raise
        except (LookupError, TypeError, ValueError, OverflowError, AttributeError, RecursionError) as error:
            raise SampleError(
                "samples", f"{name} is not as COCO wants it ({type(error).__name__}: {error}). Export it again."
            ) from error
        entries += [(Reference(path, name), regions[image_id], said) for image_id, (path, said) in images.items()]
    named, notes = meant([reference for reference, _, _ in entries], names)
    found = Gathering()
    for image, (_, of_image, said) in zip(named, entries, strict=True):
        if image is not None:
            runs = (one.shape for one in of_image if isinstance(one.shape, Runs))
            found.add(image, of_image, said | {(one.width, one.height) for one in runs})
    return Layout("coco", found.images(), notes)


def _regions(annotation: dict[str, Any], label: str, where: str) -> list[Region]:
    segmentation = annotation.get("segmentation")
    try:
        if isinstance(segmentation, dict):
            return [Region(label, shape=_runs(segmentation))]
        if segmentation:
            return [Region(label, shape=Outline.of(polygon)) for polygon in segmentation]
        left, top, width, height = (float(value) for value in annotation["bbox"])
        return [Region(label, shape=Outline.box(left, top, left + width, top + height), is_box=True)]
    except (ShapeError, ValueError, OverflowError) as error:
        raise SampleError("samples", f"{where}: {clipped(str(error))}. Export the annotations again.") from error


def _runs(segmentation: dict[str, Any]) -> Shape:
    height, width = (int(side) for side in segmentation["size"])
    counts = segmentation["counts"]
    lengths = unpacked_runs(counts) if isinstance(counts, str) else list(counts)
    return Runs(0, 0, width, height, lengths, columns=True)
