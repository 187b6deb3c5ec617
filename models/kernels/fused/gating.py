"""The gate of a feed-forward layer (Shazeer, arXiv 2002.05202)."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

_COLUMNS = 1024


def gated(x: Tensor) -> Tensor:
    """a · gelu(b) of x = (a, b): (…, 2 D), contiguous, → (…, D), computed in float32."""
    width = x.shape[-1] // 2
    y = x.new_empty(*x.shape[:-1], width)
    _gated[(y.numel() // width, triton.cdiv(width, _COLUMNS))](x, y, width, _COLUMNS)
    return y


@triton.jit
def _gated(x, y, width, COLUMNS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < width
    value = tl.load(x + row * 2 * width + column, mask=inside, other=0.0).to(tl.float32)
    gate = tl.load(x + row * 2 * width + width + column, mask=inside, other=0.0).to(tl.float32)
    gelu = 0.5 * gate * (1.0 + tl.erf(gate * 0.7071067811865476))
    tl.store(y + row * width + column, value * gelu, mask=inside)
