"""A row of a data set's manifest, made again: what to ask for, and how what comes is held against it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeAlias, cast

from PIL import Image, ImageChops, UnidentifiedImageError
from pydantic import JsonValue

from flawsmith.client.augmentations import AugmentOptions, Defect
from flawsmith.client.datasets import images_in
from flawsmith.client.errors import CorruptDownloadError, InvalidParameterError
from flawsmith.client.specs import bare_names, belongs
from flawsmith.client.unpacking import read_rows
from flawsmith.contract.files import carried_file
from flawsmith.contract.jobs import Item, Job
from flawsmith.contract.rows import DatasetRow
from flawsmith.contract.specs import Box

LEAST_IOU = 0.98
"""Of the labels of an item and of the same one drawn under another execution fingerprint: the tolerance."""
_SHARED = ("guidance", "steps", "part", "min_quality")
"""Of a request for several defects these are said once, or left to each type."""
_OF_DEFECT = ("severity", "size", "contrast")
_PLAIN = ("method", "seed", "black_level", "white_level", "pixel_size_um", "control", "metadata")

Agreement: TypeAlias = Literal["same", "within_tolerance", "different"]


@dataclass(frozen=True)
class Reproduction:
    """How an item that was made again agrees with its row."""

    agreement: Agreement
    reason: str
    same_fingerprint: bool
    same_pixels: bool
    iou: float | None = None
    """Of both labels, 0–1; None if the pixels settle it, or of a control."""


def find_row(manifest: Path, index: int) -> DatasetRow:
    """The row of a manifest with this index.

    Raises:
        InvalidParameterError: there is none, it cannot be read, or nothing was drawn for it.
    """
    try:
        row = next((row for row in read_rows(manifest) if row.index == index), None)
    except OSError as error:
        raise InvalidParameterError(f"{manifest} cannot be read: {error.strerror or error}") from error
    except CorruptDownloadError as error:
        raise InvalidParameterError(f"{error}; name the manifest.jsonl of a data set") from error
    if row is None:
        raise InvalidParameterError(f"{manifest} has no row {index}; rows go by their `index`")
    if row.kind == "normal" or row.request is None:
        raise InvalidParameterError(f"row {index} is the normal image {row.source}, on which nothing was drawn")
    if row.status != "succeeded" or row.pixels_sha256 is None:
        raise InvalidParameterError(f"row {index} {row.status}, so there is nothing to hold it against")
    return row


def draws_of(row: DatasetRow) -> list[dict[str, Any]]:
    """What a row says of each of its defects: in a list of several, else beside everything else."""
    request = row.request or {}
    several = request.get("defects")
    return cast(list[dict[str, Any]], several) if isinstance(several, list) else [request]


def needs_mask(row: DatasetRow) -> bool:
    """Whether a mask was sent for the item, and is to be sent again."""
    return any(one.get("mask") == "sent" for one in draws_of(row))


def wish(row: DatasetRow, mask: Path | None) -> tuple[str | None, list[Defect] | None, AugmentOptions]:
    """What to ask for: a defect type or several defects, and options, in terms of a request for an augmentation.

    Resolved requests say more than a request does, such as shares that follow from the severity; that is left out.

    Args:
        row: of a manifest.
        mask: that of its normal image, where one was sent.
    """
    request, defects = row.request or {}, draws_of(row)
    options: dict[str, JsonValue] = {name: request[name] for name in _PLAIN if request.get(name) is not None}
    for name in _SHARED:
        values = [one.get(name) for one in defects]
        if values[0] not in (None, "") and all(value == values[0] for value in values):
            options[name] = values[0]
    options["count"] = 1
    if len(defects) == 1:
        options |= {name: defects[0][name] for name in _OF_DEFECT if defects[0].get(name) is not None}
        return _reference(defects[0]), None, cast(AugmentOptions, options)
    several = [
        Defect(
            _reference(one),
            mask if one.get("mask") == "sent" else None,
            **{name: one.get(name) for name in _OF_DEFECT},
        )
        for one in defects
    ]
    return None, several, cast(AugmentOptions, options)


def find_normal(row: DatasetRow, normals: Path | None, dataset: Path) -> Path:
    """The normal image of a row: among files, by the digest of the file as it was sent; else that in the data set.

    Args:
        row: of the manifest.
        normals: a folder, or one image.
        dataset: folder of the manifest.

    Raises:
        InvalidParameterError: it is in neither.
    """
    if normals is not None:
        for path in _candidates(row.source, normals):
            if _sha256(path) == row.source_sha256:
                return path
        raise InvalidParameterError(
            f"no image in {normals} is {row.source} as it was sent (SHA-256 {row.source_sha256}); name the folder "
            "that the data set was built from, or leave --normals out if the data set has its normal images"
        )
    for other in read_rows(dataset / "manifest.jsonl"):
        is_whole = other.crop is None and other.white_level is None
        if other.kind == "normal" and other.source_sha256 == row.source_sha256 and other.image and is_whole:
            path = dataset / other.image
            if path.is_file():
                return path
    raise InvalidParameterError(
        f"the data set does not have its normal image {row.source} as it was sent; name the folder that it was "
        "built from with --normals"
    )


def find_beside(row: DatasetRow, field: str, path: Path | None, dataset: Path) -> Path:
    """What was sent beside the normal image of a row, or carried over to it.

    Args:
        row: of a manifest.
        field: ``masks``, ``regions`` or ``excludes``.
        path: a folder, in which it is called as the normal image but for the ending, or one image.
        dataset: folder of the manifest, in which it is if it was carried over.

    Raises:
        InvalidParameterError: it is not there.
    """
    sha256 = getattr(row, f"source_{field.removesuffix('s')}_sha256")
    if row.alignment is not None and sha256 is not None and (file := dataset / carried_file(sha256)).is_file():
        return file
    if path is None:
        raise InvalidParameterError(
            f"{row.source} was sent with {field}, without which the item is another one; name them with --{field}"
        )
    if path.is_file():
        return path
    images = images_in(path)
    for known in ({str(PurePosixPath(row.source).with_suffix(""))}, bare_names([row.source])):
        for name, found in images.items():
            if belongs(name, known):
                return found
    raise InvalidParameterError(
        f"--{field}: {path} has no image that is called as {row.source} but for the ending"
    )


def find_label(row: DatasetRow, dataset: Path) -> Path:
    """The label of a row in the data set, whichever layout has it: where it is not black, the defect is.

    Raises:
        InvalidParameterError: no layout that is there has it.
    """
    stem = row.name if row.image is None else PurePosixPath(row.image).stem
    found = [
        path
        for part in ("masks", "binary-masks", "mvtec")
        for path in sorted((dataset / part).rglob("*.png"))
        if (_is_ground_truth(path, stem) if part == "mvtec" else path.stem == stem)
    ]
    if not found:
        raise InvalidParameterError(
            f"{dataset} has no label image of {row.name}; download the data set with --format classes, jsonl or "
            "mvtec"
        )
    return next((path for path in found if _sha256(path) == row.mask_sha256), found[0])


def differences(row: DatasetRow, job: Job) -> list[str]:
    """Parameters that the service understood otherwise than the row says."""
    return sorted(
        name
        for name, value in (row.request or {}).items()
        if name not in ("metadata", "count") and job.request.get(name, value) != value
    )


def compare(row: DatasetRow, item: Item, label: bytes | None, dataset: Path) -> Reproduction:
    """Hold an item that was made again against its row.

    Under the same execution fingerprint pixels must be equal; under another one the labels must agree to
    `LEAST_IOU`. A control has none to agree: the service's mask of it is where it was drawn anew.

    Args:
        row: of a manifest.
        item: what was made again.
        label: its label, a PNG file.
        dataset: folder of the manifest.

    Raises:
        InvalidParameterError: labels are to be compared, and the data set has none.
    """
    same_fingerprint = item.fingerprint == row.fingerprint
    if item.pixels_sha256 == row.pixels_sha256:
        words = "the same execution fingerprint" if same_fingerprint else "another execution fingerprint"
        return Reproduction("same", f"the same pixels, under {words}", same_fingerprint, True)
    if same_fingerprint:
        return Reproduction(
            "different", "other pixels under the same execution fingerprint", same_fingerprint, False
        )
    others = f"another execution fingerprint ({item.fingerprint}, and not {row.fingerprint})"
    if row.kind == "control":
        reason = f"{others}; a control has no label that could be held against the row"
        return Reproduction("within_tolerance", reason, same_fingerprint, False)
    assert label is not None
    value = iou(find_label(row, dataset).read_bytes(), label, row.crop)
    fits = value >= LEAST_IOU
    return Reproduction(
        "within_tolerance" if fits else "different",
        f"{others}; the labels agree to {value:.4f} (IoU), and {LEAST_IOU:g} is the least",
        same_fingerprint,
        False,
        value,
    )


def iou(first: bytes, second: bytes, crop: Box | None = None) -> float:
    """Intersection over union of two labels, images that are not black where the defect is; 1 if both are black.

    Args:
        crop: which part of the second one the first one is; all of it if None.

    Raises:
        InvalidParameterError: they are no images of one size.
    """
    try:
        masks = [Image.open(io.BytesIO(data)).convert("L").point(_above_black, "1") for data in (first, second)]
    except UnidentifiedImageError as error:
        raise InvalidParameterError("a label of the data set is no image; download it again") from error
    if crop is not None:
        x, y, width, height = crop
        masks[1] = masks[1].crop((x, y, x + width, y + height))
    if masks[0].size != masks[1].size:
        return 0.0
    both, either = (
        _set_pixels(combined) for combined in (ImageChops.logical_and(*masks), ImageChops.logical_or(*masks))
    )
    return both / either if either else 1.0


def _is_ground_truth(path: Path, stem: str) -> bool:
    """Whether a file is an item's label in MVTec's layout, where names begin with digits of their digest.

    Args:
        stem: of the item's image, which has these digits, too, if there is no other layout.
    """
    name = path.stem.removesuffix("_mask")
    return "ground_truth" in path.parts and stem in (name, name.partition("-")[2])


def _above_black(level: int) -> int:
    return 255 if level else 0


def _set_pixels(mask: Image.Image) -> int:
    return mask.size[0] * mask.size[1] - mask.histogram()[0]


def _reference(defect: dict[str, Any]) -> str:
    return f"{defect['defect_type']}@{defect['defect_type_version']}"


def _candidates(source: str, normals: Path) -> Iterator[Path]:
    """Images, those first that are called as the normal image was."""
    if normals.is_file():
        yield normals
        return
    images = images_in(normals)
    names: Sequence[str] = sorted(images, key=lambda name: not (name == source or name.endswith(f"/{source}")))
    for name in names:
        yield images[name]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
