"""Between the photo's pixels and the model's: resizing windows and blending overlapping ones."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from models.windows import Plot


def resized(x: Tensor, side: int) -> Tensor:
    """(B, C, S, S) → (B, C, side, side): bicubic, antialiased when it shrinks; a copy when nothing changes."""
    if x.shape[-1] == side:
        return x.clone()
    return F.interpolate(x, size=(side, side), mode="bicubic", antialias=side < x.shape[-1], align_corners=False)


def as_model_input(window: NDArray[np.float32], side: int) -> Tensor:
    """(S, S, 1 or 3) in unit range → (3, side, side) float32 in [0, 1]; grey becomes three equal channels."""
    x = torch.from_numpy(np.ascontiguousarray(window.transpose(2, 0, 1)))[None]
    return resized(x, side).clamp(0, 1).expand(-1, 3, -1, -1)[0].contiguous()


def model_windows(frame: NDArray[np.float32], plot: Plot, side: int) -> list[Tensor]:
    """The windows of a plot's frame (height, width, 1 or 3) as the model sees them: (3, side, side) each."""
    corners = [(window.y - plot.y, window.x - plot.x) for window in plot.windows]
    return [as_model_input(frame[y : y + plot.side, x : x + plot.side], side) for y, x in corners]


def taper(side: int) -> NDArray[np.float32]:
    """(side, side) weights in (0, 1] that fall towards a window's border, so that overlapping windows blend."""
    ramp = np.minimum(np.arange(side) + 0.5, side - np.arange(side) - 0.5) / (side / 4)
    line = np.minimum(ramp, 1.0).astype(np.float32)
    return np.outer(line, line)
