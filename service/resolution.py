"""What a request for an augmentation comes to: its types found, defaults filled in, contradictions refused.

Entries of data sets are resolved by the same functions; see `service.entries`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from flawsmith.contract import problems
from flawsmith.contract.augmentations import (
    MAX_SEED,
    AugmentationForm,
    AugmentationRequest,
    DefectParameters,
    Method,
)
from flawsmith.contract.defect_types import DefectTypeRecord
from flawsmith.contract.resolved import ResolvedAugmentation, ResolvedDefect
from flawsmith.contract.uploads import ImageInfo
from flawsmith.contract.wishes import SizeRange
from service.defect_types import named
from service.fields import missing
from service.problems import ProblemError
from service.resources import Resources

Parameters = AugmentationForm | AugmentationRequest

_OF_ALL = ("guidance", "steps", "part", "min_quality")
"""What is said once of all defects of an image."""


@dataclass(frozen=True)
class Wish:
    """One defect as it was asked for.

    Attributes:
        at: how its fields are called: beside the others where there is one, else in its place in ``defects``.
        masked: a mask was sent for it.
    """

    at: str
    parameters: DefectParameters
    masked: bool

    @property
    def mask_field(self) -> str:
        return self.at + "mask"

    @property
    def type_field(self) -> str:
        return self.at + "defect_type"


def mask_field(number: int) -> str:
    """What the mask of one of several defects is called in JSON, and in problems."""
    return f"defects.{number}.mask"


def wishes(parameters: Parameters, masked: Mapping[str, str]) -> list[Wish]:
    """The defects of a request, whichever way it names them.

    Args:
        masked: fields of the masks that were sent, ``mask``, or ``defects.0.mask`` and so on, with the names that
            they were sent under.

    Raises:
        ProblemError: it names none, or names them in both ways, or a mask is of none of them.
    """
    if parameters.defects is None:
        if parameters.defect_type is None:
            raise missing(AugmentationRequest, "defect_type")
        one = DefectParameters(
            defect_type=parameters.defect_type,
            severity=parameters.severity,
            size=parameters.size,
            contrast=parameters.contrast,
        )
        found = [Wish("", one, "mask" in masked)]
    else:
        for name in ("defect_type", "severity", "size", "contrast"):
            if getattr(parameters, name) is not None:
                raise invalid(
                    name, f"{name} is of a single defect; say it in each entry of defects, or leave defects out"
                )
        found = [
            Wish(f"defects.{number}.", defect, mask_field(number) in masked)
            for number, defect in enumerate(parameters.defects)
        ]
    for field, name in masked.items():
        if field not in [wish.mask_field for wish in found]:
            remedy = (
                "with defect_type it is called mask"
                if parameters.defects is None
                else "with defects each entry has its own mask, which in a form is the file mask_0 for the first"
                " one, mask_1 for the second"
            )
            raise invalid(name, f"{name} is the mask of no defect; {remedy}")
    return found


def resolve(has: Resources, tenant: str, parameters: Parameters, wished: Sequence[Wish]) -> ResolvedAugmentation:
    """The parameters with every default filled in and the seed drawn.

    Raises:
        ProblemError: there is no such defect type, it needs a mask, or two parameters contradict each other.
    """
    records = find_types(has, tenant, wished, parameters.method)
    if parameters.method == "paste" and parameters.control:
        raise invalid(
            "control", "control is for method diffusion: a control pastes nothing; leave one of the two out"
        )
    check_masks(
        wished,
        records,
        lambda wish: wish.mask_field,
        "is missing, and {} has not learned from samples how to draw one; send it, an image of the same size that"
        " is white where the defect may appear",
    )
    _check_aims(parameters, wished)
    black, white = parameters.black_level, parameters.white_level
    if black is not None and white is not None and black >= white:
        raise invalid("black_level", f"black_level must be below white_level; got {black} and {white}")
    chosen = parameters.model_dump(exclude_none=True, include=set(ResolvedAugmentation.model_fields) - {"defects"})
    return ResolvedAugmentation.model_validate(
        {"seed": secrets.randbelow(MAX_SEED + 1)}
        | chosen
        | {"defects": resolve_defects(parameters, wished, records)}
    )


def _check_aims(parameters: Parameters, wished: Sequence[Wish]) -> None:
    """Refuse a contrast of controls, and sizes in µm where that of a pixel is not said."""
    check_units([(wish.at + "size", wish.parameters.size) for wish in wished], parameters.pixel_size_um)
    for wish in wished:
        if parameters.control and wish.parameters.contrast is not None:
            field = wish.at + "contrast"
            raise invalid(field, f"{field} is of a defect, and a control has none; leave one of the two out")


def check_levels(resolved: ResolvedAugmentation, image: ImageInfo) -> None:
    """Refuse black and white levels of an image that needs none.

    Raises:
        ProblemError: the image has 8 bits, and a level was sent.
    """
    for field, level in (("black_level", resolved.black_level), ("white_level", resolved.white_level)):
        if level is not None and image.bit_depth != 16:
            raise invalid(
                field,
                f"{field} is for 16-bit images only, and this image has {image.bit_depth} bits; leave it out",
            )


def find_types(
    has: Resources, tenant: str, wished: Sequence[Wish], method: Method, at: str = ""
) -> list[DefectTypeRecord]:
    """The types of the defects of one image, which can be drawn together and by ``method``.

    Args:
        at: what the fields lie in that hold for all of the defects.

    Raises:
        ProblemError: there is no such type, it keeps nothing to paste, or they are on several backbones.
    """
    records = [named(has, tenant, wish.parameters.defect_type, wish.type_field) for wish in wished]
    for record in records:
        if method == "paste" and record.exemplars_sha256 is None:
            raise invalid(
                at + "method",
                f"{at}method paste needs real defects, and {record.reference} keeps none; leave method out, or"
                " teach a type from samples of yours with POST /v1/defect-types",
            )
    _check_backbones(wished, records)
    return records


def check_masks(
    wished: Sequence[Wish], records: Sequence[DefectTypeRecord], field_of: Callable[[Wish], str], detail: str
) -> None:
    """Refuse a defect without a mask whose type cannot draw one.

    Args:
        field_of: the field that is at fault.
        detail: what is wrong with it and what to do, with ``{}`` where the type is named.

    Raises:
        ProblemError: there is one.
    """
    for wish, record in zip(wished, records, strict=True):
        if not wish.masked and not record.draws_masks:
            field = field_of(wish)
            raise ProblemError(problems.MASK_REQUIRED, f"{field} {detail.format(record.reference)}", field=field)


def resolve_defects(
    parameters: BaseModel, wished: Sequence[Wish], records: Sequence[DefectTypeRecord]
) -> list[ResolvedDefect]:
    """Each defect with what is said of it, then what ``parameters`` say of all, then the defaults of its type."""
    shared = parameters.model_dump(exclude_none=True, include=set(_OF_ALL))
    return [
        ResolvedDefect.model_validate(
            record.defaults.model_dump()
            | shared
            | wish.parameters.model_dump(exclude_none=True, exclude={"mask"})
            | {
                "defect_type": record.name,
                "defect_type_version": record.version,
                "defect_type_tenant": record.tenant,
                "mask": "sent" if wish.masked else "drawn",
            }
        )
        for wish, record in zip(wished, records, strict=True)
    ]


def _check_backbones(wished: Sequence[Wish], records: Sequence[DefectTypeRecord]) -> None:
    """One image is drawn on one backbone."""
    first = records[0]
    for wish, record in zip(wished, records, strict=True):
        if record.backbone != first.backbone:
            raise invalid(
                wish.type_field,
                f"{wish.type_field} {record.reference} is on the backbone {record.backbone}, and"
                f" {first.reference} on {first.backbone}; make versions of both on one with"
                " `flawsmith defects retrain`, or name types that are on one",
            )


def check_units(sizes: Iterable[tuple[str, SizeRange | None]], pixel_size_um: float | None) -> None:
    """Refuse sizes in µm where that of a pixel is not said.

    Args:
        sizes: with the fields that they are.

    Raises:
        ProblemError: there is one.
    """
    field = next((field for field, size in sizes if size is not None and size.unit == "um"), None)
    if field is not None and pixel_size_um is None:
        raise invalid(
            "pixel_size_um",
            f"pixel_size_um is missing, and {field} is in µm; send the edge of a pixel on the part in µm, or say"
            f" {field} in px",
        )


def invalid(field: str, detail: str) -> ProblemError:
    """The problem of a field that fits its schema and not the rest of the request."""
    return ProblemError(problems.INVALID_REQUEST, detail, field=field)
