"""The device of a worker: which one, whether this torch can use it, at what precision, and how much of its memory.

What is wrong with a device is said before any job comes, in one sentence with a remedy: an error of CUDA in the
midst of a job names neither.
"""

from __future__ import annotations

import logging
import os
import re
import resource
import shutil
import sys
from collections.abc import Sequence
from typing import Literal

import torch

_log = logging.getLogger(__name__)

Wanted = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "float32", "float16", "bfloat16"]
Capability = tuple[int, int]
"""Compute capability of a card, such as (8, 6)."""

_ARCHITECTURE = re.compile(r"(sm|compute)_(\d+)(\d)([af]?)")
_BFLOAT16_FROM: Capability = (8, 0)
_INSTEAD = "or set FLAWSMITH_DEVICE=cpu"


class DeviceError(Exception):
    """The device that is asked for cannot be used; the message is one sentence with the remedy."""


def chosen(wanted: Wanted) -> torch.device:
    """The device to work on; ``auto`` is CUDA where it can be used, else the CPU, and the log says why.

    Raises:
        DeviceError: CUDA is wanted and cannot be used.
    """
    if wanted == "cpu":
        return torch.device("cpu")
    if wanted == "auto" and not _may_have_a_card():
        return torch.device("cpu")
    fault = _fault_of_cuda()
    if fault is None:
        return torch.device("cuda")
    if wanted == "cuda":
        raise DeviceError(fault)
    _log.warning("works on the CPU, for %s", fault)
    return torch.device("cpu")


def precision(wanted: Precision, device: torch.device) -> torch.dtype:
    """What weights and latents are held in; ``auto`` is the fastest that the device computes in.

    Raises:
        DeviceError: the card does not compute in it.
    """
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
    dtype: torch.dtype = getattr(torch, precision_of(wanted, capability))
    return dtype


def precision_of(wanted: Precision, capability: Capability | None) -> Precision:
    """The precision on a card, or on a CPU, which has no capability.

    Raises:
        DeviceError: the card does not compute in it.
    """
    if capability is None:
        return "float32" if wanted == "auto" else wanted
    has_bfloat16 = capability >= _BFLOAT16_FROM
    if wanted == "auto":
        return "bfloat16" if has_bfloat16 else "float16"
    if wanted == "bfloat16" and not has_bfloat16:
        raise DeviceError(
            f"bfloat16 needs a card of compute capability {_dotted(_BFLOAT16_FROM)} (Ampere) or later and this "
            f"one has {_dotted(capability)}: set FLAWSMITH_DTYPE=float16, or auto"
        )
    return wanted


def runs_on(capability: Capability, architectures: Sequence[str]) -> bool:
    """Whether a build of torch has kernels for a card.

    Machine code (``sm_86``) runs on cards of its own major version that are not older, with an ``a`` on none but
    its own; what is compiled when it is loaded (``compute_90``) runs on all that are not older.

    Args:
        architectures: as `torch.cuda.get_arch_list` gives them; where none is NVIDIA's, nothing is known and all
            cards pass.
    """
    known = [match.groups() for name in architectures if (match := _ARCHITECTURE.fullmatch(name))]
    for kind, major, minor, suffix in known:
        built: Capability = (int(major), int(minor))
        if capability == built:
            return True
        if suffix != "a" and capability > built and (kind == "compute" or capability[0] == built[0]):
            return True
    return not known


def limit_memory(device: torch.device, most: int) -> None:
    """Let this process take no more than ``most`` bytes of the device's memory; beyond, it is out of memory.

    On CUDA it is what torch's allocator holds, without some hundred megabytes that CUDA itself takes. On a CPU it
    is the memory that is the process's own (Linux's `RLIMIT_DATA`): models, images and libraries together.

    Raises:
        DeviceError: the device has less, or this system does not hold a process to a limit.
    """
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        if most > total:
            raise DeviceError(
                f"FLAWSMITH_DEVICE_MEMORY_BYTES is {most}, but the card has {total}: set less, or leave it out"
            )
        torch.cuda.set_per_process_memory_fraction(most / total, device.index)
        return
    if sys.platform != "linux":
        raise DeviceError(
            "this system holds no process to a limit of memory: leave out FLAWSMITH_DEVICE_MEMORY_BYTES, or run "
            "the worker in a container with a limit"
        )
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def check_compiler(device: torch.device) -> None:
    """See that torch can compile here: for a card it compiles what starts its kernels, for a CPU the kernels.

    Raises:
        DeviceError: there is no compiler.
    """
    variable, *usual = ("CC", "gcc", "clang") if device.type == "cuda" else ("CXX", "g++", "clang++")
    if not any(shutil.which(name) for name in (os.environ.get(variable), *usual) if name):
        raise DeviceError(
            f"FLAWSMITH_COMPILE needs a compiler, {' or '.join(usual)}, and there is none: install one, or leave "
            "FLAWSMITH_COMPILE out"
        )


def _fault_of_cuda() -> str | None:
    """Why CUDA cannot be used, with the remedy; None if it can."""
    if torch.version.cuda is None and torch.version.hip is None:
        return f"this build of torch has no CUDA: install one that has, {_INSTEAD}"
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
        name, capability = torch.cuda.get_device_name(), torch.cuda.get_device_capability()
        architectures = torch.cuda.get_arch_list()
    except (RuntimeError, AssertionError) as error:
        # Of no driver, one that is too old, and no card torch tells what is there and what to do.
        said = " ".join(str(error).split()).rstrip(".")
        return f"no GPU can be used ({said}): install or update the driver of the card, {_INSTEAD}"
    if runs_on(capability, architectures):
        return None
    return (
        f"torch {torch.__version__} has no kernels for this GPU, {name} of compute capability "
        f"{_dotted(capability)}, but for {', '.join(architectures)}: install a build of torch that has, take "
        f"another card, {_INSTEAD}"
    )


def _may_have_a_card() -> bool:
    """Whether there are signs of a card, so that it is worth a word if it cannot be used."""
    return (torch.version.cuda is not None or torch.version.hip is not None) and torch.cuda.device_count() > 0


def _dotted(capability: Capability) -> str:
    return ".".join(str(number) for number in capability)
