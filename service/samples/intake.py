"""The images and masks of a set on their way through the door, a few dozen at a time."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flawsmith.contract.uploads import ImageInfo
from service.images.decoding import read_canonical
from service.images.door import AdmittedFiles, Caller, Door
from service.images.encoding import encode_mask_png
from service.images.errors import DecoderLostError, ImageError
from service.samples.errors import SampleError
from service.samples.layouts import Size, clipped, listed
from service.samples.shapes import Shape, ShapeError, drawn

LOT = 64
"""Images that one decoding process lets in: starting one takes longer than decoding a photo."""

_MAX_LOST = 8
"""Decoding processes that the images of one set may break before the set is refused as a whole."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class MaskFile:
    """A mask as it was sent."""

    name: str
    path: Path
    lossy: bool | None = None
    """Given for the canonical PNG of an earlier upload: whether that was compressed with loss."""


@dataclass(frozen=True)
class Offer:
    """An image of a set before it is decoded."""

    source: str
    """What the set calls it."""
    field: str
    """What the request calls it: what errors name."""
    image: Path
    """As it was sent; the canonical PNG if ``info`` is given."""
    sha256: str
    """Of the image's file as it was sent, in hex."""
    masks: tuple[MaskFile, ...] = ()
    """All that is set in any of them is the defect."""
    shapes: tuple[Shape, ...] = ()
    """The same, instead of mask files."""
    sizes: frozenset[Size] = frozenset()
    """Of the image, as those say who drew the shapes."""
    has_box: bool = False
    """One of the shapes is a rectangle."""
    info: ImageInfo | None = None
    """Of an earlier upload."""
    mask_field: str | None = None
    """What the request calls its mask, if it has a name of its own."""
    label: str | None = None
    """Classes of what is marked in it, where the set names them."""


@dataclass(frozen=True)
class Taken:
    """An image of a set, canonical, on disk."""

    offer: Offer
    image: Path
    info: ImageInfo
    mask: Path | None
    """8-bit grey PNG, 0 or 255; None if nothing is set or no mask was offered."""
    mask_sha256: str | None
    """Of what is set in it; equal masks of one size have equal ones."""
    mask_pixels: int = 0
    mask_extent: int = 0
    """Longer side of the box around all that is set, in pixels."""
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Refused:
    """An image of a set that is left out."""

    offer: Offer
    detail: str
    """What is wrong with it, and what to do about it."""


class Intake:
    """Takes the images of a set in.

    Args:
        door: decodes.
        folder: for the canonical files.
        max_pixels: of all images together.
    """

    def __init__(self, door: Door, folder: Path, max_pixels: int) -> None:
        self._door = door
        self._folder = folder
        self._pixels_left = max_pixels
        self._count = 0
        self._lost = 0

    async def take(
        self,
        offers: Iterable[Offer],
        *,
        may_end_early: bool = False,
        refused: list[Refused] | None = None,
    ) -> list[Taken]:
        """Take ``offers`` in, in their order; the files that were sent are deleted as they are done with.

        Args:
            offers: made in a thread, a lot at a time, so they may unpack their files when they are asked for.
            may_end_early: leave the rest out when the pixels are used up, instead of refusing the set.
            refused: images that cannot be used are added here and left out, instead of refusing the set.

        Raises:
            SampleError: an image or mask cannot be used, or all together have too many pixels.
            DoorBusyError: no room now.
            DoorError: the decoding process failed by a fault of ours.
        """
        coming = iter(offers)
        taken: list[Taken] = []
        while lot := await asyncio.to_thread(list, islice(coming, LOT)):
            left = lot
            while left:
                left, ended = await self._take_lot(left, taken, refused, may_end_early=may_end_early)
                if ended:
                    return taken
            for offer in lot:
                if offer.info is None:
                    for path in (offer.image, *(mask.path for mask in offer.masks)):
                        path.unlink(missing_ok=True)
        return taken

    async def _take_lot(
        self, lot: list[Offer], taken: list[Taken], refused: list[Refused] | None, *, may_end_early: bool
    ) -> tuple[list[Offer], bool]:
        """Take some in with one decoding process.

        Returns:
            Those behind one that broke it, and whether the pixels are used up.
        """
        go_on = refused is not None
        async with aclosing(self._door.admit_several(*self._callers(lot), go_on=go_on)) as admitted:
            for place, offer in enumerate(lot):
                try:
                    files = [await self._next(admitted, offer, mask) for mask in _parts(offer)]
                except DecoderLostError as error:
                    self._lost += 1
                    if refused is None or self._lost > _MAX_LOST:
                        raise _refused(offer, None, error.detail) from error
                    refused.append(Refused(offer, error.detail))
                    return lot[place + 1 :], False
                fault = next((file.error for file in files if file.error is not None), None)
                if fault is not None and refused is not None:
                    refused.append(Refused(offer, fault.detail))
                    continue
                done = await asyncio.to_thread(self._finish, offer, files)
                self._pixels_left -= done.info.width * done.info.height
                if self._pixels_left < 0:
                    if may_end_early:
                        return [], True
                    raise SampleError(
                        offer.field.partition(".")[0],
                        f"up to {clipped(offer.source)} the images have more pixels together than are "
                        "accepted. Send fewer images, or crop them to the part.",
                    )
                taken.append(done)
        return [], False

    def _callers(self, lot: Sequence[Offer]) -> tuple[list[Caller], list[Path]]:
        """Who comes to the door, and a folder for each: an image comes with its first mask."""
        callers, folders = [], []
        for offer in lot:
            for mask in _parts(offer):
                comes_first = mask is None or mask is offer.masks[0]
                image = offer.image if comes_first and offer.info is None else None
                if image is not None or mask is not None:
                    path = None if mask is None else mask.path
                    lossy = None if mask is None else mask.lossy
                    callers.append(Caller(image, path, offer.info, lossy))
                    folder = self._folder / f"{self._count:05d}"
                    folder.mkdir()
                    folders.append(folder)
                    self._count += 1
        return callers, folders

    async def _next(
        self, admitted: AsyncGenerator[AdmittedFiles, None], offer: Offer, mask: MaskFile | None
    ) -> AdmittedFiles:
        if offer.info is not None and mask is None:
            return AdmittedFiles(
                offer.image, offer.info, None, None, [f"image: {text}" for text in offer.info.warnings]
            )
        try:
            return await anext(admitted)
        except DecoderLostError as error:
            if mask is not None:
                raise _refused(offer, mask if error.field == "mask" else None, error.detail) from error
            raise
        except ImageError as error:
            raise _refused(offer, mask if error.field == "mask" else None, error.detail) from error

    def _finish(self, offer: Offer, files: list[AdmittedFiles]) -> Taken:
        first = files[0]
        info = offer.info or first.info
        assert info is not None
        image = first.image or offer.image
        warnings = [text for each in files for text in each.warnings]
        mask = self._mask(offer, files, info)
        if mask is None or not mask.any():
            return Taken(offer, image, info, None, None, warnings=warnings)
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        png = encode_mask_png(mask)
        path = first.mask or image.with_name("mask.png")
        path.write_bytes(png)
        return Taken(
            offer,
            image,
            info,
            path,
            hashlib.sha256(png).hexdigest(),
            int(mask.sum()),
            int(max(rows[-1] - rows[0], columns[-1] - columns[0])) + 1,
            warnings,
        )

    def _mask(self, offer: Offer, files: list[AdmittedFiles], info: ImageInfo) -> Mask | None:
        """Everything that is set for an image (H, W); None if there is neither a mask nor a shape."""
        if offer.shapes:
            other = sorted(offer.sizes - {(info.width, info.height)})
            if other:
                width, height = other[0]
                raise _refused(
                    offer,
                    None,
                    f"its annotation was made on an image of {width}×{height}, and the image is "
                    f"{info.width}×{info.height} with its EXIF orientation applied. Send the image that was "
                    "annotated, or annotate this one.",
                )
            try:
                return drawn(offer.shapes, info.height, info.width)
            except ShapeError as error:
                raise _refused(
                    offer, None, f"its annotation cannot be drawn: {error}. Export it again."
                ) from error
        together: Mask | None = None
        for file, each in zip(offer.masks, files, strict=False):
            assert each.mask is not None
            mask = read_canonical(each.mask.read_bytes()).pixels > 0
            if mask.shape != (info.height, info.width):
                raise _refused(
                    offer,
                    file,
                    f"The mask is {mask.shape[1]}×{mask.shape[0]} and the image {info.width}×{info.height}. "
                    "Send a mask of exactly the image's size.",
                )
            together = mask if together is None else together | mask
        return together


def _parts(offer: Offer) -> Iterator[MaskFile | None]:
    """The masks of an offer, each of which comes to the door, or the image alone if it has none."""
    return iter(offer.masks or (None,))


def warnings_of(images: Iterable[Taken]) -> list[str]:
    """Warnings of single files, each said once for all that it holds for."""
    by_text: dict[str, list[Taken]] = {}
    for one in images:
        for text in one.warnings:
            by_text.setdefault(text, []).append(one)
    return [f"{sources_of(of)}: {text}" for text, of in by_text.items()]


def sources_of(images: Sequence[Taken]) -> str:
    """What the set calls some of them, for a person."""
    return listed([one.offer.source for one in images])


def distinct(images: Iterable[Taken], key: Callable[[Taken], object]) -> tuple[list[Taken], list[Taken]]:
    """The first of each key, and the others."""
    first: dict[object, Taken] = {}
    copies = []
    for one in images:
        if first.setdefault(key(one), one) is not one:
            copies.append(one)
    return list(first.values()), copies


def _refused(offer: Offer, mask: MaskFile | None, detail: str) -> SampleError:
    if mask is None:
        return SampleError(offer.field, f"{clipped(offer.source)}: {detail}")
    return SampleError(
        offer.mask_field or offer.field, f"{clipped(mask.name)}, mask of {clipped(offer.source)}: {detail}"
    )
