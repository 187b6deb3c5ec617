"""Heads of attention with what rides along (`models.region`)."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

_ROWS = 16


def ridden(x: Tensor, riders: Tensor) -> Tensor:
    """(B, n, heads, d) and riders (B, n, r), the same for every head, both contiguous, → (B, n, heads, d + r)."""
    batch, count, heads, width = x.shape
    more = riders.shape[-1]
    y = x.new_empty(batch, count, heads, width + more)
    rows = batch * count
    columns = triton.next_power_of_2(width + more)
    _ridden[(triton.cdiv(rows, _ROWS), heads)](x, riders, y, rows, heads, width, more, _ROWS, columns)
    return y


@triton.jit
def _ridden(x, riders, y, rows, heads, width, more, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
    head = tl.program_id(1)
    column = tl.arange(0, COLUMNS)[None, :]
    own, riding = (row < rows) & (column < width), (row < rows) & (column >= width) & (column < width + more)
    values = tl.load(x + (row * heads + head) * width + column, mask=own, other=0.0)
    beside = tl.load(riders + row * more + column - width, mask=riding, other=0.0)
    tl.store(y + (row * heads + head) * (width + more) + column, tl.where(own, values, beside), mask=own | riding)
