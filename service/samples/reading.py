"""A set of samples, read: canonical images and masks on disk, and what there is to say of them."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from flawsmith.contract.samples import Advice, SampleEntry, SampleLayout, SampleReport, SampleSize
from flawsmith.contract.uploads import ImageInfo
from service.images.door import Door
from service.samples.advice import advise
from service.samples.archive import Archive
from service.samples.errors import SampleError
from service.samples.intake import Intake, MaskFile, Offer, Taken, distinct, sources_of, warnings_of
from service.samples.layouts import FoundImage, listed
from service.samples.limits import SampleLimits
from service.samples.recognising import EXPECTED, recognise, recognise_normals

T = TypeVar("T")


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
    """Equal for images with equal pixels, and for no others; or for photos of one part, where that is known."""
    mask_pixels: int = 0
    label: str | None = None
    """Classes of its defect, where the set names them."""


@dataclass(frozen=True)
class SampleSet:
    """A set that can be taught from, or asked about: at least one sample with a mask."""

    samples: list[AdmittedSample]
    normals: list[AdmittedSample]
    warnings: list[str]
    advice: list[Advice]
    report: SampleReport
    """The same for a person: what a dry run answers."""

    def without(self, pixels: Container[str], why: str) -> SampleSet:
        """The same without images whose `group` is among ``pixels``, with a warning if there are some."""
        out = [one.source for one in (*self.samples, *self.normals) if one.group in pixels]
        if not out:
            return self
        warnings = [*self.warnings, f"left out, for {why} ({len(out)}): {listed(out)}"]
        samples, normals = (
            [one for one in kind if one.group not in pixels] for kind in (self.samples, self.normals)
        )
        report = self.report.model_copy(
            update={
                "samples": [_entry(one) for one in samples],
                "normals": len(normals),
                "sizes": _sizes([*samples, *normals]),
                "warnings": warnings,
            }
        )
        return replace(self, samples=samples, normals=normals, warnings=warnings, report=report)


@dataclass(frozen=True)
class _Purpose:
    """What a set is for: what the request calls it, and how its reader speaks of it."""

    field: str
    is_taught: bool
    too_many: str
    """What to do about too many images with defects."""
    thinned: str
    """Why normal images are left out."""


_TEACHING = _Purpose(
    "samples", True, "Choose different-looking ones: thirty teach nearly as much.", ": more teach nothing new"
)
_HOLD_OUT = _Purpose("hold_out", False, "Leave some out.", "")


@dataclass(frozen=True)
class Uploaded:
    """An image that was let in before: an upload, or a sample of an earlier training."""

    path: Path
    """Its canonical PNG."""
    info: ImageInfo
    sha256: str
    """Of the bytes sent, in hex: an upload's id without its prefix."""
    source: str = ""
    """What its set called it; empty for an upload."""


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
    return await _read_zip(path, folder, door, limits, _TEACHING, normals, label)


async def read_hold_out(path: Path, folder: Path, door: Door, limits: SampleLimits) -> SampleSet:
    """Read a ZIP of the same layouts whose classes stay apart, as labels; arguments and errors as `read_zip`.

    It has no advice, which is about teaching.
    """
    return await _read_zip(path, folder, door, limits, _HOLD_OUT)


async def _read_zip(
    path: Path,
    folder: Path,
    door: Door,
    limits: SampleLimits,
    purpose: _Purpose,
    normals: Path | None = None,
    label: str | None = None,
) -> SampleSet:
    sent = folder / "sent"
    sent.mkdir()
    intake = Intake(door, folder, limits.max_pixels)
    with ExitStack() as opened:
        archive = opened.enter_context(await asyncio.to_thread(_open, path, limits, purpose.field, door))
        whole = await asyncio.to_thread(recognise, archive, limits)
        layout = whole.only(label) if purpose.is_taught else whole
        defective = [image for image in layout.images if image.regions]
        good = [(archive, image) for image in layout.images if not image.regions]
        warnings = list(layout.notes)
        if normals is not None:
            more = opened.enter_context(await asyncio.to_thread(_open, normals, limits, "normals", door))
            names, notes = recognise_normals(more)
            good += [(more, FoundImage(name)) for name in names]
            warnings += [f"normals: {note}" for note in notes]
        _check_count(len(defective), limits, purpose)
        chosen = _thinned(good, limits.max_normals, warnings, purpose)
        samples = await intake.take(
            _unpacked(archive, image, sent / f"sample-{number}") for number, image in enumerate(defective)
        )
        others = await intake.take(
            (_unpacked(*one, sent / f"normal-{number}") for number, one in enumerate(chosen)), may_end_early=True
        )
    await asyncio.to_thread(shutil.rmtree, sent)
    if len(others) < len(chosen):
        warnings.append(f"{len(chosen) - len(others)} normal images are left out: all images have too many pixels")
    return _sample_set(samples, others, warnings, whole.kind, purpose, label, whole.classes())


async def read_pairs(
    pairs: Sequence[tuple[Uploaded, Uploaded]],
    normals: Sequence[Uploaded],
    folder: Path,
    door: Door,
    limits: SampleLimits,
) -> SampleSet:
    """Read pairs of images that were let in before, image and mask; arguments and errors as `read_zip`.

    Sources of uploads are ``samples.0``, ``samples.1``, … and ``normals.0``, …: what the request calls them.
    """
    _check_count(len(pairs), limits, _TEACHING)
    warnings: list[str] = []
    intake = Intake(door, folder, limits.max_pixels)
    samples = await intake.take(_uploaded(number, *pair) for number, pair in enumerate(pairs))
    chosen = _thinned(list(enumerate(normals)), limits.max_normals, warnings, _TEACHING)
    others = await intake.take((_uploaded(*one) for one in chosen), may_end_early=True)
    if len(others) < len(chosen):
        warnings.append(f"{len(chosen) - len(others)} normal images are left out: all images have too many pixels")
    return _sample_set(samples, others, warnings, "pairs", _TEACHING)


def _open(path: Path, limits: SampleLimits, field: str, door: Door) -> Archive:
    return Archive(path, limits, field, door.limits.max_bytes)


def _check_count(count: int, limits: SampleLimits, purpose: _Purpose) -> None:
    if count == 0:
        raise SampleError(purpose.field, f"no image has both a file and a defect marked on it. {EXPECTED}")
    if count > limits.max_samples:
        raise SampleError(
            purpose.field,
            f"there are {count} images with defects; at most {limits.max_samples} are accepted. "
            f"{purpose.too_many}",
        )


def _thinned(good: list[T], most: int, warnings: list[str], purpose: _Purpose) -> list[T]:
    """At most so many normal images, evenly spread."""
    if len(good) <= most:
        return good
    warnings.append(f"of {len(good)} normal images {most} are taken, evenly spread{purpose.thinned}")
    return [good[i * len(good) // most] for i in range(most)]


def _unpacked(archive: Archive, image: FoundImage, target: Path) -> Offer:
    """An image of a ZIP with its masks, as files whose names begin with that of ``target``."""
    masks = []
    for number, region in enumerate(image.regions):
        if region.mask is not None:
            path = target.with_name(f"{target.name}-mask-{number}")
            archive.extract(region.mask, path)
            masks.append(MaskFile(region.mask, path))
    return Offer(
        image.name,
        archive.field,
        target,
        archive.extract(image.name, target),
        tuple(masks),
        tuple(region.shape for region in image.regions if region.shape is not None),
        image.sizes,
        any(region.is_box for region in image.regions),
        label=image.label,
    )


def _uploaded(number: int, image: Uploaded, mask: Uploaded | None = None) -> Offer:
    field = f"{'normals' if mask is None else 'samples'}.{number}"
    source = image.source or field
    if mask is None:
        return Offer(source, field, image.path, image.sha256, info=image.info)
    file = MaskFile(f"{field}.mask", mask.path, mask.info.lossy)
    return Offer(
        source, f"{field}.image", image.path, image.sha256, (file,), info=image.info, mask_field=f"{field}.mask"
    )


def _sample_set(
    taken: list[Taken],
    normals: list[Taken],
    warnings: list[str],
    layout: SampleLayout,
    purpose: _Purpose,
    label: str | None = None,
    classes: Mapping[str, int] | None = None,
) -> SampleSet:
    """The set without copies, with what there is to say of it."""
    samples = [one for one in taken if one.mask is not None]
    empty = [one for one in taken if one.mask is None]
    if not samples:
        raise SampleError(
            purpose.field, "every mask of the set is empty. Paint in each what is defect in white, on black."
        )
    warnings = warnings + warnings_of([*taken, *normals])
    if empty:
        warnings.append(f"taken as normal images, for nothing is set in their masks: {sources_of(empty)}")
    samples, copies = distinct(samples, lambda one: (one.info.pixels_sha256, one.mask_sha256))
    if copies:
        warnings.append(f"left out, for they are copies of other samples with the same mask: {sources_of(copies)}")
    defective = {one.info.pixels_sha256 for one in samples}
    others = [*empty, *normals]
    known = [one for one in others if one.info.pixels_sha256 in defective]
    if known:
        warnings.append(f"left out of the normal images, for they are among the samples too: {sources_of(known)}")
    others, copies = distinct(
        (one for one in others if one.info.pixels_sha256 not in defective), lambda one: one.info.pixels_sha256
    )
    if copies:
        warnings.append(f"left out, for they are copies of other normal images: {sources_of(copies)}")
    if len(samples) == 1 and purpose.is_taught:
        warnings.append("one sample alone is taught, and nothing is left to judge the type by; send more")
    advice = advise(samples, others) if purpose.is_taught else []
    admitted, good = ([_admitted(one) for one in kind] for kind in (samples, others))
    return SampleSet(
        samples=admitted,
        normals=good,
        warnings=warnings,
        advice=advice,
        report=SampleReport(
            layout=layout,
            label=label,
            classes=dict(classes or {}),
            samples=[_entry(one) for one in admitted],
            normals=len(good),
            sizes=_sizes([*admitted, *good]),
            warnings=warnings,
            advice=advice,
        ),
    )


def _entry(one: AdmittedSample) -> SampleEntry:
    return SampleEntry(
        source=one.source,
        sha256=one.sha256,
        group=one.group,
        width=one.info.width,
        height=one.info.height,
        mask_pixels=one.mask_pixels,
    )


def _sizes(images: Iterable[AdmittedSample]) -> list[SampleSize]:
    counts = Counter((one.info.width, one.info.height) for one in images)
    return [SampleSize(width=width, height=height, count=count) for (width, height), count in counts.most_common()]


def _admitted(one: Taken) -> AdmittedSample:
    return AdmittedSample(
        image=one.image,
        mask=one.mask,
        info=one.info,
        source=one.offer.source,
        sha256=one.offer.sha256,
        group=one.info.pixels_sha256,
        mask_pixels=one.mask_pixels,
        label=one.offer.label,
    )
