"""What exports say of an item's label: its regions as run lengths, boxes and outlines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from flawsmith.contract.base import FORMAT_VERSION
from flawsmith.contract.rows import ItemAnnotations, RegionAnnotation
from worker.outlines import Outline
from worker.runlengths import packed_runs
from worker.subjects import Mask

_EIGHT = np.ones((3, 3), dtype=np.bool_)


def annotated(labels: Sequence[Mask], size: tuple[int, int]) -> ItemAnnotations:
    """The annotations of an item.

    Args:
        labels: (H, W) of each of its defects; any may be empty.
        size: H and W.

    Returns:
        The 8-connected regions of each label, in the order of the defects, the largest of each first.
    """
    height, width = size
    regions: list[RegionAnnotation] = []
    place = _place(labels)
    if place is None:
        return _annotations(size, [], 1.0)
    rows, columns = place
    polygon_iou = 1.0
    for defect, label in enumerate(labels):
        cut = label[rows, columns]
        within = np.zeros_like(cut)
        of_defect = []
        numbered, _ = ndimage.label(cut, _EIGHT)
        for number, box in enumerate(ndimage.find_objects(numbered), start=1):
            region = np.asarray(numbered[box] == number)
            outline = Outline(region)
            within[box] |= outline.filled()
            top, left = rows.start + box[0].start, columns.start + box[1].start
            of_defect.append(
                RegionAnnotation(
                    defect=defect,
                    area=int(np.count_nonzero(region)),
                    box=(left, top, region.shape[1], region.shape[0]),
                    rle=packed_runs(region, (top, left), (height, width)),
                    polygons=[outline.polygon((top, left))],
                )
            )
        regions += sorted(of_defect, key=lambda one: -one.area)
        if of_defect:  # a hole counts though another defect fills it
            polygon_iou = min(polygon_iou, np.count_nonzero(cut & within) / np.count_nonzero(cut | within))
    return _annotations(size, regions, polygon_iou)


def _annotations(size: tuple[int, int], regions: list[RegionAnnotation], polygon_iou: float) -> ItemAnnotations:
    return ItemAnnotations(
        format_version=FORMAT_VERSION, width=size[1], height=size[0], regions=regions, polygon_iou=polygon_iou
    )


def _place(labels: Sequence[Mask]) -> tuple[slice, slice] | None:
    """The part of the image with all labels in it; None if they are empty."""
    if not labels:
        return None
    rows = np.flatnonzero(np.any([label.any(axis=1) for label in labels], axis=0))
    columns = np.flatnonzero(np.any([label.any(axis=0) for label in labels], axis=0))
    if not len(rows):
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
