"""What is compared: the method, the same without background keys, and plain inpainting."""

from __future__ import annotations

from dataclasses import dataclass

from models.training.recipe import Ablation


@dataclass(frozen=True)
class Variant:
    """One way to teach a type and to draw it.

    Attributes:
        taught: what the teaching goes without.
        background: whether backgrounds are learned from, too: the second term, and the prior's preservation.
        drawn: what the drawing goes without.
    """

    taught: Ablation
    background: bool
    drawn: Ablation


_FULL, _BLIND = Ablation(), Ablation(background_keys=False)
_OPEN = Ablation(masked_self=False, masked_cross=False)

FULL, WITHOUT_KEYS, BLINDED, INPAINTING = "full", "no keys", "blinded", "inpainting"
VARIANTS: dict[str, Variant] = {
    FULL: Variant(_FULL, True, _FULL),
    WITHOUT_KEYS: Variant(_BLIND, True, _BLIND),
    BLINDED: Variant(_FULL, True, _BLIND),
    INPAINTING: Variant(_OPEN, False, _OPEN),
}
"""
full: the method.
no keys: taught and drawn with attention in which cells inside the mask see none outside.
blinded: taught as in full, and blind only while it draws.
inpainting: the plain loss on z_t inside the mask alone, the background there as it is, noised; nothing else is
    learned, and no attention is masked. While it draws, the background is put back at each step, as for all.
"""
