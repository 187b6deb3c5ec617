"""The C library's allocator, told to keep what is freed."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h
_LARGEST = 32 << 20  # the most that glibc takes as a threshold
_KEPT = 1 << 30
_AHEAD = 64 << 20


def keep_freed_memory() -> None:
    """Let freed tensors of up to 32 MiB, and up to 1 GiB of them, be used again rather than given back.

    glibc returns large blocks to the system at once, so every layer of a model begins with page faults; on two CPU
    cores that is a fifth of a training step. Without glibc nothing is done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in ((_M_MMAP_THRESHOLD, _LARGEST), (_M_TRIM_THRESHOLD, _KEPT), (_M_TOP_PAD, _AHEAD)):
            mallopt(parameter, value)
