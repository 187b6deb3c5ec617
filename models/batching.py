"""Model calls on several rows at once, with progress, so that a row's result does not depend on the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor

OnStep = Callable[[int, int], None]
"""Called with (done, total) U-Net rows after each model call; it stops the work by raising."""

Row = tuple[Tensor, ...]


class Batcher:
    """Calls a model on at most ``shape`` rows at a time.

    With ``alike`` calls are as long as there are rows. Without it there are always ``shape``, the last one being
    copied: with one shape a device always runs the same kernels.

    Args:
        alike: whether a row's result has the same bits alone and beside others. It is asked once, before rows are
            first put together; if they are not alike, each goes alone.
    """

    def __init__(self, shape: int, alike: Callable[[], bool] | None = None) -> None:
        if shape < 1:
            raise ValueError(f"batch_shape must be at least 1; got {shape}")
        self.shape = shape
        self._padded = alike is None
        self._alike = alike
        self.begin(None)

    def begin(self, on_step: OnStep | None) -> None:
        """Start counting anew."""
        self._on_step = on_step
        self._done = self._total = 0

    def expect(self, rows: int) -> None:
        """Announce rows that will be counted."""
        self._total += rows

    def __call__(self, model: Callable[..., Tensor], rows: Sequence[Row]) -> list[Tensor]:
        """Each row's result, in order, reported as progress.

        Args:
            model: takes the stacked columns of the rows, gives one tensor with as many rows.
            rows: tuples of tensors, equal in shape column by column.
        """
        if self._alike is not None and min(len(rows), self.shape) > 1:
            self.shape = self.shape if self._alike() else 1
            self._alike = None
        results: list[Tensor] = []
        for chunk in _chunks(rows, self.shape):
            results += self._called(model, chunk)
            self._done += len(chunk)
            if self._on_step is not None:
                self._on_step(self._done, self._total)
        return results

    def stream(self, model: Callable[..., Tensor], rows: Iterable[Row]) -> Iterator[Tensor]:
        """Each row's result, in order, as it is asked for; nothing is reported."""
        for chunk in _chunks(rows, self.shape):
            yield from self._called(model, chunk)

    def _called(self, model: Callable[..., Tensor], chunk: list[Row]) -> list[Tensor]:
        lacking = self.shape - len(chunk) if self._padded else 0
        out = model(*(torch.stack(column) for column in zip(*chunk, *[chunk[-1]] * lacking, strict=True)))
        return [out[i].clone() for i in range(len(chunk))]


def _chunks(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    left = iter(rows)
    while chunk := list(islice(left, size)):
        yield chunk
