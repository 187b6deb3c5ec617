"""Normal images of a data set, read: canonical on disk, each with what belongs to it."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path

from flawsmith.contract.datasets import Alignment, LeftOut
from flawsmith.contract.specs import Align
from flawsmith.contract.uploads import ImageInfo
from service.images.decoding import read_canonical
from service.images.door import Caller, Door
from service.images.errors import ImageError
from service.normals.alignment import ALIGN, REFERENCE, Aligned, SentReference, carry_over, take_reference
from service.normals.bounds import BOUNDS, FIELDS, Bound, SentBound, belonging, cut, is_zip
from service.normals.metadata import FIELD, Metadata, read_metadata, without_pixel_size
from service.normals.names import NormalNames
from service.samples.archive import Archive
from service.samples.errors import SampleError
from service.samples.intake import Intake, MaskFile, Offer, Refused, Taken, distinct, warnings_of
from service.samples.layouts import Names, clipped, listed
from service.samples.limits import SampleLimits
from service.samples.recognising import strangers

NORMALS = "normals"
ZIPS = (NORMALS, *FIELDS.values())
"""Files of a form that are ZIPs of images."""


class UnreadableError(Exception):
    """A normal image cannot be fetched, and is left out; says why."""


@dataclass(frozen=True)
class SentNormal:
    """A normal image as it was sent, not yet on disk."""

    name: str
    fetch: Callable[[Path], Offer]
    """Brings it to a path; may raise `UnreadableError`."""
    size: int = 0
    """Bytes of its file, where that was not let in before."""
    bounds: Mapping[Bound, SentBound] = field(default_factory=dict)
    metadata: Metadata = field(default_factory=dict)
    metadata_field: str = FIELD
    """What the request calls its metadata."""


@dataclass(frozen=True)
class NormalImage:
    """A normal image that was taken, on disk.

    Attributes:
        image: canonical PNG.
        mask: where defects may appear, within region and outside exclude: 8-bit grey PNG, 0 or 255, not empty.
        region, exclude: the same kind of file, where masks may and may not be drawn; not empty.
        has_room: something is left to draw a mask in.
        sha256: of the file as it was sent, in hex.
        alignment: how it lies to the reference from which something was carried over.
    """

    name: str
    sha256: str
    image: Path
    info: ImageInfo
    mask: Path | None
    region: Path | None
    exclude: Path | None
    has_room: bool
    pixel_size_um: float | None
    metadata: Metadata
    alignment: Alignment | None = None


@dataclass(frozen=True)
class NormalSet:
    """The normal images of a data set: at least one, no two alike."""

    images: list[NormalImage]
    left_out: list[LeftOut]
    warnings: list[str]


async def read_zips(
    files: Mapping[str, Path],
    folder: Path,
    door: Door,
    limits: SampleLimits,
    align: Align | None = None,
    max_rotation: float | None = None,
) -> NormalSet:
    """Read the files of a form.

    Args:
        files: by name in the form: ``normals``, and ``masks``, ``regions``, ``excludes``, ``normals_metadata`` as
            far as they were sent. A region or exclude that is an image holds for all normal images of its size;
            with a ``reference`` it is drawn on that one, and so is a mask.
        folder: empty, for what comes of them.
        door: lets each image in.
        limits: of all normal images together.
        align, max_rotation: how normal images are laid on the reference, and degrees by which they may be turned.

    Raises:
        SampleError: no data set can be made of them; names the file at fault and the remedy.
        DoorBusyError: no room now.
        DoorError: a decoding process failed by a fault of ours.
    """
    with ExitStack() as opened:

        def open_zip(name: str) -> Archive:
            return opened.enter_context(Archive(files[name], limits, name, door.limits.max_bytes))

        archive = await asyncio.to_thread(open_zip, NORMALS)
        within = Names(archive.names)
        names = sorted(within.images())
        if not names:
            raise SampleError(
                NORMALS, "the ZIP holds no image that is read here. Send a ZIP of photos of good parts."
            )
        check_count(len(names), limits)
        bare = [SentNormal(name, _unpacked(archive, name), archive.size(name)) for name in names]
        sent, of_all = await asyncio.to_thread(_with_files, bare, files, open_zip)
        reference, of_all = _laid(files, of_all, align, max_rotation)
        found = await _read(sent, of_all, folder, door, limits, reference)
        notes = [f"{NORMALS}: {note}" for note in strangers(within)]
        return replace(found, warnings=[*notes, *found.warnings])


async def read_imported(
    imported: Sequence[SentNormal],
    files: Mapping[str, Path],
    folder: Path,
    door: Door,
    limits: SampleLimits,
    align: Align | None = None,
    max_rotation: float | None = None,
    reference: SentReference | None = None,
) -> NormalSet:
    """Read images that lie in storage.

    Args:
        imported: alone, with what is known of each.
        files: of a form, but for ``normals``; names in them are those of ``imported``. Metadata among them stand
            in place of what was known.
        reference: of a request without files.

    The others, and errors, as of `read_zips`.
    """
    with ExitStack() as opened:

        def open_zip(name: str) -> Archive:
            return opened.enter_context(Archive(files[name], limits, name, door.limits.max_bytes))

        sent, of_all = await asyncio.to_thread(_with_files, imported, files, open_zip)
        among_files, of_all = _laid(files, of_all, align, max_rotation)
        return await _read(sent, of_all, folder, door, limits, among_files or reference)


def _with_files(
    sent: Sequence[SentNormal], files: Mapping[str, Path], open_zip: Callable[[str], Archive]
) -> tuple[list[SentNormal], dict[Bound, Path]]:
    """Normal images with what other files of the form say of each, and what holds for all of them.

    Raises:
        SampleError: as of `read_zips`.
    """
    normals = NormalNames([one.name for one in sent])
    said: dict[str, Metadata] = {}
    if FIELD in files:
        said = read_metadata(files[FIELD], normals)
        sent = [replace(one, metadata={}, metadata_field=FIELD) for one in sent]
    bounds: dict[str, dict[Bound, SentBound]] = {}
    of_all: dict[Bound, Path] = {}
    for bound, name in FIELDS.items():
        if name not in files:
            continue
        if (bound != "mask" or REFERENCE in files) and not is_zip(files[name]):
            of_all[bound] = files[name]
            continue
        archive = open_zip(name)
        for normal, file in belonging(archive, normals).items():
            bounds.setdefault(normal, {})[bound] = SentBound(name, _unpacked_mask(archive, file))
    return [
        replace(one, bounds=bounds.get(one.name, {}), metadata=said.get(one.name, one.metadata)) for one in sent
    ], of_all


async def read_uploads(
    sent: Sequence[SentNormal],
    folder: Path,
    door: Door,
    limits: SampleLimits,
    reference: SentReference | None = None,
) -> NormalSet:
    """Read images that were let in before; arguments and errors as `read_zips`."""
    check_count(len(sent), limits)
    return await _read(sent, {}, folder, door, limits, reference)


def _laid(
    files: Mapping[str, Path], of_all: dict[Bound, Path], align: Align | None, max_rotation: float | None
) -> tuple[SentReference | None, dict[Bound, Path]]:
    """The reference among the files of a form, on which is drawn what held for all, and what holds for all.

    Raises:
        SampleError: nothing is drawn on it.
    """
    if REFERENCE not in files:
        return None, of_all
    return _on_reference(files[REFERENCE], of_all, align, max_rotation), {}


def _on_reference(
    image: Path, drawn: Mapping[Bound, Path], align: Align | None, max_rotation: float | None
) -> SentReference:
    """A reference as the files of a form say it.

    Raises:
        SampleError: nothing is drawn on it.
    """
    if not drawn:
        raise SampleError(
            REFERENCE,
            f"nothing is drawn on it. Send {listed(list(FIELDS.values()))} as one image of its size, and not as a"
            " ZIP.",
        )

    def fetch(path: Path) -> Offer:
        shutil.copyfile(image, path)
        with path.open("rb") as file:
            return Offer(REFERENCE, REFERENCE, path, hashlib.file_digest(file, "sha256").hexdigest())

    def fetching(bound: Bound, file: Path) -> Callable[[Path], MaskFile]:
        def fetch_mask(path: Path) -> MaskFile:
            shutil.copyfile(file, path)
            return MaskFile(FIELDS[bound], path)

        return fetch_mask

    bounds = {bound: SentBound(FIELDS[bound], fetching(bound, file)) for bound, file in drawn.items()}
    return SentReference(REFERENCE, fetch, bounds, align or "none", max_rotation or 180.0)


def check_count(count: int, limits: SampleLimits, field: str = NORMALS) -> None:
    """Raise `SampleError` if there are more normal images than a data set takes."""
    if count > limits.max_normals:
        raise SampleError(
            field,
            f"there are {count:,} normal images; at most {limits.max_normals:,} are accepted. Send fewer, or "
            "make several data sets.",
        )


def _unpacked(archive: Archive, name: str) -> Callable[[Path], Offer]:
    return lambda path: Offer(name, archive.field, path, archive.extract(name, path))


def _unpacked_mask(archive: Archive, name: str) -> Callable[[Path], MaskFile]:
    def fetch(path: Path) -> MaskFile:
        archive.extract(name, path)
        return MaskFile(name, path)

    return fetch


async def _read(
    sent: Sequence[SentNormal],
    of_all: Mapping[Bound, Path],
    folder: Path,
    door: Door,
    limits: SampleLimits,
    reference: SentReference | None = None,
) -> NormalSet:
    # Before anything is decoded, for it may be refused.
    said = [without_pixel_size(one.metadata, one.metadata_field, one.name) for one in sent]
    on = None
    if reference is not None:
        on = await take_reference(reference, folder / REFERENCE, door, limits.max_pixels)
    normals, reasons = await _take(sent, folder / "images", door, limits)
    warnings = [*(on.warnings if on else []), *warnings_of(normals.values())]
    files: dict[Bound, dict[int, Path | None]] = {}
    for bound in BOUNDS:
        files[bound] = {}
        if bound in of_all:
            shared, notes = await _take_shared(bound, of_all[bound], normals, folder, door)
        else:
            shared, notes = await _take_bound(bound, sent, normals, folder / bound, door, limits)
        files[bound] |= shared
        warnings += notes
    aligned = Aligned()
    if on is not None:
        aligned = await carry_over(on, normals, files, folder / ALIGN, door)
        for bound in BOUNDS:
            files[bound] |= aligned.files[bound]
        reasons |= aligned.reasons
    left_out = [
        LeftOut(name=clipped(sent[number].name, 200), reason=reasons[number]) for number in sorted(reasons)
    ]
    if left_out:
        names = listed([one.name for one in left_out])
        warnings.insert(0, f"normal images left out ({len(left_out)}): {names}")
    images, bare, full = [], [], []
    for number, taken in normals.items():
        if number in reasons:
            continue
        alignment = aligned.alignments.get(number)
        one = await asyncio.to_thread(_finished, sent[number].name, taken, files, number, said[number], alignment)
        images.append(one)
        if number in files["mask"] and one.mask is None:
            bare.append(one.name)
        if not one.has_room:
            full.append(one.name)
    if bare:
        warnings.append(
            "nothing of the mask is left within region and outside exclude, so entries whose masks are given leave"
            f" out ({len(bare)}): {listed(bare)}"
        )
    if full:
        warnings.append(
            "region and exclude leave no pixel of the image, so entries whose masks are drawn leave out"
            f" ({len(full)}): {listed(full)}"
        )
    return NormalSet(images, left_out, warnings)


async def _take(
    sent: Sequence[SentNormal], folder: Path, door: Door, limits: SampleLimits
) -> tuple[dict[int, Taken], dict[int, str]]:
    """The images by their place among those sent, without copies, and why the others are left out.

    Raises:
        SampleError: none is left.
    """
    incoming = folder / "sent"
    incoming.mkdir(parents=True)
    places: dict[Path, int] = {}
    reasons: dict[int, str] = {}

    def offers() -> Iterator[Offer]:
        for number, one in enumerate(sent):
            if one.size > door.limits.max_bytes:
                reasons[number] = f"it has {one.size:,} bytes; at most {door.limits.max_bytes:,} are accepted."
                continue
            path = incoming / str(number)
            places[path] = number
            try:
                offer = one.fetch(path)
            except UnreadableError as error:
                reasons[number] = str(error)
                continue
            yield offer

    refused: list[Refused] = []
    taken = await Intake(door, folder, limits.max_pixels).take(offers(), refused=refused)
    reasons |= {places[one.offer.image]: one.detail for one in refused}
    if not taken:
        first = min(reasons)
        raise SampleError(
            NORMALS,
            f"none of the {len(sent)} normal images can be read; the first one, {clipped(sent[first].name)}: "
            f"{reasons[first]}",
        )
    kept, copies = distinct(taken, lambda one: one.info.pixels_sha256)
    originals = {one.info.pixels_sha256: sent[places[one.offer.image]].name for one in kept}
    reasons |= {
        places[one.offer.image]: f"it has the same pixels as {clipped(originals[one.info.pixels_sha256])}."
        for one in copies
    }
    return {places[one.offer.image]: one for one in kept}, reasons


async def _take_bound(
    bound: Bound,
    sent: Sequence[SentNormal],
    normals: Mapping[int, Taken],
    folder: Path,
    door: Door,
    limits: SampleLimits,
) -> tuple[dict[int, Path | None], list[str]]:
    """Files of one kind by the place of their normal image, None where nothing is set in one; and warnings."""
    numbers = [number for number in normals if bound in sent[number].bounds]
    if not numbers:
        return {}, []
    incoming = folder / "sent"
    incoming.mkdir(parents=True)

    def offers() -> Iterator[Offer]:
        for number in numbers:
            one, taken = sent[number].bounds[bound], normals[number]
            info = taken.info.model_copy(update={"warnings": []})
            mask = one.fetch(incoming / str(number))
            yield Offer(
                sent[number].name,
                one.field,
                taken.image,
                taken.offer.sha256,
                (mask,),
                info=info,
                mask_field=one.field,
            )

    found = await Intake(door, folder, limits.max_pixels).take(offers())
    for path in incoming.iterdir():
        path.unlink()
    return {number: one.mask for number, one in zip(numbers, found, strict=True)}, warnings_of(found)


async def _take_shared(
    bound: Bound, path: Path, normals: Mapping[int, Taken], folder: Path, door: Door
) -> tuple[dict[int, Path | None], list[str]]:
    """The same of one file for all normal images of its size.

    Raises:
        SampleError: it cannot be read, or no normal image has its size.
    """
    name, target = FIELDS[bound], folder / f"{bound}-of-all"
    target.mkdir()
    try:
        async with aclosing(door.admit_several([Caller(None, path)], [target])) as results:
            one = await anext(results)
    except ImageError as error:
        raise SampleError(name, f"{error.detail} Or send a ZIP with one for each normal image.") from error
    assert one.mask is not None
    height, width = await asyncio.to_thread(_size, one.mask)
    fit = [number for number, taken in normals.items() if (taken.info.height, taken.info.width) == (height, width)]
    if not fit:
        sizes = {f"{taken.info.width}×{taken.info.height}" for taken in normals.values()}
        raise SampleError(
            name,
            f"the image is {width}×{height}, and no normal image is; they are {listed(sorted(sizes))}. Send one "
            "of their size, or a ZIP with one for each.",
        )
    warnings = [text.replace("mask:", f"{name}:", 1) for text in one.warnings]
    if len(fit) < len(normals):
        warnings.append(
            f"{name}: the image is {width}×{height} and holds for {len(fit)} of {len(normals)} normal images"
        )
    return dict.fromkeys(fit, one.mask if one.mask_pixels else None), warnings


def _size(path: Path) -> tuple[int, int]:
    height, width = read_canonical(path.read_bytes()).pixels.shape[:2]
    return height, width


def _finished(
    name: str,
    taken: Taken,
    files: Mapping[Bound, Mapping[int, Path | None]],
    number: int,
    said: tuple[Metadata, float | None],
    alignment: Alignment | None,
) -> NormalImage:
    """A normal image with its mask cut to its bounds."""
    mask, region, exclude = (files[bound].get(number) for bound in BOUNDS)
    is_empty = number in files["region"] and region is None
    bounds: dict[Bound, Path] = {}
    if region is not None:
        bounds["region"] = region
    if exclude is not None:
        bounds["exclude"] = exclude
    has_mask, has_room = (False, False) if is_empty else cut(taken.info, mask, bounds)
    metadata, pixel_size_um = said
    return NormalImage(
        name=name,
        sha256=taken.offer.sha256,
        image=taken.image,
        info=taken.info,
        mask=mask if has_mask else None,
        region=region,
        exclude=exclude,
        has_room=has_room,
        pixel_size_um=pixel_size_um,
        metadata=metadata,
        alignment=alignment,
    )
