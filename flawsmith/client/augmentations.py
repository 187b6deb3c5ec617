"""Requests for augmentations: one defect, or several in one image, from files or from uploads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict, TypeVar

import httpx
from pydantic import JsonValue, ValidationError

from flawsmith.client.calls import Call, model_of, new_key, texts_of
from flawsmith.client.errors import InvalidParameterError
from flawsmith.client.images import ImageSource, image_file, upload_id
from flawsmith.contract.augmentations import MASK_FILES, AugmentationForm, DefectParameters, Method
from flawsmith.contract.jobs import AugmentationPlan, Job
from flawsmith.contract.uploads import Upload
from flawsmith.contract.wishes import ContrastRange, SizeRange

T = TypeVar("T")


class AugmentOptions(TypedDict, total=False):
    """What may stand beside images and defects; see `AugmentationParameters` for their meaning."""

    method: Method
    count: int
    seed: int | None
    severity: float | None
    size: SizeRange | Mapping[str, Any] | None
    contrast: ContrastRange | Mapping[str, Any] | None
    guidance: float | None
    steps: int | None
    part: str | None
    min_quality: float | None
    black_level: int | None
    white_level: int | None
    pixel_size_um: float | None
    control: bool
    metadata: dict[str, JsonValue]


@dataclass(frozen=True)
class Defect:
    """One of several defects in one image."""

    defect_type: str
    """A name, or ``name@version``."""
    mask: ImageSource | Upload | None = None
    """Where it may appear; with None each item gets a mask that is drawn, by types that have learned how."""
    severity: float | None = None
    size: SizeRange | Mapping[str, Any] | None = None
    """How long its largest region is to be, such as ``{"min": 50, "max": 200, "unit": "um"}``."""
    contrast: ContrastRange | Mapping[str, Any] | None = None
    """How much that is to change, such as ``{"min": 0.05, "max": 0.2}``."""


@dataclass(frozen=True)
class Subject:
    """What is drawn on, what is drawn, and where."""

    image: ImageSource | Upload
    mask: ImageSource | Upload | None = None
    defect_type: str | None = None
    defects: Sequence[Defect] | None = None
    region: ImageSource | Upload | None = None
    exclude: ImageSource | Upload | None = None

    def sources(self) -> dict[str, ImageSource | Upload]:
        """The images by the names that they have in a form."""
        named = {"image": self.image, "mask": self.mask, "region": self.region, "exclude": self.exclude}
        named |= {name: defect.mask for name, defect in zip(MASK_FILES, self.defects or (), strict=False)}
        return {name: source for name, source in named.items() if source is not None}


def augment(subject: Subject, options: AugmentOptions, idempotency_key: str | None) -> Call[Job]:
    """``POST /v1/augmentations``, under a key of its own if none is given.

    Raises:
        InvalidParameterError: a parameter is out of range, a file cannot be read, or some of image and masks
            are uploads and others are not.
    """
    call = _augmentation(subject, options, model_of(Job), dry_run=False)
    return replace(call, idempotency_key=idempotency_key or new_key())


def plan(subject: Subject, options: AugmentOptions) -> Call[AugmentationPlan]:
    """``POST /v1/augmentations`` as a dry run.

    Raises:
        InvalidParameterError: as `augment`.
    """
    return _augmentation(subject, options, model_of(AugmentationPlan), dry_run=True)


def _augmentation(
    subject: Subject, options: AugmentOptions, read: Callable[[httpx.Response], T], *, dry_run: bool
) -> Call[T]:
    parameters = _parameters(subject, options)
    values: dict[str, JsonValue] = parameters.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    if dry_run:
        values["dry_run"] = True
    sources = subject.sources()
    ids = {name: found for name, source in sources.items() if (found := upload_id(source)) is not None}
    if 0 < len(ids) < len(sources):
        words = " and ".join(", ".join(sources).rsplit(", ", 1))
        raise InvalidParameterError(f"{words} must all be uploads or all be images; upload the others too")
    call: Call[T] = Call("POST", "/v1/augmentations", read, repeatable=True)
    if not ids:
        files = {name: image_file(each, name) for name, each in sources.items() if not isinstance(each, Upload)}
        return replace(call, form=texts_of(values), files=files)
    if parameters.defects is not None:
        values["defects"] = [
            {**defect.model_dump(mode="json", exclude_none=True), "mask": ids.pop(name, None)}
            for name, defect in zip(MASK_FILES, parameters.defects, strict=False)
        ]
    return replace(call, json={**ids, **values})


def _parameters(subject: Subject, options: AugmentOptions) -> AugmentationForm:
    """Everything but the images."""
    values: dict[str, object] = {**options}
    if subject.defect_type is not None:
        values["defect_type"] = subject.defect_type
    if subject.defects is not None:
        values["defects"] = [
            {name: getattr(defect, name) for name in DefectParameters.model_fields} for defect in subject.defects
        ]
    try:
        return AugmentationForm.model_validate(values)
    except ValidationError as error:
        raise InvalidParameterError.from_validation(error) from error
