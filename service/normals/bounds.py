"""Masks, regions and excludes of normal images: which belongs to which, and what they leave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flawsmith.contract.samples import IMAGE_ENDINGS
from flawsmith.contract.uploads import ImageInfo
from service.images.decoding import read_canonical
from service.images.encoding import encode_mask_png
from service.masks import within_bounds
from service.normals.names import NormalNames
from service.samples.archive import Archive
from service.samples.errors import SampleError
from service.samples.intake import MaskFile
from service.samples.layouts import Names, clipped, ending, listed

Bound = Literal["mask", "region", "exclude"]
BOUNDS: tuple[Bound, ...] = ("mask", "region", "exclude")
FIELDS: dict[Bound, str] = {"mask": "masks", "region": "regions", "exclude": "excludes"}
"""What ZIPs of them are called in a form."""

_ZIP = b"PK"


@dataclass(frozen=True)
class SentBound:
    """A mask, region or exclude of one image, not yet on disk."""

    field: str
    """What the request calls it: what errors name."""
    fetch: Callable[[Path], MaskFile]
    """Brings it to a path."""


def is_zip(path: Path) -> bool:
    """Whether a file is a ZIP, as far as its beginning tells; no image begins so."""
    with path.open("rb") as file:
        return file.read(len(_ZIP)) == _ZIP


def belonging(archive: Archive, normals: NormalNames) -> dict[str, str]:
    """Which file of a ZIP belongs to which normal image, by the image's name.

    Raises:
        SampleError: one belongs to none or to several, or two belong to one.
    """
    names = Names(archive.names).images()
    if not names:
        raise SampleError(
            archive.field,
            f"the ZIP holds no image that is read here ({', '.join(sorted(IMAGE_ENDINGS))}). Send a ZIP of "
            "images, each called like the normal image that it belongs to.",
        )
    found: dict[str, str] = {}
    strangers = []
    for name in names:
        meant = normals.with_mask(name)
        if not meant:
            strangers.append(name)
            continue
        if len(meant) > 1:
            raise SampleError(
                archive.field,
                f"{clipped(name)} may belong to {listed(meant)}. Give it the path of one of them, with another "
                "ending.",
            )
        if meant[0] in found:
            raise SampleError(
                archive.field,
                f"{clipped(found[meant[0]])} and {clipped(name)} both belong to {clipped(meant[0])}. Keep one "
                "of them.",
            )
        found[meant[0]] = name
    if strangers:
        raise SampleError(
            archive.field,
            f"{len(strangers)} images belong to no normal image: {listed(strangers)}. Call each like its normal "
            "image, "
            f"such as part/7{ending(strangers[0])} or part/7_mask{ending(strangers[0])} for part/7.jpg, or "
            "leave it out.",
        )
    return found


def cut(info: ImageInfo, mask: Path | None, bounds: Mapping[Bound, Path]) -> tuple[bool, bool]:
    """Cut a mask to its bounds, in its file.

    Args:
        info: of the normal image, whose size all have.
        mask: 8-bit grey PNG, 0 or 255; None if there is none.
        bounds: of region and exclude, as far as there are some.

    Returns:
        Whether something is left of the mask, and whether something is left of the image to draw a mask in.
    """
    within = within_bounds((info.height, info.width), {name: path.read_bytes() for name, path in bounds.items()})
    has_room = bool(within.any())
    if mask is None:
        return False, has_room
    pixels = (read_canonical(mask.read_bytes()).pixels > 0) & within
    if bounds:
        mask.write_bytes(encode_mask_png(pixels))
    return bool(pixels.any()), has_room
