"""Where the time of a batch goes: the stages of the method, timed if somebody asks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

Stage = Literal["encode", "invert", "denoise", "decode", "refine", "score"]
"""VAE encoding; inversion; denoising; VAE decoding; compositing with the refined mask; scores and measures."""


@dataclass
class Stopwatch:
    """Seconds that each stage took, without those of stages within it.

    Attributes:
        synchronize: waits for the device, so that its work counts where it was asked for; None on a CPU.
    """

    synchronize: Callable[[], None] | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    _within: list[float] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[Stopwatch]:
        """Times what this thread does in the block."""
        token = _running.set(self)
        try:
            yield self
        finally:
            _running.reset(token)

    @contextmanager
    def timing(self, stage: str) -> Iterator[None]:
        """Counts the block as one stage's."""
        self._wait()
        began = time.perf_counter()
        self._within.append(0.0)
        try:
            yield
        finally:
            self._wait()
            took = time.perf_counter() - began
            self.seconds[stage] = self.seconds.get(stage, 0.0) + took - self._within.pop()
            if self._within:
                self._within[-1] += took

    def _wait(self) -> None:
        if self.synchronize is not None:
            self.synchronize()


_running: ContextVar[Stopwatch | None] = ContextVar("running", default=None)


@contextmanager
def stage(name: Stage) -> Iterator[None]:
    """A stage of the method: costs nothing unless a stopwatch is running."""
    watch = _running.get()
    if watch is None:
        yield
        return
    with watch.timing(name):
        yield
