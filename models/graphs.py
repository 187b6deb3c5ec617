"""The U-Net's work on a GPU, recorded once for each shape of its inputs and replayed for each call.

A U-Net is a thousand short kernels. To start them one by one takes the CPU longer than the GPU takes to run them;
a CUDA graph starts all at once. It reads its inputs, and the weights, from where they lay when it was recorded: so
inputs are copied there, and a type wears its weights in place (`models.lora`).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor

from models.region import Region

Predict = Callable[[Tensor, Tensor, Tensor, Region | None], Tensor]
"""As `Backbone.predict_noise`."""

Replay = Callable[[], Tensor]
"""Does the recorded work again on what its inputs hold now; its result is good until anything is replayed."""

_WARM_UP = 2
"""Calls before one is recorded, in which libraries choose and compile their kernels."""
_AHEAD = 2
"""Replays that may wait on the device: enough to keep it busy, and few enough to be stopped soon."""


class CudaRecorder:
    """Records work on the current CUDA device; all that one recorder records shares its memory."""

    def __init__(self) -> None:
        self._pool: Any = None
        self._started: deque[torch.cuda.Event] = deque()

    def __call__(self, work: Replay) -> Replay:
        """Record ``work()``, whose inputs stay where they are."""
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP):
                work()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # Other threads may ask the device for memory meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            output = work()
        self._pool = self._pool or graph.pool()

        def replay() -> Tensor:
            if len(self._started) == _AHEAD:
                self._started.popleft().synchronize()
            graph.replay()
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record()
            self._started.append(event)
            return output

        return replay


class Graphs:
    """Predicts by what it has recorded.

    Args:
        predict: what is recorded, for a network that does not change but for values of its weights.
        record: makes work replayable.
        most: recordings kept; the least recently used go.
    """

    def __init__(self, predict: Predict, record: Callable[[Replay], Replay], most: int = 6) -> None:
        self._predict = predict
        self._record = record
        self._most = most
        self._known: OrderedDict[Hashable, tuple[tuple[Tensor, ...], Replay]] = OrderedDict()

    def __call__(self, z: Tensor, t: Tensor, tokens: Tensor, region: Region | None = None) -> Tensor:
        """As `Backbone.predict_noise`, bit for bit."""
        given = (z, t, tokens) if region is None else (z, t, tokens, region.mask, region.defect_tokens_valid)
        key = (tuple((x.shape, x.dtype) for x in given), region and region.rules)
        if key in self._known:
            self._known.move_to_end(key)
            inputs, replay = self._known[key]
            for own, values in zip(inputs, given, strict=True):
                own.copy_(values)
        else:
            inputs = tuple(x.clone(memory_format=torch.contiguous_format) for x in given)
            replay = self._record(self._work(inputs, region))
            self._known[key] = inputs, replay
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        return replay().clone()

    def _work(self, inputs: tuple[Tensor, ...], region: Region | None) -> Replay:
        z, t, tokens, *masking = inputs

        def work() -> Tensor:
            # Biases are a part of the work: the mask is an input.
            return self._predict(z, t, tokens, region and region.like(*masking))

        return work
