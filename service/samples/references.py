"""Which images of a set its annotation files mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.samples.errors import SampleError
from service.samples.layouts import Names, listed


@dataclass(frozen=True)
class Reference:
    """An image as an annotation file names it."""

    path: str
    """Of the computer that the file was made on."""
    beside: str
    """The annotation file."""

    def __str__(self) -> str:
        return f"{self.path} (of {self.beside})"


@dataclass(frozen=True, order=True)
class _Closeness:
    """How much of an image's path a reference says; the greater, the closer."""

    exact: bool
    """The image lies where the reference leads to, so that nothing else counts."""
    parts: int = 0
    """Of both paths from their ends, file names among them, that are alike."""
    whole: bool = False
    """These are all of the reference."""


def meant(references: Sequence[Reference], names: Names) -> tuple[list[str | None], list[str]]:
    """The image that each of several references means, and notes on those that mean none.

    Annotation files may name images that the set does not have, and that are called like others which it has:
    where several references lead to one image, the closest mean it.

    Raises:
        SampleError: of the closest that lead to an image two differ, and neither leads to where it lies.
    """
    found = {one: names.find(one.path, one.beside) for one in references}
    leading: dict[str, list[tuple[_Closeness, Reference]]] = {}
    for one, image in found.items():
        if image is not None:
            leading.setdefault(image, []).append((_closeness(one, image, names), one))
    mean: dict[Reference, str] = {}
    for image, ranked in leading.items():
        closest = max(close for close, _ in ranked)
        those = [one for close, one in ranked if close == closest]
        paths = sorted({str(names.path(one.path)) for one in those})
        if len(paths) > 1 and not closest.exact:
            raise SampleError(
                "samples",
                f"{image} may be what annotations call {listed(paths)}; send all of these images in folders "
                "called so, or annotations of those alone that the ZIP has",
            )
        mean |= dict.fromkeys(those, image)
    lost = [one for one in found if one not in mean]
    several = [str(one) for one in lost if found[one] is None and names.has_several(one.path)]
    absent = [str(one) for one in lost if found[one] is not None or not names.has_several(one.path)]
    notes = [f"left out, for the ZIP does not have them: {listed(absent)}"] if absent else []
    if several:
        notes.append(f"left out, for each may be any of several images that are called so: {listed(several)}")
    return [mean.get(one) for one in references], notes


def _closeness(reference: Reference, image: str, names: Names) -> _Closeness:
    if names.near(reference.path, reference.beside) == image:
        return _Closeness(exact=True)
    theirs, ours = names.path(reference.path).parts, names.path(image).parts
    alike = 0
    for one, other in zip(reversed(theirs), reversed(ours), strict=False):
        if one != other:
            break
        alike += 1
    return _Closeness(False, alike, alike == len(theirs))
