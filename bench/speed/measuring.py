"""What a piece of work costs: seconds by stage, passes of the U-Net, memory, share of the device's matrix peak."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from models.kernels.onednn import use_onednn
from models.stages import Stopwatch

_PEAK_SIDE = {"cpu": 1024, "cuda": 8192}
_PEAK_ROUNDS = 5


@dataclass
class Cost:
    """Of one piece of work.

    Attributes:
        seconds: in all.
        stages: seconds by stage; what is left over is nobody's.
        passes: rows that the U-Net was given, padding included.
        calls: of the U-Net.
        peak_bytes: of what the device's allocator holds, recorded graphs and gaps included, but for what lay there
            before and is not the predictor's; on a CPU of the whole process.
        flops: of the U-Net's rows.
    """

    items: int
    seconds: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    passes: int = 0
    calls: int = 0
    peak_bytes: int = 0
    flops: float = 0.0

    def share_of_peak(self, peak: float) -> float:
        """U-Net operations a second over `peak`, by the seconds that inversion and denoising took, else by all."""
        busy = self.stages.get("invert", 0.0) + self.stages.get("denoise", 0.0)
        return self.flops / (busy or self.seconds) / peak


class Meter:
    """Measures work on one device.

    Attributes:
        peak: operations a second of the device's own matrix product in this number format.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._device = device
        self.peak = matrix_peak(device, dtype)

    @contextmanager
    def of(self, predictor: Any, items: int, *, by_stage: bool) -> Iterator[tuple[Cost, Stopwatch | None]]:
        """The cost of the block, once it is left; stages of its own are timed by the stopwatch.

        Args:
            predictor: has ``predict_noise(z, …)``, whose rows are counted, and weights of ``nbytes``. A hook of
                the U-Net would be compiled with it.
            by_stage: run the stopwatch, for which a GPU must have ended each stage before the next one begins.
        """
        cost = Cost(items)
        watch = Stopwatch(self._synchronize if self._device.type == "cuda" else None)

        predict = predictor.predict_noise

        def counted(z: Any, *others: Any) -> Any:
            cost.passes += len(z)
            cost.calls += 1
            return predict(z, *others)

        predictor.predict_noise = counted
        foreign = 0
        if self._device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()
            foreign = torch.cuda.memory_allocated(self._device) - predictor.nbytes
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            Path("/proc/self/clear_refs").write_text("5")  # VmHWM counts from here
        self._synchronize()
        began = time.perf_counter()
        try:
            if by_stage:
                with watch.running():
                    yield cost, watch
            else:
                yield cost, None
        finally:
            self._synchronize()
            cost.seconds = time.perf_counter() - began
            del predictor.predict_noise  # the class has it
        cost.stages = dict(watch.seconds)
        cost.peak_bytes = self._peak_bytes() - foreign

    def _synchronize(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def _peak_bytes(self) -> int:
        if self._device.type == "cuda":
            return int(torch.cuda.max_memory_reserved(self._device))
        status = Path("/proc/self/status").read_text("ascii")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024


@torch.inference_mode()
def matrix_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of a large square matrix product, the best of some rounds; on a CPU oneDNN's, too."""
    side = _PEAK_SIDE[device.type]
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    layer = torch.nn.Linear(side, side, bias=False, device=device, dtype=dtype)
    use_onednn(layer)

    def seconds(product: Callable[[], Tensor]) -> float:
        began = time.perf_counter()
        product()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    products = (lambda: torch.mm(a, b), lambda: layer(a[None]))
    return 2 * side**3 / min(seconds(product) for _ in range(_PEAK_ROUNDS) for product in products)


@torch.inference_mode()
def flops_of(forward: Callable[[], Any]) -> float:
    """Operations of one call, counted and not timed."""
    counter = FlopCounterMode(display=False)
    with counter:
        forward()
    return float(counter.get_total_flops())
