"""How the C library gives out memory: for tensors that come and go by the thousand, and are large."""

from __future__ import annotations

import ctypes
import os

_KEPT = 1 << 30
_OPTIONS = {-1: _KEPT, -2: 1 << 26, -4: 0}
"""Of mallopt(3): M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_MAX."""
_TOLD = ("LD_PRELOAD", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Use freed memory again, up to 1 GiB, rather than give it back and ask for more; whether that was done.

    By default glibc maps each large block by itself and unmaps it when it is freed, so that the kernel clears
    every page of every activation anew. Nothing is changed where the environment says how memory is to be given
    out (``MALLOC_…``, ``GLIBC_TUNABLES``, ``LD_PRELOAD``), nor where the C library is another.
    """
    if any(name.startswith("MALLOC_") or name in _TOLD for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(option, value) for option, value in _OPTIONS.items())
