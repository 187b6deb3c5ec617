"""Model calls at one fixed padded shape, with progress."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

OnStep = Callable[[int, int], None]
"""Called with (done, total) U-Net rows after each model call; it stops the work by raising."""

Row = tuple[Tensor, ...]


class Batcher:
    """Calls a model on rows, always ``shape`` of them at a time, padding with copies of the last.

    With one shape the device always runs the same kernels, so that a row's result does not depend on how many
    others there are.
    """

    def __init__(self, shape: int) -> None:
        if shape < 1:
            raise ValueError(f"batch_shape must be at least 1; got {shape}")
        self.shape = shape
        self.begin(None)

    def begin(self, on_step: OnStep | None) -> None:
        """Start counting anew."""
        self._on_step = on_step
        self._done = self._total = 0

    def expect(self, rows: int) -> None:
        """Announce rows that will be counted."""
        self._total += rows

    def __call__(self, model: Callable[..., Tensor], rows: Sequence[Row], counted: bool = False) -> list[Tensor]:
        """Each row's result, in order.

        Args:
            model: takes the stacked columns of the rows, gives one tensor with ``shape`` rows.
            rows: tuples of tensors, equal in shape column by column.
            counted: report these rows as progress.
        """
        results: list[Tensor] = []
        for first in range(0, len(rows), self.shape):
            chunk = list(rows[first : first + self.shape])
            padded = chunk + [chunk[-1]] * (self.shape - len(chunk))
            out = model(*(torch.stack(column) for column in zip(*padded, strict=True)))
            results += [out[i].clone() for i in range(len(chunk))]
            if counted:
                self._done += len(chunk)
                if self._on_step is not None:
                    self._on_step(self._done, self._total)
        return results
