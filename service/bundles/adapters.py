"""What may be in an adapter file, as `models.adapters` writes it; a test holds the two together."""

from __future__ import annotations

import json
import re
from typing import Annotated

import numpy as np
from pydantic import Field, JsonValue, StringConstraints, ValidationError

from flawsmith.contract.base import Schema
from flawsmith.contract.bundles import ADAPTER_FILE, BundleError
from flawsmith.contract.defect_types import AnomalyKind, Start
from service.bundles.tensors import TensorFile, parse

FORMAT_VERSION = 3
MAX_TOKENS = 8
_METADATA = "adapter"
_BESIDE = "lora_beside."
_LOW_RANK = re.compile(r"unet\.[A-Za-z0-9_.]{1,300}\.lora_([AB])\.weight")


class AdapterCard(Schema):
    """What a defect type says of itself in its adapter: words and defaults."""

    description: Annotated[str, Field(max_length=2000)] = ""
    part: Annotated[str, Field(max_length=200)] = "part"
    severity: float = Field(default=0.8, gt=0, le=1)
    guidance: float = Field(default=2.0, ge=0, le=100)
    steps: int = Field(default=20, ge=4, le=1000)
    seed_share: float = Field(default=0.8, ge=0, le=1)
    min_quality: float = Field(default=0.05, ge=0, le=1)
    sketch: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{0,63}$")] = ""
    exemplars: float = Field(default=0.0, ge=0, le=1)
    masks: dict[str, JsonValue] = Field(default_factory=dict)
    kind: AnomalyKind = "structural"

    def start(self, has_exemplars: bool) -> Start:
        """What drawings begin on: on a real defect only where some are at hand."""
        if self.exemplars > 0 and has_exemplars:
            return "exemplar"
        return "sketch" if self.sketch else "noise"


class AdapterHeader(Schema):
    """What stands in the metadata of an adapter file."""

    format_version: int = Field(ge=1, le=FORMAT_VERSION)
    name: str
    version: int = Field(ge=0)
    backbone: str
    backbone_digest: str
    card: AdapterCard = AdapterCard()


def check_adapter(data: bytes) -> AdapterHeader:
    """Make sure that a file is an adapter, and nothing else; what its header says.

    Raises:
        BundleError: it is not.
    """
    file = parse(data, ADAPTER_FILE)
    header = _header(file)
    _check_tensors(file)
    return header


def _header(file: TensorFile) -> AdapterHeader:
    if set(file.metadata) != {_METADATA}:
        raise BundleError(f"{ADAPTER_FILE} is no adapter: its metadata must hold its card, and nothing else")
    text = file.metadata[_METADATA]
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{ADAPTER_FILE}: its card is not JSON") from error
    version = values.get("format_version") if isinstance(values, dict) else None
    if type(version) is int and version > FORMAT_VERSION:
        raise BundleError(
            f"{ADAPTER_FILE} has format_version {version}, newer than the {FORMAT_VERSION} that is read here; "
            "update Flawsmith"
        )
    try:
        return AdapterHeader.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        at = ".".join(str(step) for step in first["loc"])[:80]
        raise BundleError(f"{ADAPTER_FILE}: its card: {at}: {first['msg']}") from error


def _check_tensors(file: TensorFile) -> None:
    beside = "" if "tokens" in file.tensors else _BESIDE
    tokens, references = beside + "tokens", beside + "references"
    for name, tensor in file.tensors.items():
        pair = _LOW_RANK.fullmatch(name)
        if name not in (tokens, references) and pair is None:
            raise BundleError(f"{ADAPTER_FILE} holds {name[:80]!r}, which no adapter does")
        if tensor.dtype.kind != "f":
            raise BundleError(f"{ADAPTER_FILE}: {name[:80]} must be of type F16 or F32")
        if not np.isfinite(tensor).all():
            raise BundleError(f"{ADAPTER_FILE}: {name[:80]} are not all finite numbers")
        if pair is not None:
            if tensor.ndim < 2:
                raise BundleError(f"{ADAPTER_FILE}: {name[:80]} must have two dimensions or more")
            other = name.removesuffix(f"{pair[1]}.weight") + ("B" if pair[1] == "A" else "A") + ".weight"
            if other not in file.tensors:
                raise BundleError(f"{ADAPTER_FILE}: low-rank weights come in pairs; {other[:80]} is missing")
    found = file.tensors.get(tokens)
    if found is None or found.ndim != 2 or not 1 <= len(found) <= MAX_TOKENS or not found.shape[1]:
        raise BundleError(f"{ADAPTER_FILE} must hold 1 to {MAX_TOKENS} tokens")
    if references in file.tensors and file.tensors[references].ndim != 2:
        raise BundleError(f"{ADAPTER_FILE}: {references} must have two dimensions")
