"""Where defects of an augmentation may lie: their masks, or what masks may be drawn within."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from fastapi.concurrency import run_in_threadpool
from numpy.typing import NDArray

from flawsmith.contract import problems
from flawsmith.contract.files import EXCLUDE_FILE, MASK_FILE, REGION_FILE, defect_mask_file
from flawsmith.contract.uploads import ImageInfo
from service.images.decoding import read_canonical
from service.images.door import Caller, Door
from service.images.encoding import encode_mask_png
from service.images.errors import ImageError
from service.problems import ProblemError

BOUNDS = {"region": REGION_FILE, "exclude": EXCLUDE_FILE}
"""Fields that bound masks, and what their files are called in a job."""


@dataclass(frozen=True)
class SentMask:
    """A mask, region or exclude on disk.

    Attributes:
        info: known already of an earlier upload, whose file is then canonical.
    """

    path: Path
    info: ImageInfo | None = None


@dataclass(frozen=True)
class AdmittedMask:
    """A mask that was let in through the door: 8-bit grey PNG, and how many pixels are set."""

    png: bytes
    pixels: int


@dataclass(frozen=True)
class Requested:
    """Where defects may lie, as it is kept.

    Attributes:
        files: of the job, by name: the masks that were sent, within their bounds and without what a later one has;
            the bounds themselves where a mask is to be drawn.
        pixels: of each defect's mask; None where it is to be drawn.
        warnings: each beginning with the field it speaks of.
    """

    files: dict[str, bytes]
    pixels: list[int | None]
    warnings: list[str]

    @property
    def all_pixels(self) -> int | None:
        """Of all masks together, which share none; None if one is to be drawn."""
        known = [pixels for pixels in self.pixels if pixels is not None]
        return sum(known) if len(known) == len(self.pixels) else None

    def sha256(self, name: str) -> str | None:
        """Digest of one of the files, if it is there."""
        return hashlib.sha256(self.files[name]).hexdigest() if name in self.files else None


async def requested(
    door: Door,
    info: ImageInfo,
    fields: Sequence[str],
    masks: Mapping[str, AdmittedMask | SentMask],
    bounds: Mapping[str, SentMask],
    folder: Path,
) -> Requested:
    """Let what was not yet admitted in through the door, cut masks to their bounds, and share out what overlaps.

    Args:
        info: of the image, whose size all must have.
        fields: one for the mask of each defect, in order; of two that overlap the later one has the pixels.
        masks: by field; one that is not here is to be drawn. Only that of a single defect may be admitted before.
        bounds: by field, of `BOUNDS`.
        folder: for files in between.

    Raises:
        ProblemError: one of them cannot be used, or leaves nothing.
    """
    admitted = {name: mask for name, mask in masks.items() if isinstance(mask, AdmittedMask)}
    sent = {name: mask for name, mask in masks.items() if isinstance(mask, SentMask)}
    if not sent and not bounds:
        one = admitted.get(fields[0])
        if one is None:
            return Requested({}, [None] * len(fields), [])
        return Requested({MASK_FILE: one.png}, [one.pixels], [])
    found, warnings = await _admitted(door, info, {**sent, **bounds}, folder)
    for name in sent:
        if not found[name].pixels:
            raise _refused(name, "the mask is empty; paint the region where the defect may appear in white")
    admitted |= {name: found[name] for name in sent}
    limits = {name: found[name].png for name in bounds}
    wanted = await run_in_threadpool(_shared_out, (info.height, info.width), fields, admitted, limits)
    return replace(wanted, warnings=warnings + wanted.warnings)


async def _admitted(
    door: Door, info: ImageInfo, several: Mapping[str, SentMask], folder: Path
) -> tuple[dict[str, AdmittedMask], list[str]]:
    """Masks and bounds by field, and warnings; one that is empty is admitted."""
    callers, folders = [], []
    for name, sent in several.items():
        lossy = None if sent.info is None else sent.info.lossy
        callers.append(Caller(None, sent.path, _unwarned(info), lossy))
        folders.append(folder / f"admitted-{name}")
        folders[-1].mkdir()
    names = list(several)
    found: dict[str, AdmittedMask] = {}
    warnings = []
    try:
        async with aclosing(door.admit_several(callers, folders)) as results:
            async for one in results:
                name = names[len(found)]
                assert one.mask is not None
                found[name] = AdmittedMask(await run_in_threadpool(one.mask.read_bytes), one.mask_pixels or 0)
                told = several[name].info
                words = [text.removeprefix("mask: ") for text in one.warnings] + (told.warnings if told else [])
                warnings += [f"{name}: {text}" for text in words]
    except ImageError as error:
        raise _refused(names[len(found)], error.detail) from error
    return found, warnings


def _unwarned(info: ImageInfo) -> ImageInfo:
    """The same image without what was said of it before."""
    return info.model_copy(update={"warnings": []})


def _shared_out(
    size: tuple[int, int], fields: Sequence[str], masks: Mapping[str, AdmittedMask], bounds: Mapping[str, bytes]
) -> Requested:
    """Each pixel within the bounds to the last mask in which it is set.

    Raises:
        ProblemError: nothing is left of a mask, or to draw one in.
    """
    within = within_bounds(size, bounds)
    owner = np.zeros(size, dtype=np.uint8)  # 1 + the place of the mask that has the pixel; 0 of none
    files: dict[str, bytes] = {}
    pixels: list[int | None] = [None] * len(fields)
    warnings: list[str] = []
    for place, name in reversed(list(enumerate(fields))):
        if name not in masks:
            continue
        mask = (read_canonical(masks[name].png).pixels > 0) & within
        if not mask.any():
            raise _nothing_left(name, "no pixel of the mask lies", bounds)
        _, *shared = np.bincount(owner[mask], minlength=len(fields) + 1)
        warnings[:0] = [
            f"{name}: {count} of its pixels are in {above} too, which lies on top and has them"
            for above, count in zip(fields, shared, strict=True)
            if count
        ]
        mask &= owner == 0
        if not mask.any():
            raise _refused(
                name,
                "no pixel of the mask is left beside those of later defects, which lie on top; make them overlap"
                " less, or send the defects in another order",
            )
        owner[mask] = place + 1
        pixels[place] = int(mask.sum())
        files[MASK_FILE if len(fields) == 1 else defect_mask_file(place)] = encode_mask_png(mask)
    drawn = [name for name in fields if name not in masks]
    if not drawn and len(fields) > 1:
        files[MASK_FILE] = encode_mask_png(owner > 0)
    if drawn:
        if not within.any():
            raise _nothing_left(drawn[0], "no pixel of the image lies", bounds)
        if not (within & (owner == 0)).any():
            raise _refused(drawn[0], "the masks of other defects leave no pixel to draw one in; make them smaller")
        files |= {BOUNDS[name]: png for name, png in bounds.items()}
    return Requested(files, pixels, warnings)


def within_bounds(size: tuple[int, int], bounds: Mapping[str, bytes]) -> NDArray[np.bool_]:
    """Where defects may lie: (H, W).

    Args:
        bounds: canonical PNG of region and exclude, as far as there are some.
    """
    within = np.ones(size, dtype=np.bool_)
    if "region" in bounds:
        within &= read_canonical(bounds["region"]).pixels > 0
    if "exclude" in bounds:
        within &= read_canonical(bounds["exclude"]).pixels == 0
    return within


def _nothing_left(name: str, what: str, bounds: Mapping[str, bytes]) -> ProblemError:
    """The problem of bounds that leave nothing; where there are several masks it is the mask's."""
    where = " and ".join({"region": "within region", "exclude": "outside exclude"}[bound] for bound in bounds)
    remedy = " and ".join({"region": "make region larger", "exclude": "exclude less"}[bound] for bound in bounds)
    return _refused(next(iter(bounds)) if name == "mask" else name, f"{what} {where}; {remedy}")


def _refused(name: str, detail: str) -> ProblemError:
    return ProblemError(problems.INVALID_MASK, f"{name}: {detail}", field=name)
