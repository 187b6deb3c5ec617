"""glibc's allocator, told to keep what a step has freed, for the next one wants as much again."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # of glibc's malloc.h
_MAPPED_FROM = 32 << 20
"""Bytes from which a block is the system's own, and goes back to it at once: the most that glibc takes."""
_KEPT = 512 << 20
"""Bytes at the end of a heap that are kept when they are free."""
_AHEAD = 16 << 20
"""Bytes that a heap grows by at least."""


def keep_freed() -> None:
    """Keep freed memory in this process; elsewhere than on glibc nothing happens.

    Activations of a few megabytes would go back to the system after each operation, and each of their pages would
    be made anew, empty, in the next.
    """
    libc = _glibc()
    if libc is not None:
        for option, value in ((_MMAP_THRESHOLD, _MAPPED_FROM), (_TRIM_THRESHOLD, _KEPT), (_TOP_PAD, _AHEAD)):
            libc.mallopt(option, value)


def give_back() -> None:
    """Give to the system what is free."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
