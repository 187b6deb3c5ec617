"""Model calls on several rows at once, with progress, so that a row's result does not depend on the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor

OnStep = Callable[[int, int], None]
"""Called with (done, total) U-Net rows after each model call; it stops the work by raising."""

Row = tuple[Tensor, ...]


class Progress:
    """Rows that U-Net calls have done, of those that are expected.

    Args:
        on_step: gets to know after each call.
    """

    def __init__(self, on_step: OnStep | None = None) -> None:
        self._on_step = on_step
        self._done = self._total = 0

    def expect(self, rows: int) -> None:
        """Announce rows that will be done."""
        self._total += rows

    def did(self, rows: int) -> None:
        """A call has done so many."""
        self._done += rows
        if self._on_step is not None:
            self._on_step(self._done, self._total)


class Batcher:
    """Calls a model on at most ``shape`` rows at a time.

    With ``alike`` calls are as long as there are rows. Without it there are always ``shape``, the last one being
    copied: with one shape a device always runs the same kernels.

    Args:
        alike: whether a row's result has the same bits alone and beside others. It is asked once, before rows are
            first put together; if they are not alike, each goes alone.

    Attributes:
        progress: what calls report to.
    """

    def __init__(self, shape: int, alike: Callable[[], bool] | None = None) -> None:
        if shape < 1:
            raise ValueError(f"batch_shape must be at least 1; got {shape}")
        self.shape = shape
        self._padded = alike is None
        self._alike = alike
        self.progress = Progress()

    def __call__(
        self, model: Callable[..., Tensor], rows: Sequence[Row], shape: int | None = None
    ) -> list[Tensor]:
        """Each row's result, in order, reported as progress.

        Args:
            model: takes the stacked columns of the rows, gives one tensor with as many rows.
            rows: tuples of tensors, equal in shape column by column.
            shape: of these calls, always the same for the same model; it can be no more than its own.
        """
        if self._alike is not None and min(len(rows), self.shape) > 1:
            self.shape = self.shape if self._alike() else 1
            self._alike = None
        results: list[Tensor] = []
        shape = self.shape if shape is None else min(shape, self.shape)
        for chunk in _chunks(rows, shape):
            results += self._called(model, chunk, shape).unbind()
            self.progress.did(len(chunk))
        return results

    def stream(self, model: Callable[..., Tensor], rows: Iterable[Row]) -> Iterator[Tensor]:
        """Each row's result, in order, as it is asked for; nothing is reported."""
        for chunk in _chunks(rows, self.shape):
            # Each by itself: one that is kept for long must not keep the others.
            yield from (row.clone() for row in self._called(model, chunk, self.shape))

    def _called(self, model: Callable[..., Tensor], chunk: list[Row], shape: int) -> Tensor:
        lacking = shape - len(chunk) if self._padded else 0
        out: Tensor = model(*(torch.stack(column) for column in zip(*chunk, *[chunk[-1]] * lacking, strict=True)))
        return out[: len(chunk)]


def _chunks(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    left = iter(rows)
    while chunk := list(islice(left, size)):
        yield chunk
