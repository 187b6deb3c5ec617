"""What is compared: the method, the same without background keys or background, and plain inpainting."""

from __future__ import annotations

from dataclasses import dataclass

from models.drawing import Outside
from models.training.recipe import Ablation


@dataclass(frozen=True)
class Variant:
    """One way to teach a type and to draw it.

    Attributes:
        taught: what the teaching goes without.
        background: whether backgrounds are learned from, too: the second term, and the prior's preservation.
        drawn: what the drawing goes without.
        outside: what is seen outside the mask while it draws; as usual if None.
    """

    taught: Ablation
    background: bool
    drawn: Ablation
    outside: Outside | None = None


_FULL, _BLIND = Ablation(), Ablation(background_keys=False)
_UNSEEN = Ablation(background=False)
_OPEN = Ablation(masked_self=False, masked_cross=False)

FULL, WITHOUT_KEYS, BLINDED, UNSEEN, INPAINTING = "full", "no keys", "blinded", "unseen", "inpainting"
VARIANTS: dict[str, Variant] = {
    FULL: Variant(_FULL, True, _FULL),
    WITHOUT_KEYS: Variant(_BLIND, True, _BLIND),
    BLINDED: Variant(_FULL, True, _BLIND),
    UNSEEN: Variant(_UNSEEN, True, _FULL, "nothing"),
    INPAINTING: Variant(_OPEN, False, _OPEN),
}
"""
full: the method.
no keys: taught and drawn with attention in which cells inside the mask see none outside.
blinded: taught as in full, and blind only while it draws.
unseen: taught and drawn with nothing to be seen outside the mask. Without keys convolutions still see, and what
    they see goes on from cell to cell inside.
inpainting: the plain loss on z_t inside the mask alone, the background there as it is, noised; nothing else is
    learned, and no attention is masked. While it draws, the background is put back at each step, as for all.
"""
