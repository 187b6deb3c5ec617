"""Adapters: what was learned for one defect type, on one backbone, in one safetensors file.

Format 2 holds the tokens alone. Format 3 holds low-rank weights too, named as diffusers names them in a LoRA file,
so that `load_lora_weights` reads it as it is; diffusers wants "lora" in the name of every tensor of such a file.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from models import lora
from models.rendering import DEFECT_TYPES

STRUCTURAL, LOGICAL = "structural", "logical"
"""Kinds of anomalies, as MVTec LOCO names them: a defect of a part, or of how parts are arranged."""
MAX_DEFECT_TOKENS = 8
FORMAT_VERSION = 3

_TOKENS = "tokens"
_BESIDE = "lora_beside."
_REFERENCES = "references"
_UNET = "unet."
_SINCE_3 = ("exemplars", "masks")
_REQUIRED = ("name", "version", "backbone", "backbone_digest")


class AdapterError(Exception):
    """An adapter cannot be used; the message says why, and what would."""


class _OnBackbone(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def token_width(self) -> int: ...
    @property
    def unet(self) -> Any: ...


@dataclass
class Card:
    """What a defect type says of itself: words and defaults."""

    description: str = ""
    part: str = "part"  # C2's text when a request names none
    severity: float = 0.8  # (0, 1], depth of the inversion
    guidance: float = 2.0  # 1 is C1 alone
    steps: int = 20  # on the whole of T
    seed_share: float = 0.8  # ρ, the seed's share of the noise inside the mask
    min_quality: float = 0.05  # below it an item is drawn again
    sketch: str = ""  # the rendered type whose sketches items begin on; none is a noise start
    exemplars: float = 0.0  # share of items that begin on a real defect, where some are at hand
    masks: dict[str, Any] = field(default_factory=dict)  # the mask distribution; empty is none
    kind: str = STRUCTURAL  # or LOGICAL: items see the whole image, and begin on nothing of what was there

    @property
    def logical(self) -> bool:
        """Whether the defect is a wrong arrangement."""
        return self.kind == LOGICAL


@dataclass
class Adapter:
    """One version of a defect type: token embeddings, joined to C2's after the text encoder.

    Attributes:
        tokens: (n, D) float32 with 1 ≤ n ≤ MAX_DEFECT_TOKENS and D the backbone's token width.
        weights: low-rank weights of the U-Net, worn while its items are denoised; empty is none.
        references: (n, F) float32, features of its real examples; None where there are none.
    """

    name: str
    version: int
    backbone: str
    backbone_digest: str
    tokens: Tensor
    card: Card = field(default_factory=Card)
    weights: lora.Weights = field(default_factory=dict)
    references: Tensor | None = None

    def __post_init__(self) -> None:
        if self.tokens.ndim != 2 or not 1 <= self.tokens.shape[0] <= MAX_DEFECT_TOKENS:
            raise AdapterError(
                f"defect type {self.name!r}: tokens must be (1 to {MAX_DEFECT_TOKENS}, width), "
                f"not {tuple(self.tokens.shape)}"
            )
        if self.card.sketch and self.card.sketch not in DEFECT_TYPES:
            raise AdapterError(
                f"defect type {self.name!r}: {self.card.sketch!r} is no rendered type that could be sketched; "
                f"those are {', '.join(DEFECT_TYPES)}"
            )
        if self.card.kind not in (STRUCTURAL, LOGICAL):
            raise AdapterError(
                f"defect type {self.name!r}: {self.card.kind!r} is no kind of anomaly; "
                f"those are {STRUCTURAL} and {LOGICAL}"
            )
        held = {_TOKENS: self.tokens, **self.weights}
        if self.references is not None:
            held[_REFERENCES] = self.references
        for name, tensor in held.items():
            if not torch.isfinite(tensor).all():
                raise AdapterError(f"defect type {self.name!r}: {name} are not all finite numbers")

    @classmethod
    def load(cls, path: str | Path) -> Adapter:
        """Read a safetensors file; raises AdapterError when it is not an adapter that this version knows."""
        path = Path(path)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise AdapterError(f"there is no adapter file {path}") from None
        except OSError as error:
            raise AdapterError(f"{path.name} cannot be read: {error}") from error
        return cls.from_bytes(data, path.name)

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "the adapter") -> Adapter:
        """What `to_bytes` gave; `name` is what errors call it.

        Raises:
            AdapterError: these are the bytes of something else.
        """
        header = _read_header(_metadata(data, name), name)
        try:
            tensors = load(data)
        except (SafetensorError, ValueError) as error:
            raise AdapterError(f"{name} is not a readable safetensors file: {error}") from error
        beside = (
            {_TOKENS: _TOKENS} if _TOKENS in tensors else {_BESIDE + key: key for key in (_TOKENS, _REFERENCES)}
        )
        if unknown := sorted(key for key in set(tensors) - set(beside) if not key.startswith(_UNET)):
            raise AdapterError(f"{name} holds tensors this version does not know: {', '.join(unknown)}")
        held = {short: tensors[key].float() for key, short in beside.items() if key in tensors}
        if _TOKENS not in held:
            raise AdapterError(f"{name} holds no {_TOKENS!r} tensor")
        return cls(
            name=header["name"],
            version=header["version"],
            backbone=header["backbone"],
            backbone_digest=header["backbone_digest"],
            tokens=held[_TOKENS],
            card=Card(**header["card"]),
            weights={key.removeprefix(_UNET): tensors[key] for key in sorted(tensors) if key.startswith(_UNET)},
            references=held.get(_REFERENCES),
        )

    def to_bytes(self) -> bytes:
        """The adapter as the bytes of its safetensors file; equal adapters give equal bytes.

        Low-rank weights and references are kept in half precision.
        """
        taught = bool(self.weights) or self.references is not None
        card = {key: value for key, value in vars(self.card).items() if key != "kind" or self.card.logical}
        if not taught:
            card = {key: value for key, value in card.items() if key not in _SINCE_3 or value}
        header = {
            "format_version": FORMAT_VERSION if taught else 2,
            "name": self.name,
            "version": self.version,
            "backbone": self.backbone,
            "backbone_digest": self.backbone_digest,
            "card": card,
        }
        tensors = {_TOKENS: _stored(self.tokens, torch.float32)}
        if self.references is not None:
            tensors[_REFERENCES] = _stored(self.references, torch.float16)
        if taught:
            tensors = {_BESIDE + key: tensor for key, tensor in tensors.items()}
        tensors |= {_UNET + key: _stored(tensor, torch.float16) for key, tensor in self.weights.items()}
        return save(tensors, metadata={"adapter": json.dumps(header, sort_keys=True)})

    def save(self, path: str | Path) -> None:
        """Write the safetensors file."""
        Path(path).write_bytes(self.to_bytes())

    @property
    def sha256(self) -> str:
        """`sha256:…` of the file's bytes."""
        return "sha256:" + hashlib.sha256(self.to_bytes()).hexdigest()

    def check(self, backbone: _OnBackbone) -> None:
        """Raise AdapterError unless the adapter was learned on exactly this backbone."""
        if self.backbone_digest != backbone.digest:
            raise AdapterError(
                f"defect type {self.name!r} was trained on backbone {self.backbone} ({self.backbone_digest}), "
                f"not on {backbone.name} ({backbone.digest}); load that backbone or train the type on this one"
            )
        if self.tokens.shape[1] != backbone.token_width:
            raise AdapterError(
                f"defect type {self.name!r} has tokens of width {self.tokens.shape[1]}, "
                f"backbone {backbone.name} has {backbone.token_width}"
            )
        try:
            lora.check(backbone.unet, self.weights)
        except lora.LoraError as error:
            raise AdapterError(f"defect type {self.name!r} does not fit {backbone.name}: {error}") from error


def _stored(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.detach().to("cpu", dtype).contiguous()


def _metadata(data: bytes, name: str) -> str:
    """The adapter's card as it stands in the header of its file: safetensors reads it from files alone."""
    try:
        length = int.from_bytes(data[:8], "little")
        found = json.loads(data[8 : 8 + length])["__metadata__"]["adapter"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise AdapterError(
            f"{name} is no adapter: its metadata holds no adapter card, or it is not a readable safetensors file"
        ) from None
    if not isinstance(found, str):
        raise AdapterError(f"{name} is no adapter: its card is no text")
    return found


def _read_header(text: str, file_name: str) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except json.JSONDecodeError as error:
        raise AdapterError(f"{file_name}: the adapter card is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise AdapterError(f"{file_name}: the adapter card is not a JSON object")
    version = header.get("format_version")
    if not isinstance(version, int) or version < 1:
        raise AdapterError(f"{file_name}: the adapter card names no format_version")
    if version > FORMAT_VERSION:
        raise AdapterError(
            f"{file_name} has format_version {version}, newer than the {FORMAT_VERSION} this version reads; "
            "update Flawsmith"
        )
    if missing := [key for key in _REQUIRED if key not in header]:
        raise AdapterError(f"{file_name}: the adapter card lacks {', '.join(missing)}")
    card = header.setdefault("card", {})
    if not isinstance(card, dict):
        raise AdapterError(f"{file_name}: card must be a JSON object")
    if unknown := sorted(set(card) - set(Card.__dataclass_fields__)):
        raise AdapterError(f"{file_name}: the adapter card has unknown fields: {', '.join(unknown)}")
    return header
