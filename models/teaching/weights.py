"""What of a U-Net learns: low-rank weights by peft, on a copy of its own."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from torch import Tensor, nn

TARGETS: Mapping[str, tuple[str, ...]] = {
    "attention": ("to_q", "to_k", "to_v", "to_out.0"),
    "convolution": ("to_q", "to_k", "to_v", "to_out.0", "conv1", "conv2"),
}
"""Which modules may learn, by how their names end."""


def attached(unet: Any, rank: int, targets: str) -> Any:
    """A copy of a U-Net with low-rank weights that alone will learn; ΔW begins at 0; its own are frozen, and share
    their memory with the original's."""
    frozen = {id(own): nn.Parameter(own.detach(), requires_grad=False) for own in unet.parameters()}
    copied = copy.deepcopy(unet, frozen)
    names = list(TARGETS[targets])
    copied.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=names, init_lora_weights="gaussian"))
    return copied


def low_rank(unet: Any) -> dict[str, Tensor]:
    """The low-rank weights of such a U-Net, by reference, named as `models.lora.Weights` are."""
    return dict(get_peft_model_state_dict(unet, adapter_name="default"))
