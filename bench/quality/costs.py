"""What a piece of work costs: seconds, and the most memory that was resident meanwhile."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from bench.intervals import bootstrap

T = TypeVar("T")
Seconds = NDArray[np.float64]

_STATUS, _FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Cost:
    """Of one piece of work.

    Attributes:
        seconds: by the clock on the wall.
        peak_bytes: resident set of the process at its highest meanwhile, with all that it held before. Where the
            system does not forget older peaks (all but Linux), the highest ever. On a GPU, what the allocator held
            of its memory.
    """

    seconds: float
    peak_bytes: int


def metered(work: Callable[[], T]) -> tuple[T, Cost]:
    """Do a piece of work, and what it cost."""
    on_gpu = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    _forget_peak()
    began = time.perf_counter()
    done = work()
    seconds = time.perf_counter() - began
    return done, Cost(seconds, torch.cuda.max_memory_reserved() if on_gpu else _peak())


def costs(
    items: Mapping[str, Sequence[Cost]], teachings: Mapping[str, Sequence[Cost]], reference: str
) -> dict[str, dict[str, Any]]:
    """By method, the mean seconds of an item, and the peak of memory; teaching apart.

    Seconds depend on the computer; "times" is what may be told of them: the mean over that of the reference in the
    same places, over which its interval is, too.

    Args:
        items: of each method, in the order of the places that they share.
        teachings: of each method that learns, of its types.
        reference: a method; where it is not among them there is no "times".
    """
    seconds = {method: np.array([one.seconds for one in found]) for method, found in items.items()}
    rows: dict[str, dict[str, Any]] = {}
    for method, found in items.items():
        row: dict[str, Any] = {
            "items": len(found),
            "seconds": float(seconds[method].mean()),
            "peak bytes": max(one.peak_bytes for one in found),
        }
        if reference in items:
            times = partial(_times, seconds[method], seconds[reference])
            row |= {"times": times(), "its interval": bootstrap(len(found), times)}
        if taught := teachings.get(method):
            row["teaching seconds"] = float(np.mean([one.seconds for one in taught]))
            row["teaching peak bytes"] = max(one.peak_bytes for one in taught)
            row["teaching in items"] = row["teaching seconds"] / row["seconds"]
        rows[method] = row
    return rows


def _times(own: Seconds, others: Seconds, rows: NDArray[np.int64] | slice = slice(None)) -> float:
    return float(own[rows].mean() / others[rows].mean())


def _forget_peak() -> None:
    try:
        _FORGET.write_text("5", encoding="ascii")  # proc(5): the peak begins anew at what is resident now
    except OSError:
        return


def _peak() -> int:
    try:
        lines = _STATUS.read_text("ascii").splitlines()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])
