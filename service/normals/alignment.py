"""Reference images: what is drawn on one is carried over to every normal image that registers on it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flawsmith.contract.datasets import Alignment
from flawsmith.contract.specs import Align
from service.alignment.registration import Doubt, limit
from service.images.door import Door
from service.images.errors import DecoderLostError, ImageError
from service.normals.bounds import BOUNDS, Bound, SentBound
from service.samples.errors import SampleError
from service.samples.intake import LOT, Intake, Offer, Taken, warnings_of
from service.samples.layouts import clipped, listed

ALIGN = "align"
REFERENCE = "reference"

_PROGRAM = "service.alignment.child"
_MAX_LOST = 8
"""Processes that the images of one set may break before the set is refused as a whole."""


@dataclass(frozen=True)
class SentReference:
    """A reference image with what is drawn on it, as it was sent, not yet on disk."""

    field: str
    """What the request calls it: what errors name."""
    fetch: Callable[[Path], Offer]
    """Brings it to a path."""
    drawn: Mapping[Bound, SentBound]
    """At least one."""
    align: Align
    max_rotation: float = 180.0
    """Degrees to either side."""


@dataclass(frozen=True)
class Reference:
    """The same, canonical, on disk."""

    sent: SentReference
    taken: Taken
    drawn: Mapping[Bound, Path]
    """Masks of its size, not empty."""
    warnings: list[str]


@dataclass
class Aligned:
    """What came of the normal images, by their places."""

    files: dict[Bound, dict[int, Path | None]] = field(default_factory=lambda: {bound: {} for bound in BOUNDS})
    """What was carried over to each; None where nothing of an exclude is within its frame."""
    alignments: dict[int, Alignment] = field(default_factory=dict)
    """Of those that were registered."""
    reasons: dict[int, str] = field(default_factory=dict)
    """Why the others are left out."""


async def take_reference(sent: SentReference, folder: Path, door: Door, max_pixels: int) -> Reference:
    """Let a reference in.

    Args:
        folder: empty, for its canonical files.

    Raises:
        SampleError: it or something drawn on it cannot be read, is of another size, or is empty.
        DoorBusyError, DoorError: as of `Intake.take`.
    """
    incoming = folder / "sent"
    incoming.mkdir(parents=True)
    intake = Intake(door, folder, max_pixels)
    offer = await asyncio.to_thread(sent.fetch, incoming / "image")
    (image,) = await intake.take([offer])
    info = image.info.model_copy(update={"warnings": []})
    bounds = list(sent.drawn.items())

    def offers() -> list[Offer]:
        return [
            Offer(
                offer.source,
                one.field,
                image.image,
                offer.sha256,
                (one.fetch(incoming / bound),),
                info=info,
                mask_field=one.field,
            )
            for bound, one in bounds
        ]

    found = await intake.take(await asyncio.to_thread(offers))
    drawn: dict[Bound, Path] = {}
    for (bound, one), taken in zip(bounds, found, strict=True):
        if taken.mask is None:
            raise SampleError(one.field, "nothing is set in it. Draw on it in white, or leave it out.")
        drawn[bound] = taken.mask
    return Reference(sent, image, drawn, warnings_of([image, *found]))


async def carry_over(
    reference: Reference,
    normals: Mapping[int, Taken],
    own: Mapping[Bound, Collection[int]],
    folder: Path,
    door: Door,
) -> Aligned:
    """Carry what is drawn on a reference over to normal images.

    Args:
        normals: by their places.
        own: places of those that have something of their own, to which nothing of the kind is carried over.
        folder: empty, for what is carried over.

    Raises:
        SampleError: nothing registers on the reference, or nothing can.
        DoorBusyError, DoorError: as of `Intake.take`.
    """
    found = Aligned()
    wanted = {number: [bound for bound in reference.drawn if number not in own[bound]] for number in normals}
    concerned = [number for number, bounds in wanted.items() if bounds]
    _leave_out_other_sizes(reference, normals, concerned, found)
    to_register = []
    for number in concerned:
        if number in found.reasons:
            continue
        if reference.sent.align != "none" and not _is_same(reference, normals[number]):
            to_register.append(number)
            continue
        target = folder / f"{number:05d}"
        target.mkdir(parents=True)
        for bound in wanted[number]:  # each its own, for masks are cut in their files
            found.files[bound][number] = target / f"{bound}.png"
            await asyncio.to_thread(shutil.copyfile, reference.drawn[bound], target / f"{bound}.png")
        if reference.sent.align != "none":
            found.alignments[number] = Alignment(x_px=0, y_px=0, angle_deg=0, residual_px=0)
    lost = 0
    while to_register:
        lot, to_register = to_register[:LOT], to_register[LOT:]
        left = await _register(reference, normals, wanted, lot, folder, door, found)
        lost += bool(left)
        if lost > _MAX_LOST:
            last = normals[left[0]].offer.source
            raise SampleError(ALIGN, f"{clipped(last)}, and others before it: {found.reasons[left[0]]}")
        to_register = left[1:] + to_register
    if concerned and len(found.reasons) == len(concerned):
        first = min(found.reasons)
        raise SampleError(
            ALIGN,
            f"none of {len(concerned)} normal images can be laid on the reference; the first one, "
            f"{clipped(normals[first].offer.source)}: {found.reasons[first]}",
        )
    return found


def _is_same(reference: Reference, normal: Taken) -> bool:
    return normal.info.pixels_sha256 == reference.taken.info.pixels_sha256


def _leave_out_other_sizes(
    reference: Reference, normals: Mapping[int, Taken], concerned: Sequence[int], found: Aligned
) -> None:
    def size(one: Taken) -> str:
        return f"{one.info.width}×{one.info.height}"

    own = size(reference.taken)
    for number in concerned:
        if size(normals[number]) != own:
            found.reasons[number] = f"it is {size(normals[number])}, and the reference {own}."
    if concerned and len(found.reasons) == len(concerned):
        raise SampleError(
            reference.sent.field,
            f"the reference is {own}, and no normal image is; they are "
            f"{listed(sorted({size(normals[number]) for number in concerned}))}. Send one of their size, with "
            "what is drawn on it.",
        )


async def _register(
    reference: Reference,
    normals: Mapping[int, Taken],
    wanted: Mapping[int, Sequence[Bound]],
    lot: Sequence[int],
    folder: Path,
    door: Door,
    found: Aligned,
) -> list[int]:
    """Register some with one process; those from the one on over which it broke, none if it did not."""
    requests = [
        _request(reference, normals[number], wanted[number], folder / f"{number:05d}", door) for number in lot
    ]
    async with aclosing(door.answers(requests, _PROGRAM)) as answers:
        for place, number in enumerate(lot):
            try:
                done = await anext(answers)
            except DecoderLostError as error:
                found.reasons[number] = error.detail
                return list(lot[place:])
            fault: ImageError | None = done.get("refused")
            if fault is not None:
                found.reasons[number] = fault.detail
            else:
                _file(reference, number, wanted[number], folder / f"{number:05d}", done, found)
    return []


def _request(
    reference: Reference, normal: Taken, wanted: Sequence[Bound], target: Path, door: Door
) -> dict[str, Any]:
    target.mkdir(parents=True, exist_ok=True)  # a process that broke may have come before
    return {
        "image": str(normal.image.resolve()),
        "reference": str(reference.taken.image.resolve()),
        "drawn": {bound: str(path.resolve()) for bound, path in reference.drawn.items()},
        "wanted": list(wanted),
        "folder": str(target.resolve()),
        "method": reference.sent.align,
        "max_rotation": reference.sent.max_rotation,
        "go_on": True,
        "timeout_s": door.timeout_s,
    }


def _file(
    reference: Reference, number: int, wanted: Sequence[Bound], target: Path, done: dict[str, Any], found: Aligned
) -> None:
    """Take down what became of a normal image."""
    x, y, angle = done["place"]
    if done["doubt"] is not None:
        found.reasons[number] = _reason(reference, done["doubt"], done["residual"])
        return
    gone = [bound for bound in wanted if bound != "exclude" and not done["pixels"][bound]]
    if gone:
        turned = f" and turned by {angle:g}°" if angle else ""
        found.reasons[number] = (
            f"nothing of the {' and '.join(gone)} of the reference is within its frame: the part is shifted by "
            f"{x:g}, {y:g} pixels{turned}."
        )
        return
    for bound in wanted:
        found.files[bound][number] = target / f"{bound}.png" if done["pixels"][bound] else None
    found.alignments[number] = Alignment(x_px=x, y_px=y, angle_deg=angle, residual_px=round(done["residual"], 2))


def _reason(reference: Reference, doubt: Doubt, residual: float | None) -> str:
    info = reference.taken.info
    match doubt:
        case "plain":
            raise SampleError(
                reference.sent.field,
                "it shows too little to register photos on: edges are needed in several places. Send another one, "
                "or say align: none.",
            )
        case "differs":
            how_far = (
                ""
                if residual is None
                else f", by {residual:.1f} pixels where {limit(info.width, info.height):.1f} may be"
            )
            return f"it does not register on the reference: what both show does not agree{how_far}."
        case "elsewhere":
            return "it does not register on the reference for sure: it fits as well at another place" + (
                " or turned; a smaller max_rotation_deg may tell." if reference.sent.align == "rigid" else "."
            )
