"""How much of a worker's device memory is taken."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import torch

from service.telemetry.catalog import DEVICE_MEMORY
from service.telemetry.gauges import Gauge

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def device_memory(device: torch.device) -> list[Gauge]:
    """Gauges of the device as it is now.

    On CUDA: ``used`` by tensors of this process, ``reserved`` by its allocator, ``total`` of the device. On the
    CPU: ``used`` is the process's resident memory, ``total`` what the computer or the container has.

    Raises:
        RuntimeError: the device is of no more use.
    """
    if device.type == "cuda":
        name = f"cuda:{device.index if device.index is not None else torch.cuda.current_device()}"
        states = {
            "used": torch.cuda.memory_allocated(device),
            "reserved": torch.cuda.memory_reserved(device),
            "total": torch.cuda.get_device_properties(device).total_memory,
        }
    else:
        name = "cpu"
        states = {"used": _resident(), "total": _present()}
    worker = f"{socket.gethostname()}:{os.getpid()}"
    return [(DEVICE_MEMORY.name, (worker, name, state), float(value)) for state, value in states.items()]


def _resident() -> int:
    """Bytes of this process in memory; where the system does not tell, the most there ever were."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak


def _present() -> int:
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(physical, int(_CGROUP_LIMIT.read_text()))
    except (OSError, ValueError):  # no limit, or no cgroups
        return physical
