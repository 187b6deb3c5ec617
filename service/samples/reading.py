"""A set of samples, read: canonical images and masks on disk, and what there is to say of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flawsmith.contract.samples import Advice, SampleReport
from flawsmith.contract.uploads import ImageInfo
from service.images.door import Door
from service.samples.limits import SampleLimits


@dataclass(frozen=True)
class AdmittedSample:
    """One image of a set, canonical, on disk."""

    image: Path
    """Canonical PNG."""
    mask: Path | None
    """8-bit grey PNG of the same size, 0 or 255, not empty; None for a normal image."""
    info: ImageInfo
    source: str
    """Name of the image's file in the set."""
    sha256: str
    """Of the image's file as it was sent, in hex."""
    group: str
    """Equal for images with equal pixels, and for no others."""
    mask_pixels: int = 0


@dataclass(frozen=True)
class SampleSet:
    """A set that can be taught from: at least one sample with a mask."""

    samples: list[AdmittedSample]
    normals: list[AdmittedSample]
    warnings: list[str]
    advice: list[Advice]
    report: SampleReport
    """The same for a person: what a dry run answers."""


@dataclass(frozen=True)
class Uploaded:
    """An image of an earlier upload."""

    path: Path
    """Its canonical PNG."""
    info: ImageInfo
    sha256: str
    """Of the bytes sent, in hex: the upload's id without its prefix."""


async def read_zip(
    path: Path,
    folder: Path,
    door: Door,
    limits: SampleLimits,
    *,
    normals: Path | None = None,
    label: str | None = None,
) -> SampleSet:
    """Read a ZIP of samples: MVTec layout, COCO, LabelMe, CVAT, or folders ``images/`` and ``masks/``.

    Args:
        path: the ZIP as it was sent.
        folder: empty, for the canonical files of the set.
        door: lets each image and mask in.
        limits: of the set as a whole.
        normals: a second ZIP, of normal images alone, beside those that the first has.
        label: the class of the set to take; all are one type if absent.

    Raises:
        SampleError: the set cannot be taught from; names the file at fault and the remedy.
        DoorBusyError: no room now.
        DoorError: a decoding process failed by a fault of ours.
    """
    raise NotImplementedError


async def read_pairs(
    pairs: Sequence[tuple[Uploaded, Uploaded]],
    normals: Sequence[Uploaded],
    folder: Path,
    door: Door,
    limits: SampleLimits,
) -> SampleSet:
    """Read pairs of earlier uploads, image and mask; arguments and errors as `read_zip`.

    Sources are ``samples.0``, ``samples.1``, … and ``normals.0``, …: what the request calls them.
    """
    raise NotImplementedError
