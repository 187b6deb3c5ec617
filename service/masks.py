"""Where defects of an augmentation may lie: its mask, or what its masks may be drawn within."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fastapi.concurrency import run_in_threadpool
from numpy.typing import NDArray

from flawsmith.contract import problems
from flawsmith.contract.files import EXCLUDE_FILE, MASK_FILE, REGION_FILE
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
class Requested:
    """Where defects may lie, as it is kept.

    Attributes:
        files: of the job, by name: the mask that was sent, within its bounds; without one the bounds themselves.
        pixels: of the mask; None without one.
        warnings: each beginning with the field it speaks of.
    """

    files: dict[str, bytes]
    pixels: int | None
    warnings: list[str]

    def sha256(self, name: str) -> str | None:
        """Digest of one of the files, if it is there."""
        return hashlib.sha256(self.files[name]).hexdigest() if name in self.files else None


async def requested(
    door: Door,
    info: ImageInfo,
    mask_png: bytes | None,
    mask_pixels: int | None,
    bounds: Mapping[str, SentMask],
    folder: Path,
) -> Requested:
    """Let bounds in through the door, and cut the mask to them.

    Args:
        info: of the image, whose size all must have.
        mask_png: the mask, admitted before; None if masks are to be drawn.
        bounds: by field, of `BOUNDS`.
        folder: for files in between.

    Raises:
        ProblemError: a bound cannot be used, or nothing is left.
    """
    files = {} if mask_png is None else {MASK_FILE: mask_png}
    if not bounds:
        return Requested(files, mask_pixels, [])
    admitted, warnings = await _admitted(door, info, bounds, folder)
    left = await run_in_threadpool(_left, (info.height, info.width), mask_png, admitted)
    pixels = int(left.sum())
    if not pixels:
        raise _nothing_left(mask_png is not None, list(bounds))
    if mask_png is not None:
        cut = await run_in_threadpool(encode_mask_png, left)
        return Requested({MASK_FILE: cut}, pixels, warnings)
    kept = {BOUNDS[name]: await run_in_threadpool(path.read_bytes) for name, path in admitted.items()}
    return Requested(kept, None, warnings)


async def _admitted(
    door: Door, info: ImageInfo, bounds: Mapping[str, SentMask], folder: Path
) -> tuple[dict[str, Path], list[str]]:
    """The bounds as 8-bit grey PNG, and warnings; one that is empty is admitted."""
    callers, folders = [], []
    for name, sent in bounds.items():
        lossy = None if sent.info is None else sent.info.lossy
        callers.append(Caller(None, sent.path, _unwarned(info), lossy))
        folders.append(folder / f"admitted-{name}")
        folders[-1].mkdir()
    names = list(bounds)
    found: dict[str, Path] = {}
    warnings = []
    try:
        async with aclosing(door.admit_several(callers, folders)) as several:
            async for one in several:
                name = names[len(found)]
                assert one.mask is not None
                found[name] = one.mask
                told = bounds[name].info
                words = [text.removeprefix("mask: ") for text in one.warnings] + (told.warnings if told else [])
                warnings += [f"{name}: {text}" for text in words]
    except ImageError as error:
        name = names[len(found)]
        raise ProblemError(problems.INVALID_MASK, f"{name}: {error.detail}", field=name) from error
    return found, warnings


def _unwarned(info: ImageInfo) -> ImageInfo:
    """The same image without what was said of it before."""
    return info.model_copy(update={"warnings": []})


def _left(size: tuple[int, int], mask_png: bytes | None, bounds: Mapping[str, Path]) -> NDArray[np.bool_]:
    """Where defects may lie: (H, W)."""
    left = np.ones(size, dtype=np.bool_) if mask_png is None else read_canonical(mask_png).pixels > 0
    if "region" in bounds:
        left &= read_canonical(bounds["region"].read_bytes()).pixels > 0
    if "exclude" in bounds:
        left &= read_canonical(bounds["exclude"].read_bytes()).pixels == 0
    return left


def _nothing_left(masked: bool, names: list[str]) -> ProblemError:
    within = {"region": "within region", "exclude": "outside exclude"}
    where = " and ".join(within[name] for name in within if name in names)
    what = "no pixel of the mask lies" if masked else "no pixel of the image lies"
    remedy = " and ".join({"region": "make region larger", "exclude": "exclude less"}[name] for name in names)
    return ProblemError(problems.INVALID_MASK, f"{what} {where}; {remedy}", field=names[0])
