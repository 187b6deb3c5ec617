"""Adapters: what was learned for one defect type, on one backbone, in one safetensors file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from models.rendering import DEFECT_TYPES

MAX_DEFECT_TOKENS = 8
FORMAT_VERSION = 2

_TOKENS = "tokens"
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


@dataclass
class Adapter:
    """One version of a defect type: token embeddings, joined to C2's after the text encoder.

    `tokens` is (n, D) float32 with 1 ≤ n ≤ MAX_DEFECT_TOKENS and D the backbone's token width.
    """

    name: str
    version: int
    backbone: str
    backbone_digest: str
    tokens: Tensor
    card: Card = field(default_factory=Card)

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
        if not torch.isfinite(self.tokens).all():
            raise AdapterError(f"defect type {self.name!r}: tokens are not all finite numbers")

    @classmethod
    def load(cls, path: str | Path) -> Adapter:
        """Read a safetensors file; raises AdapterError when it is not an adapter that this version knows."""
        path = Path(path)
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                names = set(file.keys())
                if "adapter" not in metadata:
                    raise AdapterError(f"{path.name} is no adapter: its metadata holds no adapter card")
                header = _read_header(metadata["adapter"], path.name)
                if unknown := sorted(names - {_TOKENS}):
                    raise AdapterError(
                        f"{path.name} holds tensors this version does not know: {', '.join(unknown)}"
                    )
                if _TOKENS not in names:
                    raise AdapterError(f"{path.name} holds no {_TOKENS!r} tensor")
                tokens = file.get_tensor(_TOKENS).float()
        except FileNotFoundError:
            raise AdapterError(f"there is no adapter file {path}") from None
        except (OSError, SafetensorError) as error:
            raise AdapterError(f"{path.name} is not a readable safetensors file: {error}") from error
        return cls(
            name=header["name"],
            version=header["version"],
            backbone=header["backbone"],
            backbone_digest=header["backbone_digest"],
            tokens=tokens,
            card=Card(**header["card"]),
        )

    def to_bytes(self) -> bytes:
        """The adapter as the bytes of its safetensors file; equal adapters give equal bytes."""
        header = {
            "format_version": FORMAT_VERSION,
            "name": self.name,
            "version": self.version,
            "backbone": self.backbone,
            "backbone_digest": self.backbone_digest,
            "card": vars(self.card),
        }
        tokens = self.tokens.detach().to("cpu", torch.float32).contiguous()
        return save({_TOKENS: tokens}, metadata={"adapter": json.dumps(header, sort_keys=True)})

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
