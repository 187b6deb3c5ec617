"""`POST /v1/augmentations`: one normal image, one defect or several, each with its mask → ``count`` items."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, JsonValue

from flawsmith.contract.base import Schema
from flawsmith.contract.ids import DefectTypeRef, UploadId
from flawsmith.contract.wishes import ContrastRange, SizeRange

MAX_COUNT = 64
MAX_DEFECTS = 8
"""In one image."""
MASK_FILES = tuple(f"mask_{number}" for number in range(MAX_DEFECTS))
"""What the masks of several defects are called as files of a form."""
MAX_SEED = 2**53 - 1
"""Seeds stay exact in every JSON reader."""
MAX_METADATA_BYTES = 16 * 1024
MAX_METADATA_DEPTH = 16

Method = Literal["diffusion", "paste"]
"""How items are made: drawn by the type's model, or pasted from its real samples."""

Severity = Annotated[float, Field(gt=0, le=1)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]


def check_metadata(metadata: object) -> object:
    """Return ``metadata`` if it is small, shallow and plain JSON; its type is checked elsewhere.

    Raises:
        ValueError: it is over `MAX_METADATA_BYTES` or `MAX_METADATA_DEPTH`, or holds NaN or broken text.
    """
    level = [metadata]
    for _ in range(MAX_METADATA_DEPTH):
        level = [child for parent in level for child in _children(parent)]
    if level:
        raise ValueError(f"must nest at most {MAX_METADATA_DEPTH} levels deep")
    try:
        encoded = json.dumps(metadata, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except TypeError:
        return metadata
    except ValueError as error:  # NaN and infinity; lone surrogates
        raise ValueError("must hold finite numbers and valid Unicode only") from error
    if len(encoded) > MAX_METADATA_BYTES:
        raise ValueError(f"must be at most {MAX_METADATA_BYTES} bytes as JSON; got {len(encoded)}")
    return metadata


def _children(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


Metadata = Annotated[dict[str, JsonValue], Field(max_length=64), BeforeValidator(check_metadata)]


class DefectParameters(Schema):
    """One of several defects in one image: everything but its mask."""

    model_config = ConfigDict(strict=True)

    defect_type: DefectTypeRef
    """``name`` or ``name@version``; the newest version if none is named."""
    severity: Severity | None = None
    """How strong this defect is; the type's default if absent."""
    size: SizeRange | None = None
    """How long its largest region is to be; as it comes if absent."""
    contrast: ContrastRange | None = None
    """How much its largest region is to change; as it comes if absent."""


class DefectRequest(DefectParameters):
    """One of several defects in one image, its mask an upload made before."""

    mask: UploadId | None = None
    """Where this defect may appear: an upload of the same size as the image. If absent, each item gets one that is
    drawn beside the masks of the other defects, by defect types that have learned how their masks look."""


class AugmentationParameters(Schema):
    """Everything in an augmentation request but the images, and the list of several defects."""

    defect_type: DefectTypeRef | None = None
    """``name`` or ``name@version``; the newest version if none is named. Either this or ``defects`` is sent."""
    method: Method = "diffusion"
    """``paste`` blends in real defects, of types that keep some of their samples; it has no controls and looks at
    neither severity, guidance, steps nor part."""
    count: Annotated[int, Field(ge=1, le=MAX_COUNT)] = 1
    """How many items to draw."""
    seed: Seed | None = None
    """Drawn by the service and returned if absent."""
    severity: Severity | None = None
    """How strong the defect is, and how deep its drawing begins; the type's default if absent. Beside ``defects``
    each has its own."""
    size: SizeRange | None = None
    """How long the largest region of the defect is to be; as it comes if absent. Each item's mask is drawn that
    long, or cut out of the one that is sent, which then says where the defect may lie. Items that miss it after a
    bounded number of attempts are not accepted, and say why. Beside ``defects`` each has its own."""
    contrast: ContrastRange | None = None
    """How much that region is to change; as it comes if absent. Attempts that miss it are followed by stronger or
    weaker ones, beginning at ``severity``. Beside ``defects`` each has its own."""
    guidance: Annotated[float, Field(ge=0, le=20)] | None = None
    """Classifier-free guidance weight g; 1 is one pass a step; the type's default if absent."""
    steps: Annotated[int, Field(ge=4, le=250)] | None = None
    """Length of the DDIM grid over all of T; the type's default if absent."""
    part: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Text of C2, what the part is; the type's own if absent."""
    min_quality: Annotated[float, Field(ge=0, le=1)] | None = None
    """Items below are drawn again, a bounded number of times; the service's default if absent. So are items of
    which no pixel could be labelled, whatever it is."""
    black_level: Annotated[int, Field(ge=0, le=65534)] | None = None
    """16-bit images only: the value shown to the model as black; fitted on the window if absent."""
    white_level: Annotated[int, Field(ge=1, le=65535)] | None = None
    """16-bit images only: the value shown to the model as white; fitted on the window if absent. Where the photo
    itself shows nothing as bright, results reach up to it."""
    pixel_size_um: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """Edge of one pixel on the part in µm; then measures come in µm too."""
    control: bool = False
    """Draw controls instead: regenerated under C2 alone, without a defect. Their masks say where."""
    metadata: Metadata = Field(default_factory=dict)
    """Yours, kept to the end; at most 64 keys and 16 KiB as JSON."""
    dry_run: bool = False
    """Check everything, answer what would be done, and queue nothing."""


class AugmentationForm(AugmentationParameters):
    """Form: image and masks are files of it."""

    defects: Annotated[list[DefectParameters], Field(min_length=1, max_length=MAX_DEFECTS)] | None = None
    """Several defects in one image, as JSON, in place of ``defect_type``, ``mask``, ``severity``, ``size`` and
    ``contrast``. The mask of the first one is the file ``mask_0`` of the form, that of the second ``mask_1``, and
    so on. Where masks overlap the later defect has the pixels. All types must be on one backbone."""


class AugmentationRequest(AugmentationParameters):
    """JSON: image and masks are uploads made before."""

    image: UploadId
    """The normal image: an id that ``POST /v1/uploads`` answered."""
    mask: UploadId | None = None
    """Where the defect may appear: an upload of the same size as the image. If absent, each item gets one that is
    drawn, by defect types that have learned how their masks look."""
    defects: Annotated[list[DefectRequest], Field(min_length=1, max_length=MAX_DEFECTS)] | None = None
    """Several defects in one image, in place of ``defect_type``, ``mask``, ``severity``, ``size`` and
    ``contrast``. Where masks overlap the later defect has the pixels. All types must be on one backbone."""
    region: UploadId | None = None
    """Where masks may lie: an upload of the same size as the image; a mask that is sent is cut to it."""
    exclude: UploadId | None = None
    """Where masks may not lie: an upload of the same size as the image; it is cut out of a mask that is sent."""
