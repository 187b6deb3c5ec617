"""Group norm of pictures whose channels come last, in three short kernels.

x is (B, N, C): N cells of a picture, C channels. Those of a group are few, and cells lie far apart in memory, so
that it is read badly group by group; sums are taken channel by channel.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS, COLUMNS = 32, 128
"""Cells and channels that a program holds at a time."""
_CELLS, _PARTS = 128, 64
"""Cells that a program adds up at least; programs that share a picture's cells at most."""


def group_norm(
    x: Tensor,
    groups: int,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    *,
    shift: Tensor | None = None,
    silu: bool = False,
) -> Tensor:
    """(x′ − mean) / √(var + eps) · weight + bias over each group of channels of x′ = x + shift, in float32.

    Args:
        x: (B, C, H, W) of any floating type, channels last in memory. weight, bias: (C,).
        shift: (B, C), contiguous; None is 0.
        silu: y · sigmoid(y) of that.
    """
    batch, channels, height, width = x.shape
    cells, each = height * width, channels // groups
    parts = min(_PARTS, triton.cdiv(cells, _CELLS))
    per_part = triton.cdiv(triton.cdiv(cells, parts), ROWS) * ROWS
    columns = triton.cdiv(channels, COLUMNS)
    sums = x.new_empty(batch, parts, 2, channels, dtype=torch.float32)
    affine = x.new_empty(batch, 2, channels, dtype=torch.float32)
    y = torch.empty_like(x)
    shifted = shift is not None
    shifts = shift if shifted else weight  # which is not looked at then
    _sums[(batch, parts, columns)](x, shifts, sums, cells, channels, per_part, shifted, ROWS, COLUMNS)
    _affine[(batch, groups)](
        sums,
        weight,
        bias,
        shifts,
        affine,
        cells * each,
        channels,
        parts,
        each,
        eps,
        shifted,
        triton.next_power_of_2(parts),
        triton.next_power_of_2(each),
    )
    _applied[(batch, triton.cdiv(cells, 2 * ROWS), columns)](
        x, affine, y, cells, channels, silu, 2 * ROWS, COLUMNS
    )
    return y


@triton.jit
def _sums(
    x, shift, sums, cells, channels, per_part, SHIFTED: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    """Σ x′ and Σ x′² of some cells, channel by channel."""
    row, part, parts = tl.program_id(0), tl.program_id(1), tl.num_programs(1)
    column = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    first = part * per_part
    last = tl.minimum(first + per_part, cells)
    x += row.to(tl.int64) * cells * channels
    add = tl.zeros([COLUMNS], tl.float32)
    if SHIFTED:
        add += tl.load(shift + row * channels + column, mask=column < channels, other=0.0).to(tl.float32)
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    squares = tl.zeros([ROWS, COLUMNS], tl.float32)
    for begin in range(first, last, ROWS):
        cell = begin + tl.arange(0, ROWS)
        inside = (cell < last)[:, None] & (column < channels)[None, :]
        values = tl.load(x + cell[:, None] * channels + column[None, :], mask=inside, other=0.0).to(tl.float32)
        values = tl.where(inside, values + add[None, :], 0.0)
        total += values
        squares += values * values
    at = sums + (row * parts + part) * 2 * channels + column
    tl.store(at, tl.sum(total, axis=0), mask=column < channels)
    tl.store(at + channels, tl.sum(squares, axis=0), mask=column < channels)


@triton.jit
def _affine(
    sums,
    weight,
    bias,
    shift,
    affine,
    count,
    channels,
    parts,
    each,
    eps,
    SHIFTED: tl.constexpr,
    PARTS: tl.constexpr,
    EACH: tl.constexpr,
):
    """What each channel of a group is multiplied by, and what is added to it."""
    row, group = tl.program_id(0), tl.program_id(1)
    part, channel = tl.arange(0, PARTS), tl.arange(0, EACH)
    inside = (part < parts)[:, None] & (channel < each)[None, :]
    at = sums + (row * parts + part)[:, None] * 2 * channels + group * each + channel[None, :]
    mean = tl.sum(tl.load(at, mask=inside, other=0.0)) / count
    square = tl.sum(tl.load(at + channels, mask=inside, other=0.0)) / count
    variance = tl.maximum(square - mean * mean, 0.0)
    own, known = group * each + channel, channel < each
    scale = tl.load(weight + own, mask=known, other=0.0).to(tl.float32) / tl.sqrt(variance + eps)
    if SHIFTED:
        mean = mean - tl.load(shift + row * channels + own, mask=known, other=0.0).to(tl.float32)
    offset = tl.load(bias + own, mask=known, other=0.0).to(tl.float32) - mean * scale
    to = affine + row * 2 * channels + own
    tl.store(to, scale, mask=known)
    tl.store(to + channels, offset, mask=known)


@triton.jit
def _applied(x, affine, y, cells, channels, SILU: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """y = scale x + offset, channel by channel."""
    row = tl.program_id(0)
    cell = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    inside = (cell < cells)[:, None] & (column < channels)[None, :]
    at = row.to(tl.int64) * cells * channels + cell[:, None] * channels + column[None, :]
    own = affine + row * 2 * channels + column
    scale = tl.load(own, mask=column < channels, other=0.0)
    offset = tl.load(own + channels, mask=column < channels, other=0.0)
    values = tl.load(x + at, mask=inside, other=0.0).to(tl.float32) * scale[None, :] + offset[None, :]
    if SILU:
        values = values * tl.sigmoid(values)
    tl.store(y + at, values, mask=inside)
