"""Answers to data sets that cannot be made."""

from __future__ import annotations

from flawsmith.contract import problems
from service.normals.alignment import REFERENCE
from service.normals.bounds import BOUNDS, FIELDS
from service.normals.filing import GROUP_BY
from service.problems import ProblemError
from service.samples.errors import SampleError


def without_masks(number: int, why: str) -> ProblemError:
    """The answer to an entry whose masks are given and that has none."""
    at = f"entries.{number}.masks"
    return ProblemError(
        problems.INVALID_MASK,
        f"{at} is given, and {why}; send masks, in a form as the ZIP masks, in JSON as mask of each normal "
        "image, or leave masks out so that they are drawn",
        field=at,
    )


def unfit(error: SampleError) -> ProblemError:
    """The answer to normal images, or to what belongs to them, of which nothing can be made."""
    first, last = error.field.partition(".")[0], error.field.rpartition(".")[2]
    if error.field == GROUP_BY:
        kind = problems.INVALID_REQUEST
    elif first in FIELDS.values() or last in BOUNDS:
        kind = problems.INVALID_MASK
    elif first == REFERENCE:
        kind = problems.INVALID_IMAGE
    else:
        kind = problems.INVALID_NORMALS
    return ProblemError(kind, error.detail, field=error.field)
