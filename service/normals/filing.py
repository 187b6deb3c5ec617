"""Normal images as sources of a data set, and as files of its job."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from flawsmith.contract.datasets import DatasetSource
from flawsmith.contract.files import source_file
from flawsmith.contract.specs import DatasetParameters
from service.normals.reading import NormalImage
from service.planning import side
from service.samples.errors import SampleError
from service.samples.layouts import listed

GROUP_BY = "split.group_by"


def filed(images: Sequence[NormalImage], parameters: DatasetParameters) -> list[DatasetSource]:
    """What each image is to the data set, numbered in their order, with its group and side.

    Raises:
        SampleError: images lack the metadata by which they are to be grouped.
    """
    by = parameters.split.group_by
    if by is not None:
        _check_groups(images, by)
    found = []
    for number, one in enumerate(images):
        group = one.info.pixels_sha256 if by is None else _named(one, by)
        found.append(
            DatasetSource(
                number=number,
                name=one.name,
                sha256=one.sha256,
                input_sha256=_sha256(one.image),
                image=one.info,
                mask_sha256=_sha256(one.mask) if one.mask else None,
                region_sha256=_sha256(one.region) if one.region else None,
                exclude_sha256=_sha256(one.exclude) if one.exclude else None,
                alignment=one.alignment,
                pixel_size_um=one.pixel_size_um or parameters.pixel_size_um,
                group=group,
                split=side(group, parameters.split),
                metadata=one.metadata,
            )
        )
    return found


def files_of(images: Sequence[NormalImage]) -> dict[str, Path]:
    """Their files, by name in the folder of the job."""
    files = {}
    for number, one in enumerate(images):
        files[source_file(number, "image")] = one.image
        if one.mask is not None:
            files[source_file(number, "mask")] = one.mask
        if one.region is not None:
            files[source_file(number, "region")] = one.region
        if one.exclude is not None:
            files[source_file(number, "exclude")] = one.exclude
    return files


def _check_groups(images: Sequence[NormalImage], by: str) -> None:
    without = [one.name for one in images if one.metadata.get(by) in (None, "")]
    if not without:
        return
    if len(without) < len(images):
        raise SampleError(
            GROUP_BY,
            f"{len(without)} of {len(images)} normal images have no {by} in their metadata: {listed(without)}. "
            "Say it of each image, or leave group_by out.",
        )
    known = sorted({name for one in images for name in one.metadata})
    there = f"there are {listed(known)}" if known else "there is none"
    raise SampleError(
        GROUP_BY,
        f"no normal image has {by} in its metadata; {there}. Send it in normals_metadata, or as metadata of "
        "each image of a JSON request, or leave group_by out.",
    )


def _named(one: NormalImage, by: str) -> str:
    value = one.metadata[by]
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
